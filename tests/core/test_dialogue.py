from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.dialogue import Dialogue, Phase
from gateway.core.errors import InvalidRequest
from gateway.core.turn import Message, Role, ServerToolRun, TextDelta, ToolCall

GIVEN_UP = '{"error":"cancelled_by_caller"}'
PAY = ToolCall("c1", "pay", '{"amount":1}')
BILL = ToolCall("c2", "bill", "{}")


def waiting_for(*calls: ToolCall) -> Dialogue:
    dialogue = Dialogue()
    dialogue.ask("pay")
    dialogue.finish(calls)
    return dialogue


def test_an_answer_is_kept_as_one_message() -> None:
    dialogue = Dialogue((Message(Role.SYSTEM, "s"),))
    dialogue.ask("hi")
    dialogue.note(TextDelta("Hel"))
    dialogue.note(TextDelta("lo"))
    dialogue.finish(())
    assert [message.content for message in dialogue.messages] == ["s", "hi", "Hello"]
    assert dialogue.phase is Phase.IDLE


def test_an_acknowledgement_is_no_part_of_the_answer() -> None:
    dialogue = Dialogue()
    dialogue.ask("hi")
    dialogue.note(TextDelta("One moment.", is_acknowledgement=True))
    dialogue.note(TextDelta("Hello"))
    dialogue.finish(())
    assert [message.content for message in dialogue.messages] == ["hi", "Hello"]


def test_calls_wait_for_their_results() -> None:
    dialogue = waiting_for(PAY, BILL)
    assert dialogue.phase is Phase.AWAITING_RESULTS
    assert dialogue.messages[-1].tool_calls == (PAY, BILL)
    dialogue.take_result("c1", "1")
    with pytest.raises(InvalidRequest, match="results of c2;"):
        dialogue.ask("hello?")


def test_a_call_takes_its_result_once() -> None:
    dialogue = waiting_for(PAY)
    with pytest.raises(InvalidRequest, match="'c9'"):
        dialogue.take_result("c9", "1")
    dialogue.take_result("c1", "1")
    assert dialogue.phase is Phase.ANSWERING
    with pytest.raises(InvalidRequest):
        dialogue.take_result("c1", "1")


def test_a_failed_continuation_forgets_only_the_result_that_opened_it() -> None:
    dialogue = waiting_for(PAY, BILL)
    dialogue.take_result("c2", '"accepted"')
    dialogue.take_result("c1", '"first"')
    dialogue.undo()
    with pytest.raises(InvalidRequest, match="results of c1;"):
        dialogue.ask("hello?")
    dialogue.take_result("c1", '"second"')
    assert dialogue.phase is Phase.ANSWERING
    assert [message.content for message in dialogue.messages[-2:]] == ['"second"', '"accepted"']


def test_nobody_speaks_while_a_leg_is_open() -> None:
    dialogue = Dialogue()
    dialogue.ask("hi")
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="is running"):
            dialogue.ask("and")
        dialogue.cancel()
    dialogue.cut()
    dialogue.ask("and")


def test_a_cancelled_leg_that_fails_waits_for_nothing() -> None:
    dialogue = waiting_for(PAY)
    dialogue.take_result("c1", "1")
    dialogue.note(TextDelta("Pai"))
    dialogue.cancel()
    dialogue.undo()
    assert dialogue.phase is Phase.IDLE
    assert [message.content for message in dialogue.messages[-2:]] == ["1", "Pai"]


def test_without_an_open_leg_nothing_is_answered() -> None:
    dialogue = Dialogue()
    dialogue.cancel()
    for close in (dialogue.cut, dialogue.undo, lambda: dialogue.finish(())):
        with pytest.raises(RuntimeError, match="no leg"):
            close()
    with pytest.raises(RuntimeError, match="no leg"):
        dialogue.note(TextDelta("?"))


