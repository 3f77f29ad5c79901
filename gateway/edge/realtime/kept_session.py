"""What is written down of a Realtime session, and what is owed to whoever goes on with it.

What is being answered is only written down as what it was begun with: it is answered again, under
the same number, so that no tool runs twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.edge.realtime.caller import Caller
from gateway.edge.realtime.responses import ResponseTerms
from gateway.edge.realtime.turn_taking import answers_by_itself
from gateway.wire.realtime.items import Item, Message
from gateway.wire.realtime.session_config import SessionConfig

if TYPE_CHECKING:
    from gateway.edge.realtime.conversation import Conversation
    from gateway.edge.realtime.responses import ResponseRun
    from gateway.edge.realtime.session_terms import SessionTerms


class OpenResponse(msgspec.Struct, frozen=True, array_like=True):
    """A response that has begun, and by what it is made the same again."""

    number: int
    """Among the session's; tools that it ran are kept under it."""
    seed: int
    config: SessionConfig
    metadata: dict[str, str] | None = None
    sentence: str = ""
    is_aside: bool = False


class KeptSession(msgspec.Struct, frozen=True, array_like=True):
    """All that must be known where it goes on."""

    caller: Caller
    """Without its key, which is not handed on."""
    config: SessionConfig
    conversation: str
    items: tuple[Item, ...]
    """Without those of the open response."""
    asides: tuple[str, ...]
    num_responses: int
    open: OpenResponse | None
    unheard: tuple[str, ...]
    """Messages that the caller has not heard to their end."""


def kept_session(
    caller: Caller,
    config: SessionConfig,
    conversation: Conversation,
    run: ResponseRun | None,
    *,
    num_responses: int,
    unheard: tuple[str, ...],
) -> KeptSession:
    """How a session stands while `run` is answered."""
    made = {item.id for item in run.items.items} if run is not None else set()
    return KeptSession(
        msgspec.structs.replace(caller, authorization=None, traceparent=""),
        config,
        conversation.id,
        tuple(item for item in conversation.items if item.id not in made),
        conversation.asides,
        num_responses,
        None if run is None else _open(run.terms),
        tuple(item_id for item_id in unheard if item_id not in made),
    )


def owed_response(
    found: KeptSession, conversation: Conversation, terms: SessionTerms
) -> ResponseTerms | None:
    """What the client was to hear next; None: nothing.

    What a caller had not heard to its end is taken out of the conversation and said again, so that
    nobody agrees to half a question. What was said aloud and is unanswered is answered.
    """
    unheard = [item for item in conversation.items if item.id in found.unheard]
    for item in unheard:
        conversation.delete(item.id or "")
    if found.open is not None:
        return _again(found.open, conversation, terms)
    again = [item for item in unheard if item.id not in found.asides] or unheard
    if words := " ".join(item.text for item in again if isinstance(item, Message)):
        is_aside = all(item.id in found.asides for item in again)
        return ResponseTerms(config=terms.config, messages=(), sentence=words, is_aside=is_aside)
    if conversation.is_spoken_last and answers_by_itself(terms.config):
        messages = terms.messages(terms.config, conversation.messages())
        return ResponseTerms(config=terms.config, messages=messages)
    return None


def _again(begun: OpenResponse, conversation: Conversation, terms: SessionTerms) -> ResponseTerms:
    said = () if begun.sentence else terms.messages(begun.config, conversation.messages())
    return ResponseTerms(
        config=begun.config,
        messages=said,
        metadata=begun.metadata,
        sentence=begun.sentence,
        is_aside=begun.is_aside,
        number=begun.number,
        seed=begun.seed,
    )


def _open(terms: ResponseTerms) -> OpenResponse:
    return OpenResponse(
        terms.number,
        terms.seed or 0,
        terms.config,
        terms.metadata,
        terms.sentence,
        terms.is_aside,
    )
