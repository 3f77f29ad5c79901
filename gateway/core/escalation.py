"""When a turn leaves the site for the core tier, and what it may take there.

The assistant's own `ask_core_model` is a decision of the model; the others are made here, before
anything is generated: a cascade that decides late pays twice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import Budget
from gateway.core.turn import Message, Role, model_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.turn import ModelInfo, Turn


class EscalationReason(StrEnum):
    """Why a turn goes to the core tier."""

    MODEL_REQUESTED = "model_requested"
    PROMPT_SIZE = "prompt_size"
    """The conversation is longer than the site is to answer itself."""
    UNSUPPORTED = "unsupported"
    """The site's model cannot follow the turn's tools or instructions, or hold its prompt."""
    ASSISTANT = "assistant"
    """The site's model handed the turn over: it called `ask_core_model`."""


class EscalationPolicy(msgspec.Struct, frozen=True):
    """What an operator sends to the core tier besides what is asked of it by name."""

    above_chars: int = 0
    """Conversations with more characters than that; 0: none for their size."""
    unsupported: bool = False
    """What the site's model would have to refuse."""


def escalation_of(
    turn: Turn, policy: EscalationPolicy, *, site: Sequence[ModelInfo], core: ModelInfo
) -> EscalationReason | None:
    """Why this turn goes to the core tier before anything is tried at the site; None: it stays.

    A turn that uses the server's tools stays: they, and the account behind them, are here.
    """
    if model_named(turn.model, (*site, core)) is core:
        return EscalationReason.MODEL_REQUESTED
    num_chars = sum(len(message.content) for message in turn.messages)
    if 0 < policy.above_chars < num_chars and not turn.server_tools:
        return EscalationReason.PROMPT_SIZE
    return None


def core_budget(own: Budget, core_first_token_s: float, now_s: float) -> Budget:
    """What a turn may spend at the core tier, from now to its first content.

    A budget that the caller asked for holds there too. The default of a class is made for the
    site's model; the core's own takes its place, as far as the call's deadline leaves it.
    """
    if own.was_asked_for:
        return own
    first_token_s = core_first_token_s
    if own.call_deadline_s is not None:
        first_token_s = min(first_token_s, max(0.0, own.call_deadline_s - now_s))
    return Budget(now_s, first_token_s, own.call_deadline_s)


def messages_for_core(turn: Turn) -> tuple[Message, ...]:
    """What of a conversation leaves the site.

    With the client's tools, everything: calls and results are the client's own. With the
    server's, only what was said: what they returned is the subscriber's data and stays.
    """
    if not turn.server_tools:
        return turn.messages
    return tuple(
        Message(message.role, message.content)
        for message in turn.messages
        if message.role is not Role.TOOL and message.content
    )
