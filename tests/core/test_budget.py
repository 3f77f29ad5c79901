"""A budget is the tightest of what was asked, the class default and the call's deadline."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import BudgetDefaults, TurnClass, budget_for, forwarded_budget
from gateway.core.errors import InvalidRequest

DEFAULTS = BudgetDefaults(voice_s=0.5, agent_s=2.0)
positive_s = st.floats(0.001, 86_000.0)
instants_s = st.floats(0.0, 1e6)


@pytest.mark.parametrize(
    ("turn_class", "default_s"),
    [(TurnClass.VOICE, 0.5), (TurnClass.AGENT, 2.0), (TurnClass.BATCH, None)],
)
def test_a_class_without_wishes_gets_its_default(
    turn_class: TurnClass, default_s: float | None
) -> None:
    budget = budget_for(turn_class, DEFAULTS, started_s=10.0)

    assert budget.first_token_s == default_s
    assert budget.call_deadline_s is None


def test_a_request_may_ask_for_less_or_more_than_the_default() -> None:
    for requested_s in (0.125, 8.0):
        budget = budget_for(TurnClass.VOICE, DEFAULTS, started_s=10.0, requested_s=requested_s)
        assert budget.first_token_s == requested_s
        assert budget.first_token_deadline_s == 10.0 + requested_s


def test_a_batch_turn_with_a_deadline_has_what_the_deadline_leaves() -> None:
    budget = budget_for(TurnClass.BATCH, DEFAULTS, started_s=10.0, call_deadline_s=14.0)

    assert budget.first_token_s == 4.0
    assert budget.call_deadline_s == 14.0


@pytest.mark.parametrize("left_s", [86_400.0, 864_000.0, math.inf])
def test_a_deadline_days_away_is_no_budget_that_a_peer_would_refuse(left_s: float) -> None:
    for turn_class, own_s in ((TurnClass.BATCH, None), (TurnClass.AGENT, DEFAULTS.agent_s)):
        budget = budget_for(turn_class, DEFAULTS, started_s=10.0, call_deadline_s=10.0 + left_s)
        assert budget.first_token_s == own_s
        remaining_s = budget.remaining_s(10.0)
        assert forwarded_budget(remaining_s, one_way_s=0.0, received_s=0.0).first_token_s == own_s


def test_a_deadline_that_has_passed_leaves_nothing() -> None:
    budget = budget_for(TurnClass.AGENT, DEFAULTS, started_s=10.0, call_deadline_s=9.0)

    assert budget.first_token_s == 0.0
    assert budget.remaining_s(10.0) == 0.0


@pytest.mark.parametrize("requested_s", [0.0, -1.0, 86_400.0, math.inf, math.nan])
def test_an_absurd_budget_is_refused_with_its_field_named(requested_s: float) -> None:
    with pytest.raises(InvalidRequest) as caught:
        budget_for(TurnClass.VOICE, DEFAULTS, started_s=0.0, requested_s=requested_s)
    assert caught.value.param == "latency_budget_ms"


@given(
    st.sampled_from(TurnClass),
    instants_s,
    st.none() | positive_s,
    st.none() | st.floats(-10.0, 1000.0),
)
def test_a_budget_never_exceeds_any_of_its_bounds(
    turn_class: TurnClass, started_s: float, requested_s: float | None, left_s: float | None
) -> None:
    call_deadline_s = None if left_s is None else started_s + left_s
    budget = budget_for(
        turn_class,
        DEFAULTS,
        started_s=started_s,
        requested_s=requested_s,
        call_deadline_s=call_deadline_s,
    )

    wished_s = requested_s if requested_s is not None else DEFAULTS.of(turn_class)
    bounds = [bound for bound in (wished_s, call_deadline_s) if bound is not None]
    assert (budget.first_token_s is None) == (not bounds)
    if budget.first_token_s is not None:
        assert budget.first_token_s >= 0.0
        assert wished_s is None or budget.first_token_s <= wished_s
        if call_deadline_s is not None:
            assert budget.first_token_s <= max(0.0, call_deadline_s - started_s)


@given(instants_s, positive_s, st.lists(st.floats(0.0, 100.0), min_size=2, max_size=10))
def test_what_remains_never_grows_and_never_goes_below_nothing(
    started_s: float, budget_s: float, offsets_s: list[float]
) -> None:
    budget = budget_for(TurnClass.AGENT, DEFAULTS, started_s=started_s, requested_s=budget_s)

    left_s = [budget.remaining_s(started_s + offset_s) for offset_s in sorted(offsets_s)]

    numbers = [value for value in left_s if value is not None]
    assert len(numbers) == len(left_s)
    assert numbers == sorted(numbers, reverse=True)
    assert all(0.0 <= value <= budget_s + 1e-9 for value in numbers)


@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=3), st.floats(0.0, 86_399.0), instants_s)
def test_a_budget_never_grows_on_its_way(
    ways_s: list[float], remaining_s: float, received_s: float
) -> None:
    left_s = remaining_s
    for one_way_s in ways_s:
        budget = forwarded_budget(left_s, one_way_s=one_way_s, received_s=received_s)
        assert budget.first_token_s is not None
        assert 0.0 <= budget.first_token_s <= left_s
        left_s = budget.first_token_s


@pytest.mark.parametrize("absurd_s", [-1.0, math.inf, math.nan, 86_400.0])
def test_a_remainder_that_is_no_time_is_refused(absurd_s: float) -> None:
    with pytest.raises(InvalidRequest, match="below a day"):
        forwarded_budget(absurd_s, one_way_s=0.0, received_s=0.0)


def test_a_forwarded_turn_may_have_no_budget() -> None:
    assert forwarded_budget(None, one_way_s=0.1, received_s=5.0).first_token_s is None


def test_a_turn_that_was_heard_late_may_be_late_and_is_judged_by_the_promise() -> None:
    spoken = budget_for(TurnClass.VOICE, BudgetDefaults(), started_s=10.0)
    late = spoken.late_by(0.7)
    assert late.remaining_s(10.7) == pytest.approx(0.5)
    assert late.promised_s == 0.5
    waiting = budget_for(TurnClass.BATCH, BudgetDefaults(), started_s=10.0)
    assert waiting.late_by(0.7) == waiting
