"""The pooled bound: above every schedule there is, and not much above the best."""

from __future__ import annotations

from itertools import combinations
from math import inf
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.step_time import Curve
from loadtests.sim.arms import POLICIES
from loadtests.sim.bound import Bound, Demand, bound, capacity_s, demand, pooled_bound
from loadtests.sim.faults import (
    AnyFault,
    CapacityCut,
    Drain,
    Freeze,
    Kill,
    Partition,
    SlowDown,
    check_apart,
    speed_path,
)
from loadtests.sim.links import Link
from loadtests.sim.workload import Slo, Workload
from tests.loadtests.simulations import SITE, SPEC, TIMES, grid, workload

if TYPE_CHECKING:
    from collections.abc import Sequence

Job = tuple[int, int, int, int, int]
"""Sent, first due, last due, first work, further work; whole seconds."""


def is_feasible(jobs: Sequence[Job]) -> bool:
    """Whether one machine, preempted at will, does it all: earliest due first, second by second."""
    parts = [[sent, first, work] for sent, first, _, work, _ in jobs]
    parts += [[sent, last, work] for sent, _, last, _, work in jobs]
    for now in range(40):
        waiting = [part for part in parts if part[0] <= now and part[2] > 0]
        if any(part[1] <= now for part in waiting):
            return False
        if waiting:
            min(waiting, key=lambda part: part[1])[2] -= 1
    return not any(part[2] for part in parts)


def best(jobs: Sequence[Job]) -> int:
    """The most jobs that can all be done, by trying every choice."""
    for count in range(len(jobs), 0, -1):
        if any(is_feasible(chosen) for chosen in combinations(jobs, count)):
            return count
    return 0


def bound_of(jobs: Sequence[Job], edges_s: Sequence[float]) -> Bound:
    columns = np.array(jobs, np.float64).T
    edges = np.array(edges_s, np.float64)
    return bound(Demand(*columns), edges.copy(), edges)


@st.composite
def jobs(draw: st.DrawFn) -> list[Job]:
    made = []
    for _ in range(draw(st.integers(1, 7))):
        sent = draw(st.integers(0, 12))
        first_due = sent + draw(st.integers(1, 6))
        last_due = first_due + draw(st.integers(0, 8))
        work = (draw(st.integers(1, 4)), draw(st.integers(0, 4)))
        made.append((sent, first_due, last_due, *work))
    return made


@given(jobs())
@settings(max_examples=250, deadline=None)
def test_no_schedule_of_one_machine_does_better(drawn: list[Job]) -> None:
    fine = [0.5 * k for k in range(61)]
    coarse = [0.0, 4.7, 11.3, 30.0]
    optimum = best(drawn)
    assert bound_of(drawn, fine).num_attained >= optimum
    assert bound_of(drawn, coarse).num_attained >= optimum


def test_it_is_exact_for_equal_requests_in_a_burst() -> None:
    """Ten requests of a second each at once, with four seconds: four can be done."""
    burst = [(5, 9, 9, 1, 0)] * 10
    assert best(burst) == 4
    assert bound_of(burst, range(31)).num_attained == 4


def test_disjoint_bursts_add_up_and_further_tokens_count_by_their_limit() -> None:
    bursts = [(0, 2, 2, 1, 0)] * 5 + [(20, 22, 24, 1, 1)] * 5
    found = bound_of(bursts, range(31))
    assert [interval.num_missed for interval in found.intervals] == [3, 3]
    assert found.num_attained == best(bursts) == 4


def test_the_largest_requests_are_the_ones_to_miss() -> None:
    mixed = [(0, 4, 4, 4, 0), (0, 4, 4, 3, 0), *[(0, 4, 4, 1, 0)] * 3]
    assert bound_of(mixed, range(31)).num_attained == best(mixed) == 3


def test_a_request_that_does_not_fit_alone_is_hopeless() -> None:
    found = bound_of([(0, 2, 2, 3, 0), (0, 2, 2, 1, 0)], range(31))
    assert (found.num_hopeless, found.num_attained) == (1, 1)


