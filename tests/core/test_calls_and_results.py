from __future__ import annotations

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.turn import Message, Role, ToolCall, check_calls_and_results

CALL = ToolCall("c1", "pay", "{}")
USER = Message(Role.USER, "hi")
CALLED = Message(Role.ASSISTANT, "", (CALL,))
RESULT = Message(Role.TOOL, "1", tool_call_id="c1")


def test_results_follow_their_calls() -> None:
    check_calls_and_results([USER, CALLED, RESULT, USER], "messages")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, RESULT], "history[1].tool_call_id"),
        ([RESULT, CALLED], "history[0].tool_call_id"),
        ([CALLED, Message(Role.TOOL, "1")], "history[1].tool_call_id"),
        ([CALLED, Message(Role.USER, "1", tool_call_id="c1")], "history[1].tool_call_id"),
        ([Message(Role.USER, "", (CALL,)), RESULT], "history[0].tool_calls"),
    ],
)
def test_what_is_out_of_place_is_named(messages: list[Message], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_calls_and_results(messages, "history")
    assert refused.value.param == param
    assert refused.value.message.startswith(param)
