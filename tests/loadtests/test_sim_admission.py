"""Admission of the simulator's baselines."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission import AdmissionReason
from gateway.core.budget import TurnClass
from gateway.core.generation import (
    CLASS_RANK,
    NO_BACKLOG,
    Backlog,
    ClassBacklogs,
    EngineLoad,
)
from loadtests.sim.admission import admit

IDLE = EngineLoad(
    as_of_s=0.0,
    num_slots=4,
    num_active=0,
    prefill_s_per_token=0.001,
    decode_step_s=0.010,
    mean_remaining_tokens=20.0,
    answer_tokens=40.0,
)
FULL = msgspec.structs.replace(IDLE, num_active=4)

AGENT = TurnClass.AGENT


def waiting(turn_class: TurnClass, num_queued: int, prompt_tokens: int) -> ClassBacklogs:
    backlogs = list(NO_BACKLOG)
    backlogs[CLASS_RANK[turn_class]] = Backlog(num_queued, prompt_tokens)
    return (backlogs[0], backlogs[1], backlogs[2])


classes = st.sampled_from(TurnClass)
backlogs = st.builds(Backlog, st.integers(0, 500), st.integers(0, 100_000))
loads = st.builds(
    EngineLoad,
    as_of_s=st.just(0.0),
    num_slots=st.integers(1, 64),
    num_active=st.integers(0, 64),
    prefill_s_per_token=st.floats(1e-6, 0.01),
    decode_step_s=st.floats(1e-4, 0.1),
    mean_remaining_tokens=st.floats(0, 500),
    answer_tokens=st.floats(0, 500),
    backlog=st.tuples(backlogs, backlogs, backlogs),
    available_in_s=st.floats(0, 10),
)


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
