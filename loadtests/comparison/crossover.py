"""Where a grid sustains more than a pool at a distance, and where less: round trip x skew x burst.

All arms of a seed see the same requests in every cell of one skew and burst; distances change
nothing but the paths. Differences are taken seed by seed, so that common luck cancels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from loadtests.comparison.capacity import MOST, probe
from loadtests.comparison.resampling import interval, over_seeds
from loadtests.sim.prepared import Prepared
from loadtests.sim.sustainable import highest_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loadtests.sim.links import Link
    from loadtests.sim.scenario import Scenario

Burst = Literal["steady", "local", "correlated"]


class Axes(msgspec.Struct, frozen=True):
    """What is swept."""

    rtts_ms: tuple[float, ...] = (10.0, 20.0, 40.0, 60.0, 80.0, 120.0)
    """Between a client and the pool, the access included."""
    site_rtts_ms: tuple[float, ...] = (8.0, 20.0, 40.0)
    """Between sites; the first is compared with the pool."""
    hot_ratios: tuple[float | None, ...] = (None, 0.4, 0.7)
    bursts: tuple[Burst, ...] = ("steady", "local", "correlated")
    loads: tuple[float, ...] = (0.5, 0.7, 0.85)
    """Of what the accelerators do with no idle second."""


SHORT = Axes(
    rtts_ms=(20.0, 60.0, 120.0),
    site_rtts_ms=(8.0, 40.0),
    hot_ratios=(None, 0.7),
    bursts=("steady", "correlated"),
    loads=(0.7,),
)


@dataclass(slots=True)
class Cells:
    """One skew and burst: sustained loads by seed, in requests a second of all sites."""

    hot_ratio: float | None
    burst: Burst
    pool_hz: list[float] = field(default_factory=list)
    grid_hz: list[float] = field(default_factory=list)
    forwarding_hz: dict[float, list[float]] = field(default_factory=dict)
    """By the round trip between sites, in ms."""
    exact_hz: dict[float, list[float]] = field(default_factory=dict)
    """The same, if every site saw the exact state of all: what distance costs, and not deciding."""
    central_hz: dict[float, list[float]] = field(default_factory=dict)
    """By the round trip to the pool, in ms."""
    points: dict[tuple[float, float], list[tuple[Prepared, Any, Any]]] = field(default_factory=dict)

    def summary(self, seed: int) -> dict[str, Any]:
        """As JSON-like data."""
        near = next(iter(self.forwarding_hz.values()))
        return {
            "hot_ratio": self.hot_ratio,
            "burst": self.burst,
            "pool": _loads(self.pool_hz),
            "grid": _loads(self.grid_hz),
            "forwarding_over_grid": _ratios(near, self.grid_hz),
            "forwarding": [
                {
                    "site_rtt_ms": rtt_ms,
                    **_loads(loads_hz),
                    "of_pool": _ratios(loads_hz, self.pool_hz),
                    "of_exact_state": _ratios(loads_hz, self.exact_hz[rtt_ms]),
                }
                for rtt_ms, loads_hz in self.forwarding_hz.items()
            ],
            "central": [
                {
                    "rtt_ms": rtt_ms,
                    **_loads(loads_hz),
                    "forwarding_over_central": _ratios(near, loads_hz),
                }
                for rtt_ms, loads_hz in self.central_hz.items()
            ],
            "crossover_rtt_ms": self._crossover(near),
            "at_load": [
                {"load": load, "rtt_ms": rtt_ms, **_difference(runs, seed)}
                for (load, rtt_ms), runs in self.points.items()
            ],
        }

    def _crossover(self, near_hz: list[float]) -> dict[str, Any]:
        """The round trip from which on the pool sustains less, seed by seed."""
        rtts_ms = list(self.central_hz)
        found = [
            crossing(rtts_ms, [own - self.central_hz[rtt_ms][place] for rtt_ms in rtts_ms])
            for place, own in enumerate(near_hz)
        ]
        known = [rtt_ms for rtt_ms in found if rtt_ms is not None]
        bounds = over_seeds(known) if len(known) == len(found) else None
        return {
            "mean": round(sum(known) / len(known), 1) if len(known) == len(found) else None,
            "ci95": None if bounds is None else [round(bound, 1) for bound in bounds],
            "by_seed": [None if rtt_ms is None else round(rtt_ms, 1) for rtt_ms in found],
        }


def crossing(rtts_ms: Sequence[float], leads: Sequence[float]) -> float | None:
    """Where a lead that is not above 0 becomes so for good, between two round trips by a line.

    The first round trip if it always was; None if it is not at the last.
    """
    if leads[-1] <= 0.0:
        return None
    place = len(leads) - 1
    while place > 0 and leads[place - 1] > 0.0:
        place -= 1
    if place == 0:
        return rtts_ms[0]
    before, after = leads[place - 1], leads[place]
    part = -before / (after - before)
    return rtts_ms[place - 1] + part * (rtts_ms[place] - rtts_ms[place - 1])


def sweep(
    scenario: Scenario,
    axes: Axes,
    *,
    num_seeds: int,
    done: Callable[[str], None],
    num_known: int = 0,
) -> Iterator[dict[str, Any]]:
    """The summary of every skew and burst, as it is known; the first `num_known` are left out."""
    for hot_ratio, burst in list(product(axes.hot_ratios, axes.bursts))[num_known:]:
        cells = Cells(hot_ratio, burst)
        shaped = _shaped(scenario, hot_ratio, burst)
        for number in range(num_seeds):
            skew = "even" if hot_ratio is None else f"{hot_ratio:.0%} at one site"
            done(f"{skew}, {burst}, seed {number + 1} of {num_seeds}")
            _fill(cells, probe(shaped, seed=scenario.seed + number), axes)
        yield cells.summary(scenario.seed)


def _fill(cells: Cells, prepared: Prepared, axes: Axes) -> None:
    """One seed."""
    per_s = len(prepared.workload) / prepared.scenario.duration_s

    def sustained_hz(at: Prepared, arm: str) -> float:
        return highest_load(at, arm).ratio * per_s

    cells.pool_hz.append(sustained_hz(prepared, "pool"))
    cells.grid_hz.append(sustained_hz(prepared, "grid"))
    for rtt_ms in axes.site_rtts_ms:
        at = _sites_apart(prepared, rtt_ms)
        cells.forwarding_hz.setdefault(rtt_ms, []).append(sustained_hz(at, "grid_forwarding"))
        cells.exact_hz.setdefault(rtt_ms, []).append(sustained_hz(at, "exact_greedy"))
    for rtt_ms in axes.rtts_ms:
        at = pool_at(prepared, rtt_ms)
        cells.central_hz.setdefault(rtt_ms, []).append(sustained_hz(at, "central"))
    for load in axes.loads:
        part = load / MOST
        near = _sites_apart(prepared, axes.site_rtts_ms[0]).at_load(part)
        kept = near.run("grid_forwarding").attained()
        for rtt_ms in axes.rtts_ms:
            theirs = pool_at(prepared, rtt_ms).at_load(part).run("central").attained()
            cells.points.setdefault((load, rtt_ms), []).append((near, kept, theirs))


def _shaped(scenario: Scenario, hot_ratio: float | None, burst: Burst) -> Scenario:
    arrivals = {"steady": "poisson", "local": "mmpp_local", "correlated": "mmpp_correlated"}
    load = msgspec.structs.replace(
        scenario.load,
        hot_ratio=hot_ratio,
        arrivals=arrivals[burst],
        sites_per_region=scenario.sites.count,
        surges=(),
        wave=None,
    )
    return msgspec.structs.replace(scenario, load=load, faults=())


def pool_at(prepared: Prepared, rtt_ms: float) -> Prepared:
    """The pool at a round trip from every client; none is nearer than the clients' access."""
    scenario = prepared.scenario
    beyond_s = max(0.0, rtt_ms / 2e3 - scenario.clients.access_delay_s)
    path = msgspec.structs.replace(scenario.central.path, delay_s=beyond_s)
    central = msgspec.structs.replace(scenario.central, path=path)
    return Prepared(msgspec.structs.replace(scenario, central=central), prepared.workload)


