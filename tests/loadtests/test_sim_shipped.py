"""The shipped routing in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from loadtests.sim.faults import AnyFault, Drain, Kill, SlowDown
from loadtests.sim.links import Link
from loadtests.sim.policy import Local, Policy, RankedList
from loadtests.sim.reports import Reporting
from loadtests.sim.saturation import saturation_hz
from loadtests.sim.shipped import Shipped
from loadtests.sim.workload import Sizes
from tests.loadtests.simulations import SPEC, TIMES, grid, workload

if TYPE_CHECKING:
    from loadtests.sim.outcome import Outcome

NUM_SITES = 4


def sent(seconds: float = 20.0) -> list[tuple[float, int]]:
    """One site with three times the load of the others, all of them busy."""
    rng = np.random.default_rng(5)
    counts = [round(seconds * rate_hz) for rate_hz in (15, 5, 5, 5)]
    return sorted(
        (float(at_s), site)
        for site, count in enumerate(counts)
        for at_s in rng.uniform(0.0, seconds, count)
    )


def run(policy: Policy, *faults: AnyFault, reporting: Reporting | None = None) -> Outcome:
    return grid(
        workload(sent()),
        num_sites=NUM_SITES,
        policy=policy,
        faults=faults,
        link=Link(0.005, 0.001),
        reporting=reporting or Reporting(),
    ).run(60.0)


def attained(outcome: Outcome, since_s: float = 0.0) -> float:
    late_enough = np.frombuffer(outcome.workload.sent_s) >= since_s
    return float(outcome.attained()[late_enough].mean())


def test_it_attains_more_than_sites_alone_and_a_ranked_list() -> None:
    shipped = attained(run(Shipped()))
    assert shipped > 0.97
    assert shipped > attained(run(Local()))
    assert shipped > attained(run(RankedList(), reporting=Reporting(interval_s=5.0)))


def test_lost_and_rare_reports_cost_little() -> None:
    rare = Reporting(interval_s=5.0, loss_ratio=0.2)
    assert attained(run(Shipped(), reporting=rare)) > 0.96


def test_a_silently_slow_site_is_named_and_avoided() -> None:
    policy = Shipped()
    outcome = run(policy, SlowDown(site=1, at_s=5.0, factor=5.0))
    assert list(policy.named_slow_s) == [1]
    assert 5.0 < policy.named_slow_s[1] < 8.0
    assert attained(outcome, since_s=10.0) > 0.9


def test_nothing_is_sent_to_a_site_that_drains_or_is_dead() -> None:
    for fault in (Drain(site=1, at_s=5.0), Kill(site=1, at_s=5.0)):
        outcome = run(Shipped(), fault)
        is_later = np.frombuffer(outcome.workload.sent_s) >= 8.0
        served_by = np.frombuffer(outcome.served_by, np.int64)
        assert not (served_by[is_later] == 1).any()


def test_saturation_is_what_a_site_does_with_every_slot_busy() -> None:
    prompts, outputs = Sizes(50.0), Sizes(10.0)
    rate_hz = saturation_hz(TIMES, SPEC, prompts, outputs)
    flood = workload([(0.0, 0)] * 16, prompt_tokens=50, output_tokens=10)
    outcome = grid(flood, num_sites=1).run(60.0)
    last_s = max(np.frombuffer(outcome.last_token_s))
    done = int((~np.isnan(np.frombuffer(outcome.last_token_s))).sum())
    assert done / last_s <= rate_hz * 1.05
    assert done / last_s == pytest.approx(rate_hz, rel=0.6)