def test_work_without_a_limit_never_counts() -> None:
    edges = np.arange(31.0)
    demand = Demand(*(np.array([value] * 50, np.float64) for value in (0.0, inf, inf, 9.0, 9.0)))
    assert bound(demand, edges, edges).num_attained == 50


def overload(seed: int, rate_hz: float, slo: Slo, num_sites: int) -> Workload:
    rng = np.random.default_rng(seed)
    count = int(rate_hz * 6)
    return Workload.from_columns(
        (slo,),
        np.sort(rng.uniform(0.0, 6.0, count)),
        rng.integers(0, num_sites, count),
        rng.integers(1, 150, count),
        rng.integers(1, 40, count),
        np.zeros(count, np.int64),
    )


SPANS = st.sampled_from([(0.5, 1.5), (1.0, 4.0), (2.0, 3.0), (3.0, 25.0), (4.0, inf)])
FAULTS = st.one_of(
    st.builds(
        lambda kind, site, span: kind(site=site, at_s=span[0], until_s=span[1]),
        st.sampled_from([Kill, Freeze, Drain]),
        st.integers(0, 1),
        SPANS,
    ),
    st.builds(
        lambda site, span, factor: SlowDown(
            site=site, at_s=span[0], until_s=span[1], factor=factor
        ),
        st.integers(0, 1),
        SPANS,
        st.sampled_from([2.0, 100.0]),
    ),
    st.builds(
        lambda site, span: CapacityCut(site=site, at_s=span[0], until_s=span[1], ratio=0.3),
        st.integers(0, 1),
        SPANS,
    ),
    st.builds(
        lambda site, span: Partition(sites=(site,), at_s=span[0], until_s=span[1]),
        st.integers(0, 1),
        SPANS,
    ),
)


def are_apart(faults: Sequence[AnyFault]) -> bool:
    try:
        check_apart(faults)
    except ValueError:
        return False
    return True


@given(
    seed=st.integers(0, 1000),
    rate_hz=st.sampled_from([10.0, 30.0, 90.0]),
    policy=st.sampled_from(sorted(POLICIES)),
    slo=st.sampled_from([Slo(first_token_s=0.4), Slo(first_token_s=0.4, token_interval_s=0.03)]),
    faults=st.lists(FAULTS, max_size=5).filter(are_apart),
    grid_tokens=st.sampled_from([8, 64]),
)
@settings(max_examples=60, deadline=None)
def test_no_policy_in_the_simulator_does_better(
    seed: int, rate_hz: float, policy: str, slo: Slo, faults: list[AnyFault], grid_tokens: int
) -> None:
    load = overload(seed, rate_hz, slo, 2)
    site = (msgspec.structs.replace(SPEC, grid_tokens=grid_tokens), TIMES)
    run = grid(load, site=site, policy=POLICIES[policy](), faults=faults, link=Link(0.001))
    attained = int(run.run(30.0).attained().sum())
    assert attained <= pooled_bound(load, [site] * 2, faults, until_s=30.0).num_attained


def test_a_killed_site_that_starts_again_stands_still_no_more() -> None:
    """The bound counts on it from its restart on, as the grid does."""
    faults: list[AnyFault] = [
        Freeze(site=0, at_s=1.0, until_s=25.0),
        Kill(site=0, at_s=2.0, until_s=3.0),
    ]
    load = workload([(0.1 * number, 0) for number in range(200)], slo=Slo(first_token_s=0.4))
    attained = int(grid(load, num_sites=1, faults=faults).run(40.0).attained().sum())
    found = pooled_bound(load, [SITE], faults, until_s=40.0)
    assert 100 < attained <= found.num_attained < len(load)


