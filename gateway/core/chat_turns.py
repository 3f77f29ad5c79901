"""How a request without a connection of its own takes part in a session.

Each brings what is new. One that comes again under its own name is the same turn, not another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.session_snapshot import CANCELLED

if TYPE_CHECKING:
    from gateway.core.session_snapshot import SessionSnapshot
    from gateway.core.turn import Message


class ChatTurn(NamedTuple):
    """A request's place in its session."""

    history: tuple[Message, ...] = ()
    """What was said before the request."""
    number: int = 1
    """Which turn of the session it is."""
    seed: int | None = None
    """With which it was drawn before; None: it was not."""
    is_told_again: bool = False
    """It was answered to its end, and the answer is in the session."""


def chat_turn(known: SessionSnapshot, request_id: str, new: tuple[Message, ...]) -> ChatTurn:
    """The place of a request that brings `new`."""
    state = known.dialogue
    began = state.answer_at - len(new)
    is_settled = bool(known.finish) and began >= 0 and state.settled[began : state.answer_at] == new
    was_broken_off = not known.finish and state.opening in ((), new)
    if known.turn_id != request_id or not (is_settled or was_broken_off):
        return ChatTurn(state.settled, known.num_turns + 1)
    history = state.settled[:began] if is_settled else state.settled
    is_told_again = is_settled and known.finish != CANCELLED
    return ChatTurn(history, known.num_turns, known.seed, is_told_again)
