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
from gateway.edge.sse import DONE, sse_event
from gateway.edge.turn_view import ms, optional_ms
from gateway.telemetry.trace_context import TurnTrace

if TYPE_CHECKING:
    from gateway.core.stages import TurnTrail
    from gateway.edge.http_errors import HttpHeader
    from gateway.telemetry.trace_context import TraceContext


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


class _ToolRun(msgspec.Struct):
    id: str
    name: str
    arguments: str
    result: str


class _Firsthop(msgspec.Struct, kw_only=True):
    """The extension object; everything but `tool_run(s)` only on the last chunk or the body."""

    request_id: str | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET
    site: str | UnsetType = UNSET
    path: list[str] | UnsetType = UNSET
    requested_model: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    escalation: str | UnsetType = UNSET
    """Why the core tier answered, or was to; left out when the turn stayed."""
    escalation_error: str | UnsetType = UNSET
    turn_class: str | UnsetType = msgspec.field(default=UNSET, name="class")
    finish: str | UnsetType = UNSET
    stages: dict[str, float] | UnsetType = UNSET
    """Milliseconds by stage, in the order in which they were first entered."""
    ttft_ms: float | UnsetType | None = UNSET
    budget_ms: float | UnsetType | None = UNSET
    tool_run: _ToolRun | UnsetType = UNSET
    tool_runs: list[_ToolRun] | UnsetType = UNSET


class _Envelope(msgspec.Struct, kw_only=True):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[_ChunkChoice] | list[_Choice]
    usage: _Usage | UnsetType | None = UNSET
    firsthop: _Firsthop | UnsetType = UNSET


_encoder = msgspec.json.Encoder()


def turn_headers(trail: TurnTrail) -> list[HttpHeader]:
    """The response headers that describe a turn up to now.

    `traceresponse` names the turn's own span: https://w3c.github.io/trace-context/.
    """
    headers = [
        (b"x-request-id", trail.request_id.encode()),
        (b"traceresponse", _root_span(trail).traceparent.encode()),
    ]
    if trail.site:
        headers.append((b"x-firsthop-site", trail.site.encode()))
    if trail.path:
        headers.append((b"x-firsthop-path", ",".join(trail.path).encode()))
    if trail.model:
        headers.append((b"x-firsthop-model", trail.model.encode()))
    if trail.escalation:
        headers.append((b"x-firsthop-escalation", trail.escalation.encode()))
    stages = _stages_ms(trail)
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
                ran = _Firsthop(tool_run=_tool_run(event))
                return self._open() + self._chunk(_Delta(), firsthop=ran)
            case TurnEnd():
                return self._open() + self._close(event)

    def _open(self) -> bytes:
        if self._opened:
            return b""
        self._opened = True
        return self._chunk(_Delta(role="assistant", content=""))

    def _close(self, end: TurnEnd) -> bytes:
        final = _final_word(self._trail, end)
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
        firsthop: _Firsthop | UnsetType = UNSET,
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
        firsthop: _Firsthop | UnsetType,
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
        self._tool_runs: list[_ToolRun] = []

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
                self._tool_runs.append(_tool_run(event))

    def render(self, end: TurnEnd) -> bytes:
        """The whole body."""
        model, digest = name_and_digest(self._trail.model)
        firsthop = _final_word(self._trail, end)
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


def _tool_run(run: ServerToolRun) -> _ToolRun:
    return _ToolRun(run.call.call_id, run.call.name, run.call.arguments, run.result)


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


def _final_word(trail: TurnTrail, end: TurnEnd) -> _Firsthop:
    return _Firsthop(
        request_id=trail.request_id,
        trace_id=_root_span(trail).trace_hex,
        site=trail.site,
        path=list(trail.path),
        requested_model=trail.requested_model,
        model=trail.model,
        escalation=trail.escalation or UNSET,
        escalation_error=trail.escalation_error or UNSET,
        turn_class=trail.turn_class.value,
        finish=end.finish.value,
        stages=_stages_ms(trail),
        ttft_ms=optional_ms(trail.clock.ttft_s),
        budget_ms=optional_ms(trail.budget_s),
    )


def _stages_ms(trail: TurnTrail) -> dict[str, float]:
    durations_s = trail.clock.durations_s()
    return {stage.value: ms(duration_s) for stage, duration_s in durations_s.items()}


def _root_span(trail: TurnTrail) -> TraceContext:
    return TurnTrace.of(trail.request_id, trail.clock.started_s, trail.traceparent).root