def test_a_step_that_a_freeze_holds_up_ends_at_the_speed_it_began_at() -> None:
    faults: list[AnyFault] = [
        Freeze(site=0, at_s=1.0, until_s=3.0),
        SlowDown(site=0, at_s=1.5, factor=100.0),
    ]
    assert speed_path(faults, 0, longest_step_s=0.25) == [(1.0, 3.0, 0.0), (3.25, inf, 0.01)]


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_faults_end_to_end_neither_mends_the_other(first: int) -> None:
    faults: list[AnyFault] = [
        Kill(site=0, at_s=1.0, until_s=2.0),
        Kill(site=0, at_s=2.0, until_s=9.0),
    ]
    ordered = [faults[first], faults[1 - first]]
    outcome = grid(workload([(3.0, 0)]), num_sites=1, faults=ordered).run(20.0)
    assert outcome.reasons == {"entry_is_down": 1}


def test_it_bites_in_overload_and_a_dead_site_makes_it_bite_harder() -> None:
    load = overload(1, 90.0, Slo(first_token_s=0.4), 2)
    whole = pooled_bound(load, [SITE] * 2, until_s=30.0)
    assert whole.num_attained < 0.5 * len(load)
    best_run = grid(load, policy=POLICIES["exact_greedy"](), link=Link(0.001)).run(30.0)
    assert best_run.attained().sum() > 0.25 * whole.num_attained
    broken = pooled_bound(load, [SITE] * 2, [Kill(site=0, at_s=0.0)], until_s=30.0)
    assert broken.num_attained < whole.num_attained


def twice(curve: Curve) -> Curve:
    return Curve(curve.counts, tuple(2.0 * time_s for time_s in curve.times_s))


def test_a_slower_profile_supplies_less() -> None:
    half = msgspec.structs.replace(TIMES, decode=twice(TIMES.decode), prefill=twice(TIMES.prefill))
    load = overload(1, 10.0, Slo(), 2)
    done = capacity_s(load, [SITE, (SPEC, half)], [], np.array([0.0, 10.0]))
    assert done.tolist() == pytest.approx([0.0, 15.0])


def test_a_site_is_as_fast_as_at_what_it_is_best_at() -> None:
    slow_prompts = msgspec.structs.replace(TIMES, prefill=twice(TIMES.prefill))
    load = overload(1, 10.0, Slo(), 2)
    done = capacity_s(load, [SITE, (SPEC, slow_prompts)], [], np.array([0.0, 10.0]))
    assert done.tolist() == pytest.approx([0.0, 20.0])
    assert demand(load, [SITE, (SPEC, slow_prompts)]).first_s.tolist() == pytest.approx(
        demand(load, [SITE]).first_s.tolist()
    )


def test_the_work_of_a_long_prompt_is_what_its_chunks_take() -> None:
    times = msgspec.structs.replace(TIMES, prefill_s_per_pair=1e-5)
    load = workload([(0.0, 0)], prompt_tokens=150, output_tokens=3)
    work = demand(load, [(SPEC, times)])
    chunks = ((64, 0), (64, 64), (22, 128))
    assert work.first_s.tolist() == pytest.approx([sum(times.prefill_s(*c) for c in chunks)])
    assert work.further_s.tolist() == pytest.approx([2 * times.decode_s(4, 0) / 4])


def test_a_prompt_costs_what_its_cheapest_cut_costs() -> None:
    """Where long chunks cost more a token than short ones, short ones are what must be done."""
    times = msgspec.structs.replace(TIMES, prefill=Curve((1, 16, 64), (0.001, 0.002, 0.064)))
    load = workload([(0.0, 0)], prompt_tokens=64)
    coarse = demand(load, [(SPEC, times)]).first_s
    fine = demand(load, [(msgspec.structs.replace(SPEC, grid_tokens=16), times)]).first_s
    assert (coarse[0], fine[0]) == pytest.approx((0.064, 0.008))


def test_overlapping_faults_take_a_site_away_once() -> None:
    faults: list[AnyFault] = [
        Kill(site=0, at_s=0.0, until_s=6.0),
        SlowDown(site=0, at_s=0.0, until_s=10.0, factor=2.0),
    ]
    edges = np.array([0.0, 10.0, 20.0])
    done = capacity_s(overload(1, 10.0, Slo(), 1), [SITE], faults, edges)
    assert done[2] == pytest.approx(10.0 + 4.0 * 0.5, abs=1.0)
    assert done[2] >= 12.0
