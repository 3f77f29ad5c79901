"""A zero-RTT pooled bound: no policy attains more requests than this, on these sites.

Take any schedule the simulator can produce, under any policy, and a request it attains. Between
its send and its first-token limit some site has prefilled its prompt, which occupied that site
exclusively for at least the profile's time for the cheapest way to cut it: a step prefills one
request's chunk at a time, and decoding comes on top. If it has a limit on the last token too, some
site has also given it every further token by then; a step is shared by at most `num_slots` rows,
so each token has cost at least the least share of a row in a step of any number of them. (Work
done twice, by being lost and begun again, only adds.)

So every attained request puts a known amount of work into a known window, and no interval [s, t]
can hold more work than its sites have seconds. Network delay, queueing order, slots and the
borders between sites are all ignored: that is what makes it a bound for a pool without round
trips. Where the work of the windows inside an interval exceeds its capacity, at least the excess
belongs to requests that are missed, hence at least as many are missed as of the largest of them
are needed to make up the excess. A request's first window lies in at most one of several disjoint
intervals, so their misses add up. Every choice of disjoint intervals gives a valid bound; a
dynamic programme picks those of the largest total excess.

Sites may differ: every piece of work is counted as the seconds of the site that does it fastest,
and a site supplies at most as many of those a second as the piece it is best at allows. The same
goes for a site slowed by a known fault; dead and frozen sites supply nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from loadtests.sim.faults import speed_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from gateway.core.step_time import StepTimes
    from loadtests.sim.faults import AnyFault
    from loadtests.sim.site import SiteSpec
    from loadtests.sim.workload import Workload

SiteKind: TypeAlias = "tuple[SiteSpec, StepTimes]"

_MAX_NUM_CELLS = 4000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Demand:
    """What requests need, a row each: windows in seconds, work in seconds of one fastest site.

    `first_s` must be done in [sent_s, first_due_s], `further_s` in [sent_s, last_due_s], where
    first_due_s <= last_due_s. A request without a limit has an infinite due time.
    """

    sent_s: NDArray[np.float64]
    first_due_s: NDArray[np.float64]
    last_due_s: NDArray[np.float64]
    first_s: NDArray[np.float64]
    further_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval that cannot hold its demand."""

    start_s: float
    end_s: float
    excess_s: float
    num_missed: int


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `num_attained` of `num_requests`."""

    num_requests: int
    num_hopeless: int
    """Requests whose prefill, alone on the fastest site, does not fit their limit."""
    intervals: tuple[Interval, ...]

    @property
    def num_attained(self) -> int:
        """The bound."""
        num_missed = sum(interval.num_missed for interval in self.intervals)
        return self.num_requests - self.num_hopeless - num_missed


def pooled_bound(
    workload: Workload,
    sites: Sequence[SiteKind],
    faults: Sequence[AnyFault] = (),
    *,
    until_s: float,
    cell_s: float = 0.25,
) -> Bound:
    """The bound for a run of `workload` on `sites` that ends at `until_s`."""
    num_cells = max(1, min(_MAX_NUM_CELLS, math.ceil(until_s / cell_s)))
    edges_s = np.linspace(0.0, until_s, num_cells + 1)
    return bound(demand(workload, sites), capacity_s(workload, sites, faults, edges_s), edges_s)


def demand(workload: Workload, sites: Sequence[SiteKind]) -> Demand:
    """The least work of every request, each part of it at the site that does it fastest."""
    fastest = _fastest(_costs(workload, sites).values())
    sent_s = np.frombuffer(workload.sent_s)
    first_limit_s, last_limit_s = workload.limits_s()
    prompt = np.frombuffer(workload.prompt_tokens, np.int64).astype(np.float64)
    further = np.frombuffer(workload.output_tokens, np.int64).astype(np.float64) - 1.0
    # Further token k = 1..n attends to the prompt and k tokens.
    attended = further * prompt + further * (further + 1.0) / 2.0
    return Demand(
        sent_s,
        sent_s + first_limit_s,
        sent_s + last_limit_s,
        fastest[:-2],
        further * fastest[-2] + attended * fastest[-1],
    )


def capacity_s(
    workload: Workload,
    sites: Sequence[SiteKind],
    faults: Sequence[AnyFault],
    edges_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Seconds of work, as `demand` counts them, that all sites can do up to each edge."""
    costs = _costs(workload, sites)
    fastest = _fastest(costs.values())
    speeds = {}
    for kind, own in costs.items():
        used = own > 0.0
        speeds[kind] = float(np.max(fastest[used] / own[used]))
    longest_s = {kind: _longest_step_s(workload, kind) for kind in costs}
    total_s = np.zeros_like(edges_s)
    for index, kind in enumerate(sites):
        slow = speed_path(faults, index, longest_step_s=longest_s[kind])
        total_s += speeds[kind] * _working_s(slow, edges_s)
    return total_s


