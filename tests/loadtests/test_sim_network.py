"""Links, reports and the virtual clock."""

from __future__ import annotations

import random

import pytest

from gateway.core.generation import EngineLoad
from loadtests.sim.events import Events
from loadtests.sim.links import Link, Links
from loadtests.sim.policy import Report
from loadtests.sim.reports import Mailboxes, Reporting


def test_events_happen_in_order_of_time_then_of_planning_and_arrivals_last() -> None:
    events = Events()
    seen: list[tuple[float, object]] = []

    def note(what: object) -> None:
        seen.append((events.now_s, what))
        if what == "b":
            events.at(1.0, note, "in the past")
            events.at(2.0, note, "c")

    events.at(2.0, note, "b")
    events.at(1.0, note, "a")
    events.run(until_s=3.0, arrivals_s=[1.0, 2.0, 9.0], arrive=note)
    assert seen == [(1.0, "a"), (1.0, 0), (2.0, "b"), (2.0, "in the past"), (2.0, "c"), (2.0, 1)]
    assert events.now_s == 3.0
    assert events.num_happened == 6


def test_delay_grows_with_distance_and_is_the_same_both_ways() -> None:
    links = Links([(0.0, 0.0), (3.0, 4.0), (0.0, 1.0)], nearest=Link(0.002), s_per_distance=0.001)
    assert links.delay_s(0, 1) == pytest.approx(0.007)
    assert links.rtt_s(0, 1) == links.rtt_s(1, 0) == pytest.approx(0.014)
    assert links.delay_s(1, 1) == 0.0
    assert links.nearest_to(0, 2) == (2, 1)


def test_a_single_link_may_be_set_in_one_direction() -> None:
    links = Links([(0.0, 0.0)] * 2, nearest=Link(0.002), single={(0, 1): Link(0.05)})
    assert (links.delay_s(0, 1), links.delay_s(1, 0)) == (0.05, 0.002)


def test_scattered_sites_stay_inside_their_delays_and_are_seeded() -> None:
    links = Links.scattered(30, nearest=Link(0.002), farthest_s=0.02, seed=3)
    delays = [links.delay_s(a, b) for a in range(30) for b in range(30) if a != b]
    assert min(delays) >= 0.002
    assert 0.01 < max(delays) <= 0.02
    again = Links.scattered(30, nearest=Link(0.002), farthest_s=0.02, seed=3)
    assert again.positions == links.positions


def test_jitter_and_loss_have_their_means() -> None:
    links = Links([(0.0, 0.0)] * 2, nearest=Link(0.01, jitter_s=0.002, loss_ratio=0.1))
    rng = random.Random(1)
    taken = [links.sample_s(0, 1, rng) for _ in range(20_000)]
    assert min(taken) >= 0.01
    assert sum(s > 0.2 for s in taken) / 20_000 == pytest.approx(0.1, abs=0.01)
    clean = [s for s in taken if s < 0.2]
    assert sum(clean) / len(clean) == pytest.approx(0.012, rel=0.05)


@pytest.mark.parametrize("fields", [(-0.1,), (0.1, -1.0), (0.1, 0.0, 1.0), (float("nan"),)])
def test_a_link_out_of_range_is_refused(fields: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        Link(*fields)


def report(at_s: float) -> Report:
    return Report(EngineLoad(at_s, 4, 0, 0.001, 0.01, 20.0, 20.0), at_s, False)


def mailboxes(link: Link, **reporting: float | bool) -> tuple[Mailboxes, Links]:
    links = Links([(0.0, 0.0)] * 2, nearest=link)
    return Mailboxes(Reporting(**reporting), links, random.Random(1)), links  # type: ignore[arg-type]


def test_a_report_is_seen_when_link_and_report_delay_have_passed() -> None:
    boxes, _ = mailboxes(Link(0.1), delay_s=0.4)
    boxes.publish(1, report(1.0))
    assert boxes.newest(0, 1, 1.49) is None
    assert boxes.newest(0, 1, 1.5) == report(1.0)
    boxes.publish(1, report(2.0))
    assert boxes.newest(0, 1, 2.2) == report(1.0)
    assert boxes.newest(0, 1, 2.5) == report(2.0)


def test_a_lost_report_stays_lost_and_the_one_before_counts() -> None:
    boxes, _ = mailboxes(Link(0.0, 0.0, 0.5))
    ages = []
    for second in range(2000):
        boxes.publish(1, report(float(second)))
        seen = boxes.newest(0, 1, second + 0.5)
        assert boxes.newest(0, 1, second + 0.6) == seen
        ages.append(second - (seen.at_s if seen else -1.0))
    assert sum(age > 0 for age in ages) / 2000 == pytest.approx(0.5, abs=0.06)


def test_reports_are_lost_without_any_loss_of_the_link() -> None:
    boxes, _ = mailboxes(Link(0.0), loss_ratio=0.5)
    num_seen = 0
    for second in range(2000):
        boxes.publish(1, report(float(second)))
        seen = boxes.newest(0, 1, second + 0.5)
        num_seen += seen is not None and seen.at_s == second
    assert num_seen / 2000 == pytest.approx(0.5, abs=0.06)


def test_a_report_on_an_answer_is_newer_than_the_periodic_one() -> None:
    boxes, _ = mailboxes(Link(0.1))
    boxes.publish(1, report(1.0))
    boxes.piggy_back(0, 1, report(1.3), 1.4)
    assert boxes.newest(0, 1, 1.39) == report(1.0)
    assert boxes.newest(0, 1, 1.4) == report(1.3)


def test_without_piggy_backing_only_periodic_reports_count() -> None:
    boxes, _ = mailboxes(Link(0.1), piggy_back=False)
    boxes.piggy_back(0, 1, report(1.3), 1.4)
    assert boxes.newest(0, 1, 9.0) is None


def test_no_report_crosses_a_partition() -> None:
    boxes, links = mailboxes(Link(0.0))
    boxes.publish(1, report(1.0))
    assert boxes.newest(0, 1, 1.0) == report(1.0)
    links.split({1: 1})
    boxes.publish(1, report(2.0))
    assert boxes.newest(0, 1, 2.0) == report(1.0)
    links.split({})
    assert boxes.newest(0, 1, 2.0) == report(2.0)
