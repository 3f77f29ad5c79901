import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission import retry_after_s
from gateway.core.budget import TurnClass
from gateway.core.estimate import estimate_first_token_s
from gateway.core.generation import (
    CLASS_RANK,
    EngineLoad,
    add_backlogs,
)
from tests.core.engine_loads import AGENT, FULL, IDLE, classes, loads, waiting


def test_an_idle_engine_costs_the_prefill_alone() -> None:
    assert estimate_first_token_s(IDLE, 100, AGENT) == pytest.approx(0.1)


def test_a_full_engine_adds_the_wait_for_a_slot_and_a_decode_step() -> None:
    # One turn without a slot, four slots that each end in 20 steps of 10 ms: one frees in 50 ms.
    assert estimate_first_token_s(FULL, 100, AGENT) == pytest.approx(0.05 + 0.1 + 0.01)


def test_behind_a_whole_round_of_slots_others_answers_are_waited_for() -> None:
    # Five go first. Four take the places of the running (20 tokens), two of their 40.
    full = msgspec.structs.replace(FULL, backlog=waiting(AGENT, 5, 0))
    wait_s = (4 * 20 + 2 * 40) * 0.010 / 4
    assert estimate_first_token_s(full, 0, AGENT) == pytest.approx(wait_s + 0.01)


def test_a_burst_on_an_idle_engine_waits_for_answers_not_begun_yet() -> None:
    # Nothing runs: four of the twelve before this one take the slots at once, nine wait.
    reported = msgspec.structs.replace(IDLE, mean_remaining_tokens=40.0)
    burst = msgspec.structs.replace(reported, backlog=waiting(AGENT, 12, 0))
    assert estimate_first_token_s(burst, 0, AGENT) == pytest.approx(9 * 40 * 0.010 / 4)


def test_an_engine_that_is_away_costs_the_time_until_it_is_back() -> None:
    away = msgspec.structs.replace(IDLE, available_in_s=1.5)
    assert estimate_first_token_s(away, 100, AGENT) == pytest.approx(1.6)


@given(loads, classes, classes, st.integers(1, 4096), st.integers(1, 100))
def test_work_counts_exactly_if_it_is_served_first(
    load: EngineLoad, mine: TurnClass, others: TurnClass, prompt_tokens: int, more: int
) -> None:
    busier = msgspec.structs.replace(
        load, backlog=add_backlogs(load.backlog, waiting(others, more, more))
    )
    before_s = estimate_first_token_s(load, prompt_tokens, mine)
    after_s = estimate_first_token_s(busier, prompt_tokens, mine)
    assert before_s > 0.0
    if CLASS_RANK[others] > CLASS_RANK[mine]:
        assert after_s == before_s
    else:
        assert after_s >= before_s + more * load.prefill_s_per_token * 0.99


@given(loads, classes, st.one_of(st.none(), st.floats(0.01, 5.0)), st.integers(1, 10_000))
def test_retry_after_is_whole_seconds_within_a_minute_or_never(
    load: EngineLoad, turn_class: TurnClass, budget_s: float | None, prompt_tokens: int
) -> None:
    after_s = retry_after_s(load, budget_s, turn_class, prompt_tokens)
    if budget_s is not None and prompt_tokens * load.prefill_s_per_token > budget_s:
        assert after_s == math.inf
        return
    assert after_s == int(after_s)
    assert 1.0 <= after_s <= 60.0
