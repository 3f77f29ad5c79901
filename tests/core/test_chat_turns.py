from __future__ import annotations

import msgspec
import pytest

from gateway.core.chat_turns import ChatTurn, chat_turn
from gateway.core.dialogue import Dialogue, DialogueState
from gateway.core.session_snapshot import CANCELLED, SessionSnapshot
from gateway.core.turn import Message, Role, ServerToolRun, TextDelta, ToolCall
from tests.core.snapshots import snapshot

BEFORE = (Message(Role.USER, "hello"), Message(Role.ASSISTANT, "yes?"))
NEW = (Message(Role.USER, "pay"),)
OTHER = (Message(Role.USER, "no"),)
PAID = ServerToolRun(ToolCall("c", "pay", "{}"), '"paid"')


def known(ending: str) -> SessionSnapshot:
    """The second turn, "t2", which asked NEW, and stands like that."""
    dialogue = Dialogue.restored(DialogueState(BEFORE, len(BEFORE), opening=NEW))
    finish = ending
    match ending:
        case "stop":
            dialogue.note(TextDelta("paid"))
            dialogue.finish(())
        case "cancelled":
            dialogue.note(TextDelta("pa"))
            dialogue.cut()
            finish = CANCELLED
        case "failed":
            dialogue.undo()
            finish = ""
        case "open":
            finish = ""
    return msgspec.structs.replace(
        snapshot(), dialogue=dialogue.state, num_turns=2, turn_id="t2", finish=finish, seed=7
    )


@pytest.mark.parametrize(
    ("ending", "is_told_again"),
    [("open", False), ("failed", False), ("cancelled", False), ("stop", True)],
)
def test_a_request_that_comes_again_is_the_same_turn(ending: str, is_told_again: bool) -> None:
    assert chat_turn(known(ending), "t2", NEW) == ChatTurn(BEFORE, 2, 7, is_told_again)


@pytest.mark.parametrize("ending", ["open", "failed", "cancelled", "stop"])
def test_any_other_request_is_the_next_turn(ending: str) -> None:
    found = known(ending)
    said = {"cancelled": "pa", "stop": "paid"}.get(ending)
    history = BEFORE if said is None else (*BEFORE, *NEW, Message(Role.ASSISTANT, said))
    assert chat_turn(found, "t3", NEW) == ChatTurn(history, 3)
    if ending != "failed":
        assert chat_turn(found, "t2", OTHER) == ChatTurn(history, 3)


def test_what_a_failed_turn_has_done_stays_and_is_done_once() -> None:
    dialogue = Dialogue.restored(DialogueState(BEFORE, len(BEFORE), opening=NEW))
    dialogue.note(PAID)
    dialogue.undo()
    found = msgspec.structs.replace(
        snapshot(), dialogue=dialogue.state, num_turns=2, turn_id="t2", seed=7
    )
    place = chat_turn(found, "t2", NEW)
    assert (place.number, place.is_told_again) == (2, False)
    assert [message.role for message in place.history[2:]] == [
        Role.USER,
        Role.ASSISTANT,
        Role.TOOL,
    ]