def _sites_apart(prepared: Prepared, rtt_ms: float) -> Prepared:
    """All sites at one round trip from each other."""
    scenario = prepared.scenario
    way_s = rtt_ms / 2e3
    nearest: Link = msgspec.structs.replace(scenario.network.nearest, delay_s=way_s)
    network = msgspec.structs.replace(scenario.network, nearest=nearest, farthest_s=way_s)
    return Prepared(msgspec.structs.replace(scenario, network=network), prepared.workload)


def _loads(loads_hz: list[float]) -> dict[str, Any]:
    return {"rate_hz": round(float(np.mean(loads_hz)), 2), "ci95": _bounds(loads_hz)}


def _ratios(own: list[float], other: list[float]) -> dict[str, Any]:
    """Of paired loads; no mean where the other sustains nothing on some seed."""
    if not all(other):
        return {"mean": None, "ci95": None}
    ratios = [a / b for a, b in zip(own, other, strict=True)]
    return {"mean": round(float(np.mean(ratios)), 4), "ci95": _bounds(ratios)}


def _bounds(values: list[float]) -> list[float] | None:
    """Of loads or their ratios, which are never below 0, however wide an interval of few seeds."""
    bounds = over_seeds(values)
    return None if bounds is None else [round(max(0.0, bound), 4) for bound in bounds]


def _difference(runs: list[tuple[Prepared, Any, Any]], seed: int) -> dict[str, Any]:
    """Points of attainment by which forwarding is ahead, over blocks of time of all seeds."""
    # Runs are laid one after the other, a gap between them, so that no block holds two.
    length_s = 2.0 * runs[0][0].scenario.duration_s
    sent_s = np.concatenate(
        [np.frombuffer(at.workload.sent_s) + n * length_s for n, (at, _, _) in enumerate(runs)]
    )
    ahead = 100.0 * np.concatenate([kept.astype(np.float64) - theirs for _, kept, theirs in runs])
    bounds = interval(sent_s, lambda rows: float(ahead[rows].mean()), seed=seed)
    return {
        "points": round(float(ahead.mean()), 3) if len(ahead) else None,
        "ci95": None if bounds is None else [round(bound, 3) for bound in bounds],
        "forwarding": round(float(np.concatenate([kept for _, kept, _ in runs]).mean()), 5),
        "central": round(float(np.concatenate([theirs for _, _, theirs in runs]).mean()), 5),
    }
