"""What clients send: every event by its type, with the limits of its fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.core.errors import InvalidRequest, quoted
from gateway.wire.json_faults import named_fault
from gateway.wire.realtime.items import ClientItem, ItemId
from gateway.wire.realtime.session_config import (
    AudioFormat,
    MaxTokens,
    Modalities,
    ToolChoice,
    Tools,
)

EventId: TypeAlias = Annotated[str, Meta(max_length=512)]
_Index: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 20)]


class _ClientEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    event_id: EventId | None = None


class SessionUpdate(_ClientEvent, frozen=True, tag="session.update"):
    """Change what the session is set to; see `session_config.updated`."""

    session: dict[str, Any]


class AudioAppend(_ClientEvent, frozen=True, tag="input_audio_buffer.append"):
    """More of the caller's sound, in base64."""

    audio: bytes


class AudioCommit(_ClientEvent, frozen=True, tag="input_audio_buffer.commit"):
    """The caller's turn is over."""


class AudioClear(_ClientEvent, frozen=True, tag="input_audio_buffer.clear"):
    """Forget what was heard since the last turn."""


class OutputClear(_ClientEvent, frozen=True, tag="output_audio_buffer.clear"):
    """Stop speaking."""


class ItemCreate(_ClientEvent, frozen=True, tag="conversation.item.create"):
    """Put an item into the conversation."""

    item: ClientItem
    previous_item_id: ItemId | None = None
    """After which; "root": first; None: last."""


class ItemDelete(_ClientEvent, frozen=True, tag="conversation.item.delete"):
    """Take an item out."""

    item_id: ItemId


class ItemRetrieve(_ClientEvent, frozen=True, tag="conversation.item.retrieve"):
    """Tell how an item stands."""

    item_id: ItemId


class ItemTruncate(_ClientEvent, frozen=True, tag="conversation.item.truncate"):
    """The caller has heard only so much of what the assistant said."""

    item_id: ItemId
    content_index: _Index
    audio_end_ms: Annotated[int, Meta(ge=0, le=86_400_000)]


class ItemReference(msgspec.Struct, frozen=True, tag_field="type", tag="item_reference"):
    """An item of the conversation."""

    id: ItemId


class _ResponseAudioOutput(msgspec.Struct, frozen=True):
    format: AudioFormat | None = None
    voice: str | None = None


class _ResponseAudio(msgspec.Struct, frozen=True):
    output: _ResponseAudioOutput | None = None


_Key: TypeAlias = Annotated[str, Meta(max_length=64)]
_Value: TypeAlias = Annotated[str, Meta(max_length=512)]


class ResponseWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What one response has different from its session; None: as there."""

    conversation: Literal["auto", "none"] | None = None
    input: tuple[ClientItem | ItemReference, ...] | None = None
    """Answered in place of the conversation."""
    instructions: str | None = None
    output_modalities: Modalities | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxTokens | None = None
    metadata: Annotated[dict[_Key, _Value], Meta(max_length=16)] | None = None
    audio: _ResponseAudio | None = None
    prompt: None = None


class ResponseCreate(_ClientEvent, frozen=True, tag="response.create"):
    """Answer now."""

    response: ResponseWishes | None = None


class ResponseCancel(_ClientEvent, frozen=True, tag="response.cancel"):
    """Stop answering; without an id, the response in the conversation."""

    response_id: str | None = None


ClientEvent: TypeAlias = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | OutputClear
    | ItemCreate
    | ItemDelete
    | ItemRetrieve
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
)


class EventHead(msgspec.Struct, frozen=True):
    """What is known of an event that may be wrong otherwise."""

    type: str | UnsetType = UNSET
    event_id: str | None = None


_HINTS = {
    "item.type": "message, function_call and function_call_output are taken",
    "item.content.type": "input_text, input_audio, output_text and output_audio are taken",
    "response.prompt": "there are no stored prompts here; send instructions",
    "response.tools.type": "only function tools are served",
    "response.conversation": "auto or none",
}
_TYPES: frozenset[str] = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (
        *(SessionUpdate, AudioAppend, AudioCommit, AudioClear, OutputClear),
        *(ItemCreate, ItemDelete, ItemRetrieve, ItemTruncate, ResponseCreate, ResponseCancel),
    )
)
_head_decoder = msgspec.json.Decoder(EventHead)
_decoder: msgspec.json.Decoder[ClientEvent] = msgspec.json.Decoder(ClientEvent)


def decode_head(text: str) -> EventHead:
    """The id an error must echo. Raises InvalidRequest for what is no event at all."""
    try:
        return _head_decoder.decode(text)
    except msgspec.ValidationError as error:
        raise named_fault(str(error), {}) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidRequest(f"the message is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("the message is nested too deeply") from None


def decode_event(text: str, head: EventHead) -> ClientEvent:
    """The event. Raises InvalidRequest that names the type, or the field and what is wrong."""
    if head.type is UNSET:
        raise InvalidRequest("type: an event has a type", param="type")
    if head.type not in _TYPES:
        raise InvalidRequest(f"type: there is no event {quoted(head.type)} here", param="type")
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise named_fault(str(error), _HINTS) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"the message is not JSON: {error}") from None
