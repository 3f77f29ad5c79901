"""What the site says of a response, from its beginning to its end.

Of the items of a conversation see `items`, of the other events `server_events`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.wire.realtime.items import FunctionCall, Item, Message, ServerCall
from gateway.wire.realtime.server_events import ServerEvent
from gateway.wire.realtime.session_config import AudioFormat, MaxTokens, Modalities


class OutputStarted(ServerEvent, frozen=True, tag="output_audio_buffer.started"):
    """The caller begins to hear a response."""

    response_id: str


class OutputStopped(ServerEvent, frozen=True, tag="output_audio_buffer.stopped"):
    """The caller has heard all of it."""

    response_id: str


class OutputCleared(ServerEvent, frozen=True, tag="output_audio_buffer.cleared"):
    """The rest will not be heard."""

    response_id: str


class TextTokens(msgspec.Struct, frozen=True):
    """Tokens by kind; the model reads and writes text only."""

    text_tokens: int
    audio_tokens: int = 0


class InputTokens(msgspec.Struct, frozen=True):
    """Tokens of the prompt."""

    text_tokens: int
    cached_tokens: int
    audio_tokens: int = 0


class ResponseUsage(msgspec.Struct, frozen=True):
    """Tokens of a response."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: InputTokens
    output_token_details: TextTokens


class StatusError(msgspec.Struct, frozen=True):
    """Why a response failed."""

    type: str
    code: str
    message: str


class StatusDetails(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a response is not complete."""

    type: Literal["cancelled", "incomplete", "failed"]
    reason: str | None = None
    error: StatusError | None = None


class AudioOutputFacts(msgspec.Struct, frozen=True):
    """How a response sounds."""

    format: AudioFormat
    voice: str | None


class ResponseAudio(msgspec.Struct, frozen=True):
    """See `AudioOutputFacts`."""

    output: AudioOutputFacts


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A response, as far as it is."""

    id: str
    status: Literal["in_progress", "completed", "cancelled", "failed", "incomplete"]
    output_modalities: Modalities
    object: Literal["realtime.response"] = "realtime.response"
    status_details: StatusDetails | None = None
    output: tuple[Item, ...] = ()
    conversation_id: str | None = None
    max_output_tokens: MaxTokens = "inf"
    metadata: dict[str, str] | None = None
    audio: ResponseAudio | UnsetType = UNSET
    usage: ResponseUsage | None = None
    firsthop: Any = UNSET
    """Where it was answered, by what, and what its time went into; when it is done."""


class ResponseCreated(ServerEvent, frozen=True, tag="response.created"):
    """A response begins."""

    response: Response


class ResponseDone(ServerEvent, frozen=True, tag="response.done"):
    """A response is over, however it ended."""

    response: Response


class _OfResponse(ServerEvent, frozen=True, kw_only=True):
    response_id: str
    output_index: int


class OutputItemAdded(_OfResponse, frozen=True, tag="response.output_item.added"):
    """An item of the answer begins."""

    item: Message | FunctionCall | ServerCall


class OutputItemDone(_OfResponse, frozen=True, tag="response.output_item.done"):
    """It is whole."""

    item: Message | FunctionCall | ServerCall


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """A part of a message, in writing."""

    text: str


class AudioPart(msgspec.Struct, frozen=True, tag_field="type", tag="audio"):
    """A part of a message, spoken."""

    transcript: str


class _OfItem(_OfResponse, frozen=True, kw_only=True):
    item_id: str


class _OfPart(_OfItem, frozen=True, kw_only=True):
    content_index: int = 0


class PartAdded(_OfPart, frozen=True, tag="response.content_part.added"):
    """A part of a message begins."""

    part: TextPart | AudioPart


class PartDone(_OfPart, frozen=True, tag="response.content_part.done"):
    """It is whole."""

    part: TextPart | AudioPart


class OutputTextDelta(_OfPart, frozen=True, tag="response.output_text.delta"):
    """More text."""

    delta: str


class OutputTextDone(_OfPart, frozen=True, tag="response.output_text.done"):
    """All of it."""

    text: str


class TranscriptDelta(_OfPart, frozen=True, tag="response.output_audio_transcript.delta"):
    """More of what is being said."""

    delta: str


class TranscriptDone(_OfPart, frozen=True, tag="response.output_audio_transcript.done"):
    """All of it."""

    transcript: str


class OutputAudioDelta(_OfPart, frozen=True, tag="response.output_audio.delta"):
    """More sound, in base64 of the output format; on WebSocket only."""

    delta: bytes


class OutputAudioDone(_OfPart, frozen=True, tag="response.output_audio.done"):
    """All of it was made."""


class ArgumentsDelta(_OfItem, frozen=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    call_id: str
    delta: str


class ArgumentsDone(_OfItem, frozen=True, tag="response.function_call_arguments.done"):
    """All of them."""

    call_id: str
    name: str
    arguments: str


class ServerCallArguments(_OfItem, frozen=True, tag="response.mcp_call_arguments.done"):
    """What the server calls its own tool with."""

    arguments: str


class ServerCallCompleted(ServerEvent, frozen=True, tag="response.mcp_call.completed"):
    """The server has run it."""

    item_id: str
    output_index: int
