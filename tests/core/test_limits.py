from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.limits import (
    CONCURRENCY_RETRY_S,
    MINUTE_S,
    Bucket,
    LimitMeter,
    LimitReached,
    Limits,
)

rates = st.floats(min_value=0.5, max_value=10_000)
gaps_s = st.floats(min_value=0.0, max_value=300.0)


def test_no_limits_admit_everything() -> None:
    meter = LimitMeter(Limits(), 0.0)
    assert all(meter.admit(0.0) is None for _ in range(1000))
    meter.charge_tokens(10**9, 0.0)
    assert meter.admit(0.0) is None


def test_a_minute_of_requests_at_once_and_then_one_at_a_time() -> None:
    meter = LimitMeter(Limits(requests_per_minute=3), 0.0)
    assert [meter.admit(0.0) for _ in range(3)] == [None] * 3
    assert meter.admit(0.0) == LimitReached("requests per minute", 3, 20.0)
    assert meter.admit(20.0) is None
    assert meter.admit(20.0) == LimitReached("requests per minute", 3, 20.0)


def test_tokens_are_charged_afterwards_and_debt_is_waited_for() -> None:
    meter = LimitMeter(Limits(tokens_per_minute=600), 0.0)
    assert meter.admit(0.0) is None
    meter.charge_tokens(1200, 0.0)
    refusal = meter.admit(0.0)
    assert refusal is not None
    assert refusal.limit == "tokens per minute"
    assert refusal.retry_after_s == pytest.approx(60.1)
    assert meter.admit(60.1) is None


def test_what_was_not_used_for_long_does_not_pay_for_more_than_a_minute() -> None:
    meter = LimitMeter(Limits(tokens_per_minute=60), 0.0)
    meter.charge_tokens(60, 0.0)
    meter.charge_tokens(60, 600.0)
    assert meter.admit(600.0) == LimitReached("tokens per minute", 60, 1.0)


def test_concurrency_is_given_back() -> None:
    meter = LimitMeter(Limits(max_concurrent=1), 0.0)
    assert meter.admit(0.0) is None
    assert meter.admit(0.0) == LimitReached("turns at the same time", 1, CONCURRENCY_RETRY_S)
    meter.release()
    assert meter.admit(0.0) is None


def test_a_refusal_by_one_limit_uses_nothing_of_another() -> None:
    meter = LimitMeter(Limits(requests_per_minute=2, max_concurrent=1), 0.0)
    assert meter.admit(0.0) is None
    assert [meter.admit(0.0) for _ in range(10)] != [None] * 10
    meter.release()
    assert meter.admit(0.0) is None, "the refused ones took no request"


def test_changing_one_limit_keeps_what_others_have_counted() -> None:
    meter = LimitMeter(Limits(requests_per_minute=1, max_concurrent=2), 0.0)
    assert meter.admit(0.0) is None
    meter.change(Limits(requests_per_minute=1, tokens_per_minute=5, max_concurrent=2), 0.0)
    assert meter.num_running == 1
    refusal = meter.admit(0.0)
    assert refusal is not None
    assert refusal.limit == "requests per minute"
    meter.change(Limits(requests_per_minute=2), 0.0)
    assert meter.admit(0.0) is None


@given(rates, st.lists(st.tuples(gaps_s, st.floats(0, 1e5)), max_size=30))
def test_a_bucket_never_holds_more_than_its_capacity(
    capacity: float, uses: list[tuple[float, float]]
) -> None:
    bucket, now_s = Bucket.full(capacity, 0.0), 0.0
    for gap_s, units in uses:
        now_s += gap_s
        bucket.refill(now_s)
        assert bucket.level <= capacity
        bucket.level -= units


@given(rates, st.floats(0, 1e5))
def test_a_bucket_keeps_its_word_about_the_wait(capacity: float, used: float) -> None:
    bucket = Bucket.full(capacity, 0.0)
    bucket.level -= used
    wait_s = bucket.wait_s(1.0)
    bucket.refill(wait_s)
    assert bucket.wait_s(1.0) == 0.0


@given(rates, gaps_s)
def test_a_clock_that_goes_back_refills_nothing(capacity: float, back_s: float) -> None:
    bucket = Bucket(capacity, 0.0, as_of_s=1000.0)
    bucket.refill(1000.0 - back_s)
    assert bucket.level == 0.0
    assert bucket.as_of_s == 1000.0


class MeterMachine(RuleBasedStateMachine):
    """Whatever a key does, it never gets more than was agreed."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(requests_per_minute=30.0, tokens_per_minute=900.0, max_concurrent=4)
        self.meter = LimitMeter(self.limits, 0.0)
        self.now_s = 0.0
        self.running = 0
        self.admitted_at_s: list[float] = []

    @rule(gap_s=st.floats(0.0, 40.0))
    def time_passes(self, gap_s: float) -> None:
        self.now_s += gap_s

    @rule()
    def ask(self) -> None:
        refusal = self.meter.admit(self.now_s)
        if refusal is None:
            self.running += 1
            self.admitted_at_s.append(self.now_s)
        else:
            assert refusal.retry_after_s > 0.0

    @precondition(lambda self: self.running > 0)
    @rule(num_tokens=st.integers(0, 500))
    def finish(self, num_tokens: int) -> None:
        self.meter.charge_tokens(num_tokens, self.now_s)
        self.meter.release()
        self.running -= 1

    @invariant()
    def never_more_at_once_than_agreed(self) -> None:
        assert self.running == self.meter.num_running <= 4

    @invariant()
    def never_more_per_stretch_than_agreed(self) -> None:
        for index, start_s in enumerate(self.admitted_at_s):
            stretch_s = self.now_s - start_s
            allowed = 30.0 + stretch_s * 30.0 / MINUTE_S
            assert len(self.admitted_at_s) - index <= math.floor(allowed + 1e-3)


TestMeter = MeterMachine.TestCase
TestMeter.settings = settings(max_examples=40, stateful_step_count=30)
