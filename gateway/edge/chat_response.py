"""A turn's events in the JSON of the OpenAI API: as chunks of a stream or as one body.

The last chunk, or the body, ends with a `firsthop` object: the final word on where the turn was
answered, by what, and what its time went into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.core.turn import (
    LogprobEntry,
    ServerToolRun,
    TextDelta,
    ToolCallDelta,
    TurnEnd,
    TurnEvent,
    Usage,
    name_and_digest,
)
from gateway.edge.firsthop_word import (
    FirsthopWord,
    ToolRunWord,
    final_word,
    root_span,
    stages_ms,
    tool_run_word,
)
from gateway.edge.sse import DONE, sse_event

if TYPE_CHECKING:
    from gateway.core.stages import TurnTrail
    from gateway.edge.http_errors import HttpHeader


class _TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]


class _TokenLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[_TopLogprob]


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob]
    refusal: None = None


class _Function(msgspec.Struct):
    arguments: str
    name: str | UnsetType = UNSET


class _ToolCall(msgspec.Struct, kw_only=True):
    index: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: _Function


class _Delta(msgspec.Struct):
    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    tool_calls: list[_ToolCall] | UnsetType = UNSET


class _ChunkChoice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    index: int = 0


class _Message(msgspec.Struct):
    role: str
    content: str | None
    tool_calls: list[_ToolCall] | UnsetType = UNSET
    refusal: None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str
    logprobs: _Logprobs | None = None
    index: int = 0


class _PromptDetails(msgspec.Struct):
    cached_tokens: int


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _PromptDetails


class _Envelope(msgspec.Struct, kw_only=True):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[_ChunkChoice] | list[_Choice]
    usage: _Usage | UnsetType | None = UNSET
    firsthop: FirsthopWord | UnsetType = UNSET


_encoder = msgspec.json.Encoder()


def turn_headers(trail: TurnTrail) -> list[HttpHeader]:
    """The response headers that describe a turn up to now.

    `traceresponse` names the turn's own span: https://w3c.github.io/trace-context/.
    """
    headers = [
        (b"x-request-id", trail.request_id.encode()),
        (b"traceresponse", root_span(trail).traceparent.encode()),
    ]
    if trail.site:
        headers.append((b"x-firsthop-site", trail.site.encode()))
    if trail.path:
        headers.append((b"x-firsthop-path", ",".join(trail.path).encode()))
    if trail.model:
        headers.append((b"x-firsthop-model", trail.model.encode()))
    if trail.escalation:
        headers.append((b"x-firsthop-escalation", trail.escalation.encode()))
    stages = stages_ms(trail)
    if stages:
        timing = ", ".join(f"{stage};dur={duration_ms:g}" for stage, duration_ms in stages.items())
        headers.append((b"server-timing", timing.encode()))
    return headers


class ChatStream:
    """Renders the events of one turn as server-sent `chat.completion.chunk`s."""

    def __init__(self, trail: TurnTrail, *, created_s: int, include_usage: bool) -> None:
        self._trail = trail
        self._created_s = created_s
        self._include_usage = include_usage
        self._opened = False

    def render(self, event: TurnEvent) -> bytes:
        """The chunks of one event; empty when it shows nothing to the client."""
        match event:
            case TextDelta(text="", logprobs=()):
                return b""
            case TextDelta():
                delta = _Delta(content=event.text)
                return self._open() + self._chunk(delta, logprobs=_logprobs(event.logprobs))
            case ToolCallDelta():
                return self._open() + self._chunk(_Delta(tool_calls=[_call_delta(event)]))
            case ServerToolRun():
                ran = FirsthopWord(tool_run=tool_run_word(event))
                return self._open() + self._chunk(_Delta(), firsthop=ran)
            case TurnEnd():
                return self._open() + self._close(event)

    def _open(self) -> bytes:
        if self._opened:
            return b""
        self._opened = True
        return self._chunk(_Delta(role="assistant", content=""))

    def _close(self, end: TurnEnd) -> bytes:
        final = final_word(self._trail, end.finish)
        finish = end.finish.value
        if not self._include_usage:
            return self._chunk(_Delta(), finish_reason=finish, firsthop=final) + DONE
        usage = self._envelope([], usage=_usage(end.usage), firsthop=final)
        return self._chunk(_Delta(), finish_reason=finish) + usage + DONE

    def _chunk(
        self,
        delta: _Delta,
        *,
        finish_reason: str | None = None,
        logprobs: _Logprobs | None = None,
        firsthop: FirsthopWord | UnsetType = UNSET,
    ) -> bytes:
        choice = _ChunkChoice(delta, finish_reason, logprobs)
        # With include_usage every chunk but the last says `"usage": null`, as at OpenAI.
        usage = None if self._include_usage else UNSET
        return self._envelope([choice], usage=usage, firsthop=firsthop)

    def _envelope(
        self,
        choices: list[_ChunkChoice],
        *,
        usage: _Usage | UnsetType | None,
        firsthop: FirsthopWord | UnsetType,
    ) -> bytes:
        model, digest = name_and_digest(self._trail.model)
        chunk = _Envelope(
            id=f"chatcmpl-{self._trail.request_id}",
            object="chat.completion.chunk",
            created=self._created_s,
            model=model,
            system_fingerprint=f"fp_{digest}" if digest else None,
            choices=choices,
            usage=usage,
            firsthop=firsthop,
        )
        return sse_event(_encoder.encode(chunk))


class ChatBody:
    """Gathers the events of one turn into a `chat.completion`."""

    def __init__(self, trail: TurnTrail, *, created_s: int) -> None:
        self._trail = trail
        self._created_s = created_s
        self._texts: list[str] = []
        self._logprobs: list[LogprobEntry] = []
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._tool_runs: list[ToolRunWord] = []

    def add(self, event: TextDelta | ToolCallDelta | ServerToolRun) -> None:
        """Take one event, in order."""
        match event:
            case TextDelta(is_acknowledgement=True):
                pass  # whoever waits for the whole body is not kept company
            case TextDelta():
                self._texts.append(event.text)
                self._logprobs.extend(event.logprobs)
            case ToolCallDelta():
                self._calls.setdefault(event.index, []).append(event)
            case ServerToolRun():
                self._tool_runs.append(tool_run_word(event))

    def render(self, end: TurnEnd) -> bytes:
        """The whole body."""
        model, digest = name_and_digest(self._trail.model)
        firsthop = final_word(self._trail, end.finish)
        firsthop.tool_runs = self._tool_runs or UNSET
        return _encoder.encode(
            _Envelope(
                id=f"chatcmpl-{self._trail.request_id}",
                object="chat.completion",
                created=self._created_s,
                model=model,
                system_fingerprint=f"fp_{digest}" if digest else None,
                choices=[
                    _Choice(self._message(), end.finish.value, _logprobs(tuple(self._logprobs)))
                ],
                usage=_usage(end.usage),
                firsthop=firsthop,
            )
        )

    def _message(self) -> _Message:
        text = "".join(self._texts)
        calls = [_whole_call(deltas) for _, deltas in sorted(self._calls.items())]
        # A message of calls alone has null content.
        return _Message("assistant", text if text or not calls else None, calls or UNSET)


def _call_delta(delta: ToolCallDelta) -> _ToolCall:
    if not delta.call_id:
        return _ToolCall(index=delta.index, function=_Function(delta.arguments))
    return _ToolCall(
        index=delta.index,
        id=delta.call_id,
        type="function",
        function=_Function(delta.arguments, delta.name),
    )


def _whole_call(deltas: list[ToolCallDelta]) -> _ToolCall:
    first = deltas[0]
    arguments = "".join(delta.arguments for delta in deltas)
    return _ToolCall(id=first.call_id, type="function", function=_Function(arguments, first.name))


def _usage(usage: Usage) -> _Usage:
    return _Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_tokens + usage.completion_tokens,
        _PromptDetails(usage.cached_tokens),
    )


def _logprobs(entries: tuple[LogprobEntry, ...]) -> _Logprobs | None:
    if not entries:
        return None
    return _Logprobs(
        [
            _TokenLogprob(
                entry.text,
                entry.logprob,
                list(entry.utf8),
                [_TopLogprob(text, logprob, list(utf8)) for text, utf8, logprob in entry.top],
            )
            for entry in entries
        ]
    )
