"""A grid in virtual time: what requests see, and what faults do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.core.generation import NO_BACKLOG
from loadtests.sim.arms import POLICIES
from loadtests.sim.faults import AnyFault, CapacityCut, Drain, Freeze, Kill, Partition, SlowDown
from loadtests.sim.links import Link
from loadtests.sim.outcome import Fate, Outcome
from loadtests.sim.policy import Ask, ExactGreedy, News, Route, TwoChoices, Unmoved, View
from loadtests.sim.reports import Reporting
from loadtests.sim.ways import Clients
from loadtests.sim.workload import Slo
from tests.loadtests.simulations import ALONE_S, TIMES, grid, workload


class Always(Unmoved):
    """Sends everything to one site, once; tried in vain, it gives up."""

    uses_reports = False

    def __init__(self, site: int) -> None:
        self.site = site

    def route(self, ask: Ask, view: View) -> Route:
        return Route(-1, "gave_up") if self.site in ask.tried else Route(self.site)


def fates(outcome: Outcome) -> list[Fate]:
    return [Fate(fate) for fate in outcome.fate]


def test_an_idle_site_answers_in_prefill_and_decode_time_from_the_intended_send() -> None:
    outcome = grid(workload([(1.0, 0)]), clients=Clients(access_delay_s=0.003)).run(10.0)
    assert outcome.first_token_s[0] == pytest.approx(ALONE_S + 0.006)
    assert outcome.last_token_s[0] == pytest.approx(ALONE_S + 9 * TIMES.decode_s(1, 0) + 0.006)
    assert outcome.attained().all()


def test_a_forwarded_request_pays_the_round_trip() -> None:
    outcome = grid(workload([(1.0, 0)]), policy=Always(1)).run(10.0)
    assert outcome.first_token_s[0] == pytest.approx(ALONE_S + 0.04)
    assert outcome.served_by[0] == 1
    assert outcome.num_forwarded == 1


def test_what_cannot_meet_its_budget_is_shed_and_counts_as_missed() -> None:
    load = workload([(0.001 * i, 0) for i in range(40)], slo=Slo(first_token_s=0.3))
    outcome = grid(load).run(30.0)
    assert 0 < fates(outcome).count(Fate.DONE) < 10
    assert fates(outcome).count(Fate.SHED) == 40 - fates(outcome).count(Fate.DONE)
    assert outcome.summary()["attained"] < 0.25


def test_a_stream_that_dribbles_is_not_attained() -> None:
    slo = Slo(first_token_s=0.5, token_interval_s=0.02)
    crowded = workload([(0.0, 0)] * 4, slo=slo, output_tokens=200)
    outcome = grid(crowded).run(60.0)
    assert fates(outcome) == [Fate.DONE] * 4
    alone = grid(workload([(0.0, 0)], slo=slo, output_tokens=200)).run(60.0)
    assert alone.attained().all()
    strict = Slo(first_token_s=0.5, token_interval_s=0.005)
    late = grid(workload([(0.0, 0)], slo=strict, output_tokens=200)).run(60.0)
    assert fates(late) == [Fate.DONE]
    assert not late.attained().any()


def busy(num_sites: int = 4) -> list[tuple[float, int]]:
    """Ten seconds, the first site with three times the load of the others."""
    rng = np.random.default_rng(5)
    sent = [
        (float(at_s), site)
        for site in range(num_sites)
        for at_s in rng.uniform(0.0, 10.0, 150 if site == 0 else 50)
    ]
    return sorted(sent)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_same_seed_gives_the_same_run_to_the_last_bit(policy: str) -> None:
    def run(seed: int) -> Outcome:
        faults: list[AnyFault] = [
            Kill(site=1, at_s=3.0, until_s=6.0),
            Freeze(site=2, at_s=4.0, until_s=5.0),
        ]
        return grid(
            workload(busy()),
            num_sites=4,
            policy=POLICIES[policy](),
            faults=faults,
            link=Link(0.005, 0.002, 0.01),
            clients=Clients(failover_s=0.05),
            seed=seed,
        ).run(40.0)

    one, same, other = run(1), run(1), run(2)
    assert one.first_token_s.tobytes() == same.first_token_s.tobytes()
    assert one.last_token_s.tobytes() == same.last_token_s.tobytes()
    assert (one.fate, one.reasons) == (same.fate, same.reasons)
    if policy == "two_choices":
        assert one.first_token_s.tobytes() != other.first_token_s.tobytes()
    assert Fate.UNFINISHED not in fates(one)


def test_knowing_more_attains_more() -> None:
    def attained(policy: str) -> int:
        run = grid(workload(busy()), num_sites=4, policy=POLICIES[policy](), link=Link(0.005))
        return int(run.run(40.0).attained().sum())

    assert attained("local") < attained("two_choices") <= attained("exact_greedy")


def test_older_reports_attain_less() -> None:
    def attained(delay_s: float) -> int:
        reporting = Reporting(interval_s=0.05, delay_s=delay_s, piggy_back=False)
        run = grid(
            workload(busy()),
            num_sites=4,
            policy=TwoChoices(),
            link=Link(0.005),
            reporting=reporting,
        )
        return int(run.run(40.0).attained().sum())

    assert attained(30.0) < attained(0.0)


def test_a_killed_site_loses_its_streams_and_refuses_its_clients() -> None:
    load = workload([(1.0, 0), (2.0, 0), (4.0, 0)], output_tokens=50)
    outcome = grid(load, faults=[Kill(site=0, at_s=1.2, until_s=3.0)]).run(20.0)
    assert fates(outcome) == [Fate.FAILED, Fate.FAILED, Fate.DONE]
    assert outcome.reasons == {"stream_broke": 1, "entry_is_down": 1}


def test_clients_of_a_dead_site_go_to_the_nearest_living_one() -> None:
    outcome = grid(
        workload([(2.0, 0)]),
        faults=[Kill(site=0, at_s=1.0)],
        clients=Clients(access_delay_s=0.001, failover_s=0.1),
    ).run(20.0)
    assert outcome.served_by[0] == 1
    assert outcome.first_token_s[0] == pytest.approx(0.002 + 0.1 + 0.04 + ALONE_S)


def test_a_request_without_a_first_token_is_asked_again_when_its_site_dies() -> None:
    policy = ExactGreedy()
    # Fill site 0 so that the last request is forwarded, and kill its peer while it prefills.
    load = workload([(0.0, 0), (0.0, 0), (0.0, 0), (0.001, 0)], slo=Slo(first_token_s=2.0))
    outcome = grid(load, policy=policy, faults=[Kill(site=1, at_s=0.05)]).run(20.0)
    assert outcome.num_forwarded > 0
    assert fates(outcome) == [Fate.DONE] * 4
    assert set(outcome.served_by) == {0}


def test_a_frozen_site_goes_on_where_it_stood() -> None:
    load = workload([(1.0, 0), (2.0, 0)], slo=Slo(first_token_s=None), output_tokens=30)
    outcome = grid(load, faults=[Freeze(site=0, at_s=1.1, until_s=5.1)]).run(20.0)
    assert outcome.first_token_s[0] == pytest.approx(ALONE_S)
    assert outcome.last_token_s[0] > 4.0 + ALONE_S
    assert 3.1 < outcome.first_token_s[1] < 3.5
    assert fates(outcome) == [Fate.DONE, Fate.DONE]


def test_a_site_frozen_for_good_leaves_its_requests_unfinished() -> None:
    load = workload([(1.0, 0), (2.0, 0)], output_tokens=30)
    outcome = grid(load, faults=[Freeze(site=0, at_s=1.1)]).run(20.0)
    assert fates(outcome) == [Fate.UNFINISHED] * 2
    assert not outcome.attained().any()


@pytest.mark.parametrize(
    "fault",
    [
        SlowDown(site=0, at_s=0.5, until_s=5.0, factor=4.0),
        CapacityCut(site=0, at_s=0.5, until_s=5.0, ratio=0.25),
    ],
)
def test_a_slower_site_is_slower_until_it_is_mended(fault: AnyFault) -> None:
    load = workload([(1.0, 0), (10.0, 0)])
    outcome = grid(load, faults=[fault]).run(20.0)
    assert outcome.first_token_s[0] == pytest.approx(4.0 * ALONE_S)
    assert outcome.first_token_s[1] == pytest.approx(ALONE_S)


def test_a_capacity_cut_sheds_at_once_what_a_silent_slow_down_lets_miss() -> None:
    load = workload([(1.0, 0)], prompt_tokens=60, slo=Slo(first_token_s=0.2))
    cut = grid(load, faults=[CapacityCut(site=0, at_s=0.5, ratio=0.1)]).run(20.0)
    sick = grid(load, faults=[SlowDown(site=0, at_s=0.5, factor=10.0)]).run(20.0)
    assert fates(cut) == [Fate.SHED]
    assert fates(sick) == [Fate.DONE]
    assert not sick.attained().any()


def test_a_draining_site_finishes_and_takes_nothing_new() -> None:
    load = workload([(1.0, 0), (1.2, 0), (6.0, 0)], output_tokens=60)
    outcome = grid(load, faults=[Drain(site=0, at_s=1.1, until_s=5.0)]).run(20.0)
    assert fates(outcome) == [Fate.DONE, Fate.SHED, Fate.DONE]
    assert outcome.reasons == {"draining": 1}


def test_a_partition_breaks_streams_and_offers_and_heals() -> None:
    load = workload([(1.0, 0), (2.0, 0), (6.0, 0)], output_tokens=50)
    partition = Partition(sites=(1,), at_s=1.3, until_s=5.0)
    outcome = grid(load, policy=Always(1), faults=[partition]).run(20.0)
    assert fates(outcome) == [Fate.FAILED, Fate.SHED, Fate.DONE]
    assert outcome.reasons == {"stream_broke": 1, "gave_up": 1}
    assert not math.isnan(outcome.first_token_s[0])


def test_a_stream_that_broke_leaves_its_slot() -> None:
    made = grid(
        workload([(1.0, 0)], output_tokens=500),
        policy=Always(1),
        faults=[Partition(sites=(1,), at_s=1.001, until_s=5.0)],
    )
    made.run(2.0)
    assert made.nodes[1].site.load(2.0).num_active == 0


def test_lost_messages_arrive_late() -> None:
    load = workload([(0.5 * i, 0) for i in range(100)], slo=Slo(first_token_s=None))
    clean = grid(load, policy=Always(1)).run(80.0)
    lossy = grid(load, policy=Always(1), link=Link(0.02, 0.0, 0.2)).run(80.0)
    late = np.frombuffer(lossy.first_token_s) - np.frombuffer(clean.first_token_s)
    assert 15 <= int(np.sum(late > 0.19)) <= 60
    assert np.all(late > -1e-9)


def test_no_request_is_lost_sight_of_whatever_happens() -> None:
    faults: list[AnyFault] = [
        Kill(site=1, at_s=2.0, until_s=4.0),
        Partition(sites=(0, 3), at_s=3.0, until_s=5.0),
        Freeze(site=0, at_s=4.5, until_s=5.5),
        Kill(site=0, at_s=6.0, until_s=7.0),
        Drain(site=2, at_s=2.5, until_s=3.5),
        SlowDown(site=3, at_s=1.0, until_s=8.0, factor=3.0),
    ]
    for name, policy in POLICIES.items():
        made = grid(
            workload(busy()),
            num_sites=4,
            policy=policy(),
            faults=faults,
            link=Link(0.005, 0.001, 0.05),
            clients=Clients(failover_s=0.05),
        )
        outcome = made.run(60.0)
        assert Fate.UNFINISHED not in fates(outcome), name
        ended = sum(fate in (Fate.SHED, Fate.FAILED) for fate in fates(outcome))
        assert sum(outcome.reasons.values()) == ended, name
        assert all(node.site.engine.scheduler.is_idle for node in made.nodes), name
        assert all(node.coming == NO_BACKLOG for node in made.nodes), name
        done = np.frombuffer(outcome.fate, np.uint8) == Fate.DONE
        first, last = np.frombuffer(outcome.first_token_s), np.frombuffer(outcome.last_token_s)
        assert np.all(last[done] >= first[done]), name


def test_a_site_has_one_speed_at_a_time() -> None:
    faults: list[AnyFault] = [
        SlowDown(site=0, at_s=1.0, until_s=3.0, factor=2.0),
        CapacityCut(site=0, at_s=2.0, ratio=0.5),
    ]
    with pytest.raises(ValueError, match="two at once: speed"):
        grid(workload([(0.0, 0)]), faults=faults)
    one_after_the_other = [faults[0], CapacityCut(site=0, at_s=3.0, ratio=0.5)]
    grid(workload([(0.0, 0)]), faults=one_after_the_other)


class Learning(Always):
    """Keeps what it is asked and told."""

    def __init__(self, site: int) -> None:
        super().__init__(site)
        self.asked: list[float | None] = []
        self.news: list[tuple[float, int, News]] = []

    def route(self, ask: Ask, view: View) -> Route:
        return Route(ask.entry) if self.site in ask.tried else Route(self.site)

    def refuses(self, ask: Ask, site: int, view: View) -> str:
        self.asked.append(ask.remaining_s)
        return ""

    def told(self, entry: int, key: int, site: int, news: News, now_s: float) -> None:
        self.news.append((round(now_s, 6), site, news))


def test_a_receiver_sees_what_the_ways_there_and_back_leave() -> None:
    policy = Learning(1)
    grid(workload([(1.0, 0)]), policy=policy, clients=Clients(access_delay_s=0.003)).run(3.0)
    assert policy.asked == [pytest.approx(0.5 - 2 * 0.02 - 2 * 0.003)]


def test_a_site_that_refused_is_not_blamed_for_the_death_of_the_entry() -> None:
    policy = Learning(1)
    faults: list[AnyFault] = [Drain(site=1, at_s=0.5), Kill(site=0, at_s=1.06, until_s=1.08)]
    outcome = grid(workload([(1.0, 0)]), policy=policy, faults=faults).run(5.0)
    assert policy.news == [(1.04, 1, News.REFUSED)]
    assert outcome.reasons == {"entry_is_down": 1}


def test_a_frozen_entry_learns_nothing_before_it_goes_on() -> None:
    refusing = Learning(1)
    faults: list[AnyFault] = [Drain(site=1, at_s=0.5), Freeze(site=0, at_s=1.03, until_s=2.0)]
    grid(workload([(1.0, 0)]), policy=refusing, faults=faults).run(5.0)
    assert refusing.news[0] == (2.0, 1, News.REFUSED)
    answering = Learning(1)
    freeze = Freeze(site=0, at_s=1.02 + ALONE_S + 0.01, until_s=2.0)
    grid(workload([(1.0, 0)]), policy=answering, faults=[freeze]).run(5.0)
    assert answering.news == [(2.0, 1, News.FIRST_TOKEN)]


def test_a_dead_entry_learns_nothing() -> None:
    policy = Learning(1)
    faults: list[AnyFault] = [Drain(site=1, at_s=0.5), Kill(site=0, at_s=1.03, until_s=3.0)]
    grid(workload([(1.0, 0)]), policy=policy, faults=faults).run(5.0)
    assert policy.news == []


def test_no_offer_crosses_a_partition() -> None:
    partition = Partition(sites=(1,), at_s=0.5)
    made = grid(workload([(1.0, 0)]), policy=Always(1), faults=[partition])
    assert made.run(5.0).reasons == {"gave_up": 1}
    assert made.nodes[1].received == {}


def test_exact_greedy_counts_what_is_still_on_its_way() -> None:
    """The second of two requests of one instant goes where the first does not."""
    load = workload([(1.0, 0), (1.0, 0)])
    faults = [Drain(site=0, at_s=0.5)]
    outcome = grid(load, num_sites=3, policy=ExactGreedy(), faults=faults).run(5.0)
    assert sorted(outcome.served_by) == [1, 2]
