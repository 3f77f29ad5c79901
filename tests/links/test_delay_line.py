from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.links.delay_line import MAX_NUM_IN_FLIGHT, MAX_QUEUE_S, DelayLine
from loadtests.links.matrix import Link

_LINKS = st.builds(
    Link,
    rtt_s=st.just(0.02),
    jitter_s=st.floats(0, 0.01),
    loss_ratio=st.sampled_from([0.0, 0.2]),
    rate_bit_per_s=st.sampled_from([0.0, 1e6, 1e9]),
)


@given(_LINKS, st.lists(st.tuples(st.floats(0, 0.01), st.integers(20, 1500)), max_size=60))
def test_packets_keep_their_order_and_never_come_early(
    link: Link, packets: list[tuple[float, int]]
) -> None:
    line, now_s, last_s = DelayLine(link, seed=1), 0.0, 0.0
    for gap_s, num_bytes in packets:
        now_s += gap_s
        due_s = line.enter(now_s, num_bytes)
        if due_s is None:
            continue
        assert due_s >= last_s
        assert due_s >= now_s + link.rtt_s / 2 - link.jitter_s - 1e-12
        last_s = due_s
    passed = line.num_in_flight
    assert passed + line.num_lost + line.num_dropped == line.num_packets == len(packets)


def test_without_jitter_the_delay_is_half_the_round_trip() -> None:
    line = DelayLine(Link(0.08), seed=1)
    assert line.enter(5.0, 1500) == pytest.approx(5.04)


def test_a_rate_makes_packets_wait_for_one_another_and_drops_what_does_not_fit() -> None:
    line = DelayLine(Link(0.0, rate_bit_per_s=1e6), seed=1)
    assert line.enter(0.0, 1250) == pytest.approx(0.010)
    assert line.enter(0.0, 1250) == pytest.approx(0.020)
    assert line.enter(0.5, 1250) == pytest.approx(0.510)
    while line.enter(0.5, 1250) is not None:
        continue
    assert line.num_dropped == 1
    assert line.num_in_flight == pytest.approx(2 + MAX_QUEUE_S / 0.010, abs=2)


def test_any_rate_still_has_a_bound() -> None:
    line = DelayLine(Link(1.0), seed=1)
    fates = [line.enter(0.0, 100) for _ in range(MAX_NUM_IN_FLIGHT + 1)]
    assert fates[-1] is None
    assert line.num_dropped == 1
    line.leave(0.0)
    assert line.enter(0.0, 100) is not None


def test_loss_is_as_configured_and_repeats_with_the_seed() -> None:
    def fates(seed: int) -> list[bool]:
        line = DelayLine(Link(0.0, loss_ratio=0.01), seed)
        lost = [line.enter(at, 100) is None for at in range(10_000)]
        assert line.num_lost == sum(lost)
        return lost

    assert 70 <= sum(fates(1)) <= 130
    assert fates(1) == fates(1) != fates(2)


def test_lateness_is_counted() -> None:
    line = DelayLine(Link(0.0), seed=1)
    for late_s in [0.0001] * 98 + [0.003, 0.2]:
        line.enter(0.0, 100)
        line.leave(late_s)
    before = line.counters("a", "b")
    assert before.late_p99_s == pytest.approx(0.003, abs=2e-5)
    for _ in range(100):
        line.enter(0.0, 100)
        line.leave(0.001)
    during = line.counters("a", "b").since(before)
    assert (during.num_packets, during.num_bytes) == (100, 10_000)
    assert during.late_p99_s == pytest.approx(0.001, abs=2e-5)
    assert DelayLine(Link(0.0), seed=1).counters("a", "b").late_p99_s == 0.0