def _costs(workload: Workload, sites: Sequence[SiteKind]) -> dict[SiteKind, NDArray[np.float64]]:
    """What each piece of work takes each kind of site: every prompt, then a further token's least
    share of a step, then a token of its context.
    """
    prompts = np.frombuffer(workload.prompt_tokens, np.int64)
    return {(spec, times): _pieces_s(prompts, spec, times) for spec, times in set(sites)}


def _pieces_s(prompts: NDArray[np.int64], spec: SiteSpec, times: StepTimes) -> NDArray[np.float64]:
    sizes, where = np.unique(prompts, return_inverse=True)
    prompt_s = _least_prefill_s(sizes, spec, times)[where]
    token_s = min(times.decode.at(rows) / rows for rows in range(1, spec.num_slots + 1))
    return np.append(prompt_s, [token_s, times.decode_s_per_context_token])


def _least_prefill_s(
    sizes: NDArray[np.int64], spec: SiteSpec, times: StepTimes
) -> NDArray[np.float64]:
    """What prompts of these sizes take, cut where it costs least: at multiples of the grid into
    chunks that a step holds.
    """
    grid, chunk_tokens = spec.grid_tokens, spec.chunk_tokens
    chunk_s = np.array([times.prefill.at(n) for n in range(chunk_tokens + 1)])
    least_s = np.zeros(int(sizes.max()) // grid + 1)  # up to each multiple of the grid

    def last_cut_s(stop: int) -> float:
        """Up to `stop`, over every start of the last chunk."""
        starts = np.arange(-(-max(0, stop - chunk_tokens) // grid), -(-stop // grid))
        tokens = stop - starts * grid
        pairs_s = times.prefill_s_per_pair * tokens * starts * grid
        return float((least_s[starts] + chunk_s[tokens] + pairs_s).min())

    for number in range(1, len(least_s)):
        least_s[number] = last_cut_s(number * grid)
    return np.array([last_cut_s(int(size)) for size in sizes])


def _fastest(costs: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    fastest: NDArray[np.float64] = np.stack(list(costs)).min(axis=0)
    return fastest


def _longest_step_s(workload: Workload, kind: SiteKind) -> float:
    """No step takes longer."""
    spec, times = kind
    prompt, output = max(workload.prompt_tokens), max(workload.output_tokens)
    decode_s = times.decode_s(spec.num_slots, spec.num_slots * (prompt + output))
    return times.prefill_s(spec.chunk_tokens, prompt) + decode_s


def _working_s(
    slow: list[tuple[float, float, float]], edges_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Seconds at full speed up to each edge; of overlapping faults the worse one counts."""
    if not slow:
        return edges_s.copy()
    ends = [*(from_s for from_s, _, _ in slow), *(to_s for _, to_s, _ in slow)]
    points_s = np.unique(np.clip([edges_s[0], *ends, edges_s[-1]], edges_s[0], edges_s[-1]))
    shares = [
        min((share for from_s, to_s, share in slow if from_s <= middle_s < to_s), default=1.0)
        for middle_s in (points_s[:-1] + points_s[1:]) / 2.0
    ]
    done_s = np.concatenate(([0.0], np.cumsum(np.diff(points_s) * shares)))
    return np.interp(edges_s, points_s, done_s)


def bound(demand: Demand, capacity_s: NDArray[np.float64], edges_s: NDArray[np.float64]) -> Bound:
    """The bound for `capacity_s` cumulated at the edges of a grid of instants."""
    window_s = demand.first_due_s - demand.sent_s
    hopeless = demand.first_s > window_s * (1.0 + _ROUNDING)
    rows = _Rows.of(demand, np.isfinite(demand.first_due_s) & ~hopeless, edges_s)
    chosen = _choose(rows, capacity_s)
    intervals = []
    for start, end in chosen:
        excess_s, num_missed = rows.misses(start, end, float(capacity_s[end] - capacity_s[start]))
        if num_missed:
            intervals.append(
                Interval(float(edges_s[start]), float(edges_s[end]), excess_s, num_missed)
            )
    return Bound(len(demand.sent_s), int(hopeless.sum()), tuple(intervals))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Demands on the grid: a window counts for an interval of edges that contains it whole."""

    start: NDArray[np.int64]
    first_end: NDArray[np.int64]
    last_end: NDArray[np.int64]
    first_s: NDArray[np.float64]
    further_s: NDArray[np.float64]
    num_edges: int

    @classmethod
    def of(cls, demand: Demand, kept: NDArray[np.bool_], edges_s: NDArray[np.float64]) -> _Rows:
        """Windows widened to whole cells, so that rounding only weakens the bound."""
        outside = len(edges_s)
        return cls(
            np.searchsorted(edges_s, demand.sent_s[kept], "right") - 1,
            np.minimum(np.searchsorted(edges_s, demand.first_due_s[kept], "left"), outside),
            np.minimum(np.searchsorted(edges_s, demand.last_due_s[kept], "left"), outside),
            demand.first_s[kept],
            demand.further_s[kept],
            len(edges_s),
        )

    def misses(self, start: int, end: int, room_s: float) -> tuple[float, int]:
        """The excess of an interval of edges and the fewest requests that make it up."""
        inside = (self.start >= start) & (self.first_end <= end)
        work_s = self.first_s[inside] + np.where(
            self.last_end[inside] <= end, self.further_s[inside], 0.0
        )
        excess_s = float(work_s.sum()) - room_s
        if excess_s <= _ROUNDING * (1.0 + room_s):
            return 0.0, 0
        largest_s = np.cumsum(np.sort(work_s)[::-1])
        wanted_s = excess_s - _ROUNDING * (1.0 + room_s)
        return excess_s, min(len(work_s), int(np.searchsorted(largest_s, wanted_s)) + 1)


def _choose(rows: _Rows, capacity_s: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Disjoint intervals of edges with the largest total excess."""
    num_edges = rows.num_edges
    starts = np.concatenate((rows.start, rows.start))
    ends = np.concatenate((rows.first_end, rows.last_end))
    work_s = np.concatenate((rows.first_s, rows.further_s))
    order = np.argsort(starts, kind="stable")
    starts, ends, work_s = starts[order], ends[order], work_s[order]
    slices = np.searchsorted(starts, np.arange(num_edges + 1))
    best_s = np.zeros(num_edges)  # from each edge on
    end_of = np.full(num_edges, -1)
    inside_s = np.zeros(num_edges)  # work of windows that start at or after `edge`, by their end
    for edge in range(num_edges - 2, -1, -1):
        rows_here = slice(slices[edge], slices[edge + 1])
        added = np.bincount(ends[rows_here], work_s[rows_here], num_edges + 1)[:num_edges]
        inside_s += np.cumsum(added)
        totals = inside_s[edge:] - (capacity_s[edge:] - capacity_s[edge]) + best_s[edge:]
        end = edge + 1 + int(np.argmax(totals[1:]))
        best_s[edge] = best_s[edge + 1]
        if totals[end - edge] > best_s[edge] + _ROUNDING:
            best_s[edge], end_of[edge] = totals[end - edge], end
    chosen, edge = [], 0
    while edge < num_edges - 1:
        if end_of[edge] < 0:
            edge += 1
            continue
        chosen.append((edge, int(end_of[edge])))
        edge = int(end_of[edge])
    return chosen
