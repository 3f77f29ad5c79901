"""Session snapshots for tests."""

from __future__ import annotations

from gateway.core.budget import TurnClass
from gateway.core.dialogue import DialogueState
from gateway.core.generation import Constraint, ConstraintKind, Sampling
from gateway.core.session_snapshot import GridKey, SealedSnapshot, SessionSnapshot, Version
from gateway.core.turn import Message, Role, ToolCall, ToolChoice, ToolSpec
from gateway.core.turn_terms import TurnTerms

KEY = GridKey("k" * 32)
NOW_S = 1000.0
TERMS = TurnTerms(
    model="default",
    turn_class=TurnClass.VOICE,
    latency_budget_s=0.4,
    tools=(ToolSpec("pay", "Pays.", {"type": "object"}),),
    tool_choice=ToolChoice(),
    parallel_tool_calls=True,
    server_tools=False,
    constraint=Constraint(ConstraintKind.REGEX, "a+"),
    sampling=Sampling(temperature=0.5, logit_bias={7: 1.0}),
    seeded=False,
    max_tokens=None,
    stop=("x",),
)
PAY = ToolCall("c1", "pay", "{}")
DIALOGUE = DialogueState(
    (Message(Role.USER, "pay"), Message(Role.ASSISTANT, "", (PAY,))), 1, (("c1", None),)
)


def session_id(number: int = 1) -> str:
    return f"{number:032x}"


def snapshot(session: str = session_id(), text: str = "pay") -> SessionSnapshot:
    return SessionSnapshot(session, "acme", TERMS, DialogueState((Message(Role.USER, text),), 1))


def sealed(
    number: int = 1, *, epoch: int = 1, seq: int = 1, owner: str = "edge-a"
) -> SealedSnapshot:
    return KEY.seal(snapshot(session_id(number)), Version(epoch, owner, seq))
