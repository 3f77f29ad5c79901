"""The shipped routing in virtual time."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from gateway.core.budget import TurnClass
from loadtests.sim.faults import AnyFault, Drain, Freeze, Kill, Partition, SlowDown
from loadtests.sim.links import Link
from loadtests.sim.policy import NOWHERE, Ask, Local, News, Policy, RankedList
from loadtests.sim.reports import Reporting
from loadtests.sim.saturation import saturation_hz
from loadtests.sim.shipped import Shipped
from loadtests.sim.workload import Sizes, Slo
from tests.loadtests.simulations import SPEC, TIMES, grid, workload

if TYPE_CHECKING:
    from loadtests.sim.grid import Grid
    from loadtests.sim.outcome import Outcome

NUM_SITES = 4
PATIENT = Slo(first_token_s=None)


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
    rate_hz = saturation_hz(TIMES, SPEC, Sizes(50.0), Sizes(10.0))
    patient = (msgspec.structs.replace(SPEC, max_num_queued=400), TIMES)
    flood = workload([(0.0, 0)] * 400, slo=PATIENT, prompt_tokens=50, output_tokens=10)
    outcome = grid(flood, num_sites=1, site=patient).run(200.0)
    assert 400 / max(outcome.last_token_s) == pytest.approx(rate_hz, rel=0.05)


def ask(key: int, entry: int, remaining_s: float = 0.5) -> Ask:
    return Ask(key, entry, 50, TurnClass.VOICE, remaining_s, ())


def two_sites(policy: Policy) -> Grid:
    """Reports have been exchanged, and the first site drains: what it gets goes to the second."""
    made = grid(workload([]), policy=policy, link=Link(0.005))
    made.run(2.0)
    made.drain(0, True)
    return made


def teach(policy: Shipped, view: Grid, entry: int, ratio: float) -> float:
    """Twenty first tokens that took `ratio` times the estimate. Returns the estimate."""
    site = policy.route(ask(0, entry), view).site
    estimate_s = policy._desks[entry].sent[0].estimate_s
    for key in range(20):
        policy.route(ask(key, entry), view)
        at_s = view.now_s + ratio * estimate_s
        policy.told(entry, key, site, News.FIRST_TOKEN, at_s)
        if site != entry:  # what was never sent is not to count as under way
            policy._desks[entry].views[site].unbook(TurnClass.VOICE, 50)
    return estimate_s


def test_a_site_that_drains_sends_its_own_elsewhere_and_refuses_what_comes() -> None:
    policy = Shipped()
    view = two_sites(policy)
    assert policy.route(ask(0, 0), view).site == 1
    assert policy.refuses(ask(1, 1), 0, view) == "draining"
    assert policy.refuses(ask(0, 0), 1, view) == ""


def test_margins_come_from_first_tokens_at_peers_and_here() -> None:
    """What fits by the estimate alone goes as a last resort; another offer of it is refused."""
    policy = Shipped()
    view = two_sites(policy)
    assert policy.route(ask(50, 0, 0.15), view).reason != "uncertain"
    tight_s = 1.2 * teach(policy, view, 0, 1.8)
    teach(policy, view, 1, 5.0)
    assert policy.refuses(ask(51, 0, tight_s), 1, view) == "nothing_fits"
    assert policy.route(ask(51, 0, tight_s), view) == (1, "uncertain")
    assert policy.refuses(ask(51, 0, tight_s), 1, view) == ""
    policy.told(0, 51, 1, News.REFUSED, view.now_s)
    assert policy.refuses(ask(51, 0, tight_s), 1, view) == "nothing_fits"


@pytest.mark.parametrize("news", [News.UNANSWERED, News.FIRST_TOKEN])
def test_a_peer_that_fails_or_is_late_is_ejected_until_the_entry_starts_again(news: News) -> None:
    policy = Shipped()
    made = grid(workload([]), num_sites=3, policy=policy, link=Link(0.005))
    made.run(2.0)
    made.drain(0, True)
    made.drain(2, True)
    made.events.run(until_s=3.1)
    for key in range(5):
        policy.route(ask(key, 0), made)
        policy.told(0, key, 1, news, made.now_s + 5.0)
    assert policy.route(ask(9, 0), made).site == NOWHERE
    made.kill(0)
    made.restart(0)
    assert policy.route(ask(9, 0), made).site == 1


def test_a_peer_that_stands_still_gets_nothing_more_and_one_that_beats_does() -> None:
    """Reports may be rare; heartbeats say who lives."""
    policy = Shipped()
    rare = Reporting(interval_s=60.0, piggy_back=False)
    made = grid(workload([]), policy=policy, link=Link(0.005), reporting=rare)
    made.run(30.0)
    made.drain(0, True)
    assert policy.route(ask(0, 0), made).site == 1
    made.freeze(1)
    made.events.run(until_s=30.5)
    assert policy.route(ask(1, 0), made).site == 1
    made.events.run(until_s=31.1)
    assert policy.route(ask(2, 0), made).site == NOWHERE
    made.thaw(1)
    made.events.run(until_s=31.4)
    assert policy.route(ask(3, 0), made).site == 1


def test_a_site_knows_its_own_limit_of_what_may_wait() -> None:
    policy = Shipped()
    small = (msgspec.structs.replace(SPEC, max_num_queued=2), TIMES)
    crowd = workload([(0.2 * number, 0) for number in range(6)], slo=PATIENT, output_tokens=900)
    made = grid(crowd, num_sites=1, site=small, policy=policy)
    made.run(2.0)
    assert policy.route(ask(9, 0, inf), made) == (NOWHERE, "queue_full")


def test_nothing_is_remembered_of_requests_that_are_over() -> None:
    policy = Shipped()
    faults: list[AnyFault] = [
        Freeze(site=1, at_s=3.0, until_s=5.0),
        Partition(sites=(2,), at_s=6.0, until_s=8.0),
        Drain(site=3, at_s=9.0, until_s=12.0),
    ]
    outcome = run(policy, *faults)
    assert outcome.num_forwarded > 0
    assert [desk.sent for desk in policy._desks.values()] == [{}] * NUM_SITES
