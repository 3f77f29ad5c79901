"""Loads of engines, as tests of estimates and admission take them."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from gateway.core.budget import TurnClass
from gateway.core.generation import CLASS_RANK, NO_BACKLOG, Backlog, ClassBacklogs, EngineLoad

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
