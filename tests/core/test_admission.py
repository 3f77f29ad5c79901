import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission import (
    AdmissionReason,
    admit,
    estimate_first_token_s,
    retry_after_s,
)
from gateway.core.generation import EngineLoad

IDLE = EngineLoad(
    as_of_s=0.0,
    num_slots=4,
    num_active=0,
    num_queued=0,
    queued_prompt_tokens=0,
    prefill_s_per_token=0.001,
    decode_step_s=0.010,
    mean_remaining_tokens=20.0,
)
FULL = msgspec.structs.replace(IDLE, num_active=4)

loads = st.builds(
    EngineLoad,
    as_of_s=st.just(0.0),
    num_slots=st.integers(1, 64),
    num_active=st.integers(0, 64),
    num_queued=st.integers(0, 500),
    queued_prompt_tokens=st.integers(0, 100_000),
    prefill_s_per_token=st.floats(1e-6, 0.01),
    decode_step_s=st.floats(1e-4, 0.1),
    mean_remaining_tokens=st.floats(0, 500),
)


def test_an_idle_engine_costs_the_prefill_alone() -> None:
    assert estimate_first_token_s(IDLE, 100) == pytest.approx(0.1)


def test_a_full_engine_adds_the_wait_for_a_slot_and_a_decode_step() -> None:
    # One turn without a slot, four slots that each end in 20 steps of 10 ms: one frees in 50 ms.
    assert estimate_first_token_s(FULL, 100) == pytest.approx(0.05 + 0.1 + 0.01)


@given(loads, st.integers(1, 4096), st.integers(1, 100))
def test_more_queued_work_never_lowers_the_estimate(
    load: EngineLoad, prompt_tokens: int, more: int
) -> None:
    busier = msgspec.structs.replace(
        load,
        num_queued=load.num_queued + more,
        queued_prompt_tokens=load.queued_prompt_tokens + more,
    )
    before_s = estimate_first_token_s(load, prompt_tokens)
    assert estimate_first_token_s(busier, prompt_tokens) >= before_s > 0.0


@given(loads, st.floats(0.001, 10.0))
def test_a_turn_is_shed_exactly_when_its_estimate_misses_the_budget(
    load: EngineLoad, remaining_s: float
) -> None:
    decision = admit(load, prompt_tokens=50, remaining_s=remaining_s, max_num_queued=1000)
    assert decision.admitted == (decision.estimate_s <= remaining_s)


def test_without_a_budget_only_a_full_queue_sheds() -> None:
    waiting = msgspec.structs.replace(FULL, num_queued=9)
    kept = admit(waiting, prompt_tokens=50, remaining_s=None, max_num_queued=10)
    refused = admit(waiting, prompt_tokens=50, remaining_s=None, max_num_queued=9)
    assert kept.reason is AdmissionReason.NO_BUDGET
    assert refused.reason is AdmissionReason.QUEUE_FULL
    assert not refused.admitted


def test_without_a_queue_a_free_slot_is_still_given() -> None:
    assert admit(IDLE, prompt_tokens=1, remaining_s=None, max_num_queued=0).admitted
    assert not admit(FULL, prompt_tokens=1, remaining_s=None, max_num_queued=0).admitted


def test_a_spent_budget_is_named() -> None:
    decision = admit(IDLE, prompt_tokens=1, remaining_s=0.0, max_num_queued=10)
    assert (decision.admitted, decision.reason) == (False, AdmissionReason.BUDGET_SPENT)


@given(loads, st.one_of(st.none(), st.floats(0.01, 5.0)))
def test_retry_after_is_whole_seconds_within_a_minute(
    load: EngineLoad, budget_s: float | None
) -> None:
    after_s = retry_after_s(load, budget_s)
    assert after_s == int(after_s)
    assert 1.0 <= after_s <= 60.0
