"""What the site says in a session: every event by its type.

A client's schema that one field does not fit drops the event silently, so the names and values
here are held against the types of `openai` and the schemas of `@openai/agents-realtime` by tests.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from gateway.wire.realtime.items import Item, fresh_id


class ServerEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Any of them; ids are fresh."""

    event_id: str = msgspec.field(default_factory=lambda: fresh_id("event"))


class ErrorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. `event_id` is the client's event that could not be served."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None
    event_id: str | None = None


class ErrorEvent(ServerEvent, frozen=True, tag="error"):
    """An event of the client could not be served, or something failed beside a response."""

    error: ErrorFacts


class SessionCreated(ServerEvent, frozen=True, tag="session.created"):
    """The first event of every session."""

    session: dict[str, Any]


class SessionUpdated(ServerEvent, frozen=True, tag="session.updated"):
    """What the session is set to now."""

    session: dict[str, Any]


class ConversationFacts(msgspec.Struct, frozen=True):
    """The one conversation of a session."""

    id: str
    object: Literal["realtime.conversation"] = "realtime.conversation"


class ConversationCreated(ServerEvent, frozen=True, tag="conversation.created"):
    """Follows `session.created`."""

    conversation: ConversationFacts


class ItemAdded(ServerEvent, frozen=True, tag="conversation.item.added"):
    """An item is in the conversation; it may still grow. `previous_item_id` null: it is first."""

    item: Item
    previous_item_id: str | None


class ItemDone(ServerEvent, frozen=True, tag="conversation.item.done"):
    """An item is whole."""

    item: Item
    previous_item_id: str | None


class ItemDeleted(ServerEvent, frozen=True, tag="conversation.item.deleted"):
    """An item was taken out."""

    item_id: str


class ItemRetrieved(ServerEvent, frozen=True, tag="conversation.item.retrieved"):
    """How an item stands."""

    item: Item


class ItemTruncated(ServerEvent, frozen=True, tag="conversation.item.truncated"):
    """What the caller did not hear is no part of the conversation any more."""

    item_id: str
    content_index: int
    audio_end_ms: int


class DurationUsage(msgspec.Struct, frozen=True):
    """How much sound a recogniser was given."""

    seconds: float
    type: Literal["duration"] = "duration"


class TranscriptionDelta(
    ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.delta"
):
    """More of what was heard."""

    item_id: str
    delta: str
    content_index: int = 0


class TranscriptionCompleted(
    ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.completed"
):
    """All that was heard in a turn."""

    item_id: str
    transcript: str
    usage: DurationUsage
    content_index: int = 0


class TranscriptionFault(msgspec.Struct, frozen=True):
    """Why nothing was recognised."""

    type: str
    code: str
    message: str


class TranscriptionFailed(
    ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.failed"
):
    """What was said could not be recognised."""

    item_id: str
    error: TranscriptionFault
    content_index: int = 0


class SpeechStarted(ServerEvent, frozen=True, tag="input_audio_buffer.speech_started"):
    """The caller began to speak, on the clock of the caller's sound."""

    item_id: str
    audio_start_ms: int


class SpeechStopped(ServerEvent, frozen=True, tag="input_audio_buffer.speech_stopped"):
    """The caller's turn ended."""

    item_id: str
    audio_end_ms: int


class AudioCommitted(ServerEvent, frozen=True, tag="input_audio_buffer.committed"):
    """What was heard becomes an item."""

    item_id: str
    previous_item_id: str | None


class AudioCleared(ServerEvent, frozen=True, tag="input_audio_buffer.cleared"):
    """What was heard is forgotten."""


class TimeoutTriggered(ServerEvent, frozen=True, tag="input_audio_buffer.timeout_triggered"):
    """Nobody has said anything for `idle_timeout_ms`."""

    item_id: str
    audio_start_ms: int
    audio_end_ms: int


class DtmfReceived(
    msgspec.Struct, frozen=True, tag_field="type", tag="input_audio_buffer.dtmf_event_received"
):
    """The caller pressed a key. This event has no id of its own."""

    event: str
    received_at: int
    """Unix seconds."""


class RateLimit(msgspec.Struct, frozen=True):
    """One limit of the caller's key."""

    name: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset_seconds: float


class RateLimitsUpdated(ServerEvent, frozen=True, tag="rate_limits.updated"):
    """What the caller's key has left; a key without limits has none."""

    rate_limits: tuple[RateLimit, ...] = ()


AnyServerEvent: TypeAlias = ServerEvent | DtmfReceived
_encoder = msgspec.json.Encoder()


def encode_event(event: AnyServerEvent) -> str:
    """The event's JSON."""
    return _encoder.encode(event).decode()
