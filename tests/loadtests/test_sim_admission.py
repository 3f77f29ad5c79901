"""Admission of the simulator's baselines."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission import AdmissionReason
from gateway.core.budget import TurnClass
from gateway.core.generation import (
    CLASS_RANK,
    NO_BACKLOG,
    EngineLoad,
)
from loadtests.sim.admission import admit
from tests.core.engine_loads import AGENT, FULL, IDLE, classes, loads, waiting


@given(loads, classes, st.integers(0, 600))
def test_no_amount_of_later_work_sheds_a_turn(
    load: EngineLoad, mine: TurnClass, max_num_queued: int
) -> None:
    only_ahead = load.backlog[: CLASS_RANK[mine] + 1]
    alone = msgspec.structs.replace(load, backlog=(*only_ahead, *NO_BACKLOG)[:3])

    def decide(load: EngineLoad) -> object:
        return admit(
            load,
            turn_class=mine,
            prompt_tokens=9,
            remaining_s=0.5,
            max_num_queued=max_num_queued,
        )

    assert decide(load) == decide(alone)


@given(loads, classes, st.floats(0.001, 10.0))
def test_a_turn_is_shed_exactly_when_its_estimate_misses_the_budget(
    load: EngineLoad, turn_class: TurnClass, remaining_s: float
) -> None:
    decision = admit(
        load,
        turn_class=turn_class,
        prompt_tokens=50,
        remaining_s=remaining_s,
        max_num_queued=2000,
    )
    assert decision.admitted == (decision.estimate_s <= remaining_s)


def _patient(
    load: EngineLoad, max_num_queued: int, turn_class: TurnClass = AGENT
) -> AdmissionReason:
    return admit(
        load,
        turn_class=turn_class,
        prompt_tokens=50,
        remaining_s=None,
        max_num_queued=max_num_queued,
    ).reason


def test_without_a_budget_only_a_full_queue_sheds() -> None:
    full = msgspec.structs.replace(FULL, backlog=waiting(AGENT, 9, 0))
    assert _patient(full, 10) is AdmissionReason.NO_BUDGET
    assert _patient(full, 9) is AdmissionReason.QUEUE_FULL
    assert _patient(full, 9, TurnClass.BATCH) is AdmissionReason.QUEUE_FULL
    assert _patient(full, 9, TurnClass.VOICE) is AdmissionReason.NO_BUDGET


def test_without_a_queue_a_free_slot_is_still_given() -> None:
    assert _patient(IDLE, 0) is AdmissionReason.NO_BUDGET
    assert _patient(FULL, 0) is AdmissionReason.QUEUE_FULL


def test_a_spent_budget_is_named() -> None:
    decision = admit(IDLE, turn_class=AGENT, prompt_tokens=1, remaining_s=0.0, max_num_queued=10)
    assert (decision.admitted, decision.reason) == (False, AdmissionReason.BUDGET_SPENT)
