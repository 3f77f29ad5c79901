from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.dialogue import Dialogue
from gateway.core.errors import InvalidRequest
from gateway.core.turn import Message, Role, ServerToolRun, TextDelta, ToolCall, ToolCallDelta


def test_an_answer_is_kept_as_one_message() -> None:
    dialogue = Dialogue((Message(Role.SYSTEM, "s"),))
    dialogue.ask("hi")
    dialogue.note(TextDelta("Hel"))
    dialogue.note(TextDelta("lo"))
    assert dialogue.finish() == ()
    assert [message.content for message in dialogue.messages] == ["s", "hi", "Hello"]


def test_a_call_is_put_together_from_its_deltas() -> None:
    dialogue = Dialogue()
    dialogue.ask("pay")
    dialogue.note(ToolCallDelta(1, "{}", "c2", "bill"))
    dialogue.note(ToolCallDelta(0, '{"a":', "c1", "pay"))
    dialogue.note(ToolCallDelta(0, "1}"))
    assert dialogue.finish() == (ToolCall("c1", "pay", '{"a":1}'), ToolCall("c2", "bill", "{}"))
    assert dialogue.awaits_results
    with pytest.raises(InvalidRequest, match="c1, c2"):
        dialogue.ask("hello?")


def test_a_call_takes_its_result_once() -> None:
    dialogue = Dialogue()
    dialogue.ask("pay")
    dialogue.note(ToolCallDelta(0, "{}", "c1", "pay"))
    dialogue.finish()
    with pytest.raises(InvalidRequest, match="'c9'"):
        dialogue.take_result("c9", "1")
    assert dialogue.take_result("c1", "1")
    with pytest.raises(InvalidRequest):
        dialogue.take_result("c1", "1")


class DialogueMachine(RuleBasedStateMachine):
    """Whatever happens, the settled conversation is one a model can be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.dialogue = Dialogue()
        self.in_leg = False
        self.has_run = False
        self.before: tuple[Message, ...] = ()
        self.num_calls = 0
        self.open_calls: set[str] = set()
        self.ran: set[str] = set()

    def _open(self, before: tuple[Message, ...]) -> None:
        self.in_leg, self.has_run, self.before = True, False, before

    def _id(self) -> str:
        self.num_calls += 1
        return f"c{self.num_calls}"

    @precondition(lambda self: not self.in_leg and not self.open_calls)
    @rule(text=st.text(min_size=1, max_size=3))
    def ask(self, text: str) -> None:
        before = self.dialogue.messages
        self.dialogue.ask(text)
        self._open(before)

    @precondition(lambda self: not self.in_leg and self.open_calls)
    @rule(data=st.data())
    def take_result(self, data: st.DataObject) -> None:
        before = self.dialogue.messages
        call_id = data.draw(st.sampled_from(sorted(self.open_calls)))
        if self.dialogue.take_result(call_id, "1"):
            self._open(before)

    @precondition(lambda self: self.in_leg)
    @rule(text=st.text(max_size=3))
    def say(self, text: str) -> None:
        self.dialogue.note(TextDelta(text))

    @precondition(lambda self: self.in_leg)
    @rule()
    def run_on_server(self) -> None:
        call_id = self._id()
        self.dialogue.note(ServerToolRun(ToolCall(call_id, "t", "{}"), "{}"))
        self.ran.add(call_id)
        self.has_run = True

    @precondition(lambda self: self.in_leg)
    @rule(num_calls=st.integers(0, 2))
    def finish(self, num_calls: int) -> None:
        for index in range(num_calls):
            self.dialogue.note(ToolCallDelta(index, "{}", self._id(), "t"))
        self.open_calls = {call.call_id for call in self.dialogue.finish()}
        assert len(self.open_calls) == num_calls
        self.in_leg = False

    @precondition(lambda self: self.in_leg or self.open_calls)
    @rule()
    def cut(self) -> None:
        self.dialogue.cut()
        self.in_leg, self.open_calls = False, set()

    @precondition(lambda self: self.in_leg)
    @rule()
    def undo(self) -> None:
        self.dialogue.undo()
        self.in_leg = False
        if self.has_run:
            self.open_calls = set()
        else:
            assert self.dialogue.messages == self.before

    @invariant()
    def every_call_has_its_result(self) -> None:
        if self.in_leg:
            return
        called: set[str] = set()
        answered: set[str] = set()
        for message in self.dialogue.messages:
            called.update(call.call_id for call in message.tool_calls)
            if message.role is Role.TOOL:
                assert message.tool_call_id in called - answered
                answered.add(message.tool_call_id)
        assert called - answered == self.open_calls
        assert answered >= self.ran
        assert self.dialogue.awaits_results is bool(self.open_calls)


TestDialogueMachine = DialogueMachine.TestCase
TestDialogueMachine.settings = settings(max_examples=50, stateful_step_count=30)
