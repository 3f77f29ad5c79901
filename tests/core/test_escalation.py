from __future__ import annotations

from typing import Any

import pytest

from gateway.core.budget import Budget
from gateway.core.escalation import (
    EscalationPolicy,
    EscalationReason,
    core_budget,
    escalation_of,
    messages_for_core,
)
from gateway.core.turn import Message, ModelInfo, Role, ToolCall, ToolSpec, Turn

SITE = ModelInfo("care", "1", "ab" * 32, "int8", 512, "fixed:x", ("gpt-4o*",))
CORE = ModelInfo("gpt-4o", "", "", "", 0, "any")
TEN = Message(Role.USER, "ten chars.")


def turn(*messages: Message, **fields: Any) -> Turn:
    return Turn(request_id="r", messages=messages, budget=Budget(0.0, 2.0), **fields)


@pytest.mark.parametrize(
    ("asked", "policy", "reason"),
    [
        (turn(TEN), EscalationPolicy(), None),
        (turn(TEN, model="gpt-4o"), EscalationPolicy(), EscalationReason.MODEL_REQUESTED),
        (turn(TEN, model="gpt-4o-mini"), EscalationPolicy(), None),
        (turn(TEN, TEN), EscalationPolicy(above_chars=19), EscalationReason.PROMPT_SIZE),
        (turn(TEN, TEN), EscalationPolicy(above_chars=20), None),
        (turn(TEN, TEN, server_tools=True), EscalationPolicy(above_chars=19), None),
    ],
)
def test_what_leaves_before_anything_is_tried(
    asked: Turn, policy: EscalationPolicy, reason: EscalationReason | None
) -> None:
    assert escalation_of(asked, policy, site=(SITE,), core=CORE) is reason


def test_a_budget_that_was_asked_for_holds_at_the_core_too() -> None:
    own = Budget(10.0, 0.3, was_asked_for=True)
    assert core_budget(own, 20.0, 10.2) is own


def test_a_class_budget_gives_way_to_the_cores_but_not_to_a_deadline() -> None:
    assert core_budget(Budget(10.0, 2.0), 20.0, 11.0) == Budget(11.0, 20.0)
    assert core_budget(Budget(10.0, 2.0, 14.0), 20.0, 11.0) == Budget(11.0, 3.0, 14.0)
    assert core_budget(Budget(10.0, 2.0, 14.0), 20.0, 15.0).first_token_s == 0.0


def test_what_the_servers_tools_returned_stays_at_the_site() -> None:
    said = (
        Message(Role.USER, "my bill"),
        Message(Role.ASSISTANT, tool_calls=(ToolCall("c", "get_bill", "{}"),)),
        Message(Role.TOOL, '{"open_dollars":64}', tool_call_id="c"),
        Message(Role.ASSISTANT, "here"),
    )
    kept = messages_for_core(turn(*said, server_tools=True))
    assert kept == (said[0], said[3])
    clients = turn(*said, tools=(ToolSpec("get_bill", "", {}),))
    assert messages_for_core(clients) == said