class DialogueMachine(RuleBasedStateMachine):
    """Whatever happens, the conversation is the one that took place, and one that a model can be
    shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dialogue = Dialogue()
        self.phase = Phase.IDLE
        self.kept: list[Message] = []
        """What stands, whatever becomes of the open leg."""
        self.undone: list[Message] = []
        """What stands if the open leg fails."""
        self.leg: list[Message] = []
        self.said = ""
        self.results: dict[str, str | None] = {}
        self.last_result = ""
        self.num_calls = 0

    def _call(self, arguments: str) -> ToolCall:
        self.num_calls += 1
        return ToolCall(f"c{self.num_calls}", "t", arguments)

    def _open(self, messages: list[Message]) -> None:
        self.leg, self.undone, self.said = messages, [], ""
        self.phase = Phase.ANSWERING

    def _end_message(self, *calls: ToolCall) -> None:
        if self.said or calls:
            self.leg.append(Message(Role.ASSISTANT, self.said, calls))
        self.said = ""

    def _close(self, messages: list[Message], results: dict[str, str | None]) -> None:
        self.kept += messages
        self.leg, self.undone, self.said, self.results = [], [], "", results
        self.phase = Phase.AWAITING_RESULTS if results else Phase.IDLE

    def _result_messages(self) -> list[Message]:
        return [
            Message(Role.TOOL, GIVEN_UP if result is None else result, tool_call_id=call_id)
            for call_id, result in self.results.items()
        ]

    def _ask_out_of_turn(self) -> None:
        missing = [call_id for call_id, result in self.results.items() if result is None]
        why = "is running" if self.is_open else f"results of {', '.join(missing)};"
        with pytest.raises(InvalidRequest, match=why):
            self.dialogue.ask("!")

    @property
    def is_open(self) -> bool:
        return self.phase in (Phase.ANSWERING, Phase.CANCELLED)

    @precondition(lambda self: self.phase is Phase.IDLE)
    @rule(text=st.text(min_size=1, max_size=3))
    def ask(self, text: str) -> None:
        self.dialogue.ask(text)
        self.last_result = ""
        self._open([Message(Role.USER, text)])

    @precondition(lambda self: self.phase is not Phase.IDLE)
    @rule()
    def ask_out_of_turn(self) -> None:
        self._ask_out_of_turn()

    @precondition(lambda self: self.phase is Phase.AWAITING_RESULTS)
    @rule(data=st.data(), content=st.sampled_from(["1", '"x"', "{}"]))
    def take_result(self, data: st.DataObject, content: str) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.results)))
        self.dialogue.take_result(call_id, content)
        self.results[call_id] = content
        if None not in self.results.values():
            self.last_result = call_id
            self._open(self._result_messages())

    @precondition(lambda self: self.is_open)
    @rule(text=st.text(max_size=3))
    def say(self, text: str) -> None:
        self.dialogue.note(TextDelta(text))
        self.said += text

    @precondition(lambda self: self.is_open)
    @rule(amount=st.integers())
    def run_on_server(self, amount: int) -> None:
        run = ServerToolRun(self._call(f'{{"amount":{amount}}}'), f'{{"paid":{amount}}}')
        self.dialogue.note(run)
        self._end_message(run.call)
        self.leg.append(Message(Role.TOOL, run.result, tool_call_id=run.call.call_id))
        self.undone = list(self.leg)

    @precondition(lambda self: self.phase is Phase.ANSWERING)
    @rule(amounts=st.lists(st.integers(), max_size=3))
    def finish(self, amounts: list[int]) -> None:
        calls = tuple(self._call(f'{{"amount":{amount}}}') for amount in amounts)
        self.dialogue.finish(calls)
        self._end_message(*calls)
        self._close(self.leg, {call.call_id: None for call in calls})

    @rule()
    def cancel(self) -> None:
        self.dialogue.cancel()
        if self.is_open:
            self.phase = Phase.CANCELLED
        else:
            self._close(self._result_messages(), {})

    @precondition(lambda self: self.phase is Phase.CANCELLED)
    @rule(failed=st.booleans())
    def cut(self, failed: bool) -> None:
        if failed:
            self.dialogue.undo()
        else:
            self.dialogue.cut()
        self._end_message()
        self._close(self.leg, {})

    @precondition(lambda self: self.phase is Phase.ANSWERING)
    @rule()
    def undo(self) -> None:
        self.dialogue.undo()
        if self.undone:
            self._close(self.undone, {})
        elif self.last_result:
            self._close([], self.results | {self.last_result: None})
            self._ask_out_of_turn()
        else:
            self._close([], {})

    @invariant()
    def it_is_what_took_place(self) -> None:
        assert self.dialogue.phase is self.phase
        assert self.dialogue.messages[: len(self.kept)] == tuple(self.kept)
        assert self.dialogue.messages[len(self.kept) :] == tuple(self.leg)

    @invariant()
    def every_call_has_its_result(self) -> None:
        called: set[str] = set()
        answered: set[str] = set()
        for message in self.dialogue.messages:
            called.update(call.call_id for call in message.tool_calls)
            if message.role is Role.TOOL:
                assert message.tool_call_id in called - answered
                answered.add(message.tool_call_id)
        waiting = self.phase is Phase.AWAITING_RESULTS
        assert called - answered == (self.results.keys() if waiting else set())


TestDialogueMachine = DialogueMachine.TestCase
TestDialogueMachine.settings = settings(max_examples=50, stateful_step_count=30)


def restored(dialogue: Dialogue) -> Dialogue:
    return Dialogue.restored(dialogue.state)


def test_an_open_leg_is_restored_as_it_was_opened() -> None:
    dialogue = Dialogue()
    dialogue.ask("hi")
    dialogue.note(TextDelta("Hel"))
    dialogue.note(ServerToolRun(BILL, "{}"))
    again = restored(dialogue)
    assert again.phase is Phase.ANSWERING
    assert again.messages == (Message(Role.USER, "hi"),)
    again.undo()
    assert len(again.messages) == 0


def test_results_and_the_leg_they_opened_are_restored() -> None:
    dialogue = waiting_for(PAY, BILL)
    dialogue.take_result("c2", "2")
    again = restored(dialogue)
    assert again.awaited_calls == (PAY,)
    again.take_result("c1", "1")
    answering = restored(again)
    assert answering.messages == again.messages
    answering.undo()
    assert answering.awaited_calls == (PAY,)


def test_the_last_answer_can_be_told_again() -> None:
    dialogue = Dialogue((Message(Role.ASSISTANT, "Welcome."),))
    assert list(dialogue.last_events) == []
    dialogue.ask("bill and pay")
    events: list[TextDelta | ServerToolRun] = [
        TextDelta("Well. "),
        ServerToolRun(BILL, "{}"),
        TextDelta("64."),
        TextDelta(" Hm?"),
    ]
    for event in events:
        dialogue.note(event)
    dialogue.finish((PAY,))
    again = restored(dialogue)
    assert list(again.last_events) == [*events[:2], TextDelta("64. Hm?")]
    assert again.awaited_calls == (PAY,)
