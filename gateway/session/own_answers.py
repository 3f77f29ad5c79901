"""What the session says to a caller's words by itself, without the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.core.confirmation import Consent, read_consent
from gateway.core.turn import Message, Role
from gateway.session import phrases

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNDO: Final = re.compile(
    r"(?:(?:no|please|sorry|oh|wait|can you|could you|actually|i want to)[\s,.!]+)*"
    r"(?:undo|reverse|revert|take back|refund)(?: (?:that|it|this|the payment|my payment))?"
    r"(?:[\s,.!?]+(?:please|now))?[\s.!?]*"
)


def is_reply(messages: Sequence[Message]) -> bool:
    """Whether the assistant has asked something just before."""
    return len(messages) > 1 and "?" in messages[-2].content


def to_nothing_asked(messages: Sequence[Message]) -> str:
    """What to say to a bare yes that answers no question; empty for anything else."""
    if len(messages) < 2 or messages[-1].role is not Role.USER:
        return ""
    if messages[-2].role is not Role.ASSISTANT or is_reply(messages):
        return ""
    is_bare = read_consent(messages[-1].content) is Consent.YES
    return phrases.NOTHING_ASKED if is_bare else ""


def to_undoing_a_payment(messages: Sequence[Message]) -> str:
    """What to say when the caller wants the payment just made back; empty for anything else."""
    wish = messages[-1]
    if wish.role is not Role.USER or _UNDO.fullmatch(wish.content.lower()) is None:
        return ""
    calls = next((m.tool_calls for m in reversed(messages) if m.tool_calls), ())
    return phrases.PAYMENT_STANDS if calls and calls[-1].name == "pay_bill" else ""
