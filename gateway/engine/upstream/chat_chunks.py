"""The chunks of another server's streamed chat completion, as events of an answer.

Servers differ: fields are absent or null, calls have no index, usage comes on the last chunk, on
each or never. What can be understood is; what cannot is the server's error, never a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.core.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from gateway.core.turn import (
    LogprobEntry,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    TurnFinish,
    Usage,
)

_DONE = b"[DONE]"
_MAX_CALLS = 128
_MODEL_NAME = re.compile(r"[\x21-\x7e]{1,128}")
"""A name that may stand in a header."""
_ERROR_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

AnswerDelta = TextDelta | ToolCallDelta


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Logprob(_TopLogprob):
    top_logprobs: list[_TopLogprob] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Logprob] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Chunk)
_object_decoder = msgspec.json.Decoder(dict[str, Any])
_FINISHES = {
    "stop": TurnFinish.STOP,
    "length": TurnFinish.LENGTH,
    "tool_calls": TurnFinish.TOOL_CALLS,
}


@dataclass(slots=True)
class _OpenCall:
    """A call of which parts have come."""

    call_id: str
    name: str
    arguments: str = ""


class ChatChunks:
    """Reads one answer. Feed the data of every event, then `end`."""

    def __init__(self) -> None:
        self.model = ""
        """What the server says it answers with; empty when it does not say."""
        self.num_deltas = 0
        """Deltas with content so far: about as many tokens."""
        self._finish: TurnFinish | None = None
        self._usage: _Usage | None = None
        self._calls: dict[int, _OpenCall] = {}
        self.is_done = False

    def feed(self, data: bytes) -> list[AnswerDelta]:
        """What an event adds to the answer.

        Raises UpstreamError for what is no chunk, UpstreamUnavailable for an error that the server
        reports, and UpstreamRefused where it held its answer back.
        """
        if data == _DONE:
            self.is_done = True
            return []
        try:
            chunk = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamError(f"the server sent what is no chunk of an answer: {error}") from None
        if chunk.error is not None:
            raise UpstreamUnavailable(f"the server reported an error: {error_name(chunk.error)}")
        if chunk.model and not self.model and _MODEL_NAME.fullmatch(chunk.model):
            self.model = chunk.model
        self._usage = chunk.usage or self._usage
        deltas = self._deltas(chunk.choices[0]) if chunk.choices else []
        self.num_deltas += len(deltas)
        return deltas

    def usage(self, prompt_chars: int) -> Usage:
        """Token counts; where the server gives none, about one for each delta and 4 characters."""
        usage = self._usage
        if usage is None:
            return Usage(-(-prompt_chars // 4), self.num_deltas)
        details = usage.prompt_tokens_details
        cached = details.cached_tokens if details is not None else None
        return Usage(usage.prompt_tokens, usage.completion_tokens, cached or 0)

    def end(self) -> tuple[TurnFinish, tuple[ToolCall, ...]]:
        """Why the answer ended, and its calls; of one that was cut off, none is whole.

        Raises UpstreamUnavailable when it broke off and UpstreamError for calls that are none.
        """
        if self._finish is None:
            raise UpstreamUnavailable("the server broke off in its answer")
        if self._finish is TurnFinish.LENGTH:
            return TurnFinish.LENGTH, ()
        calls = tuple(_whole(call) for call in self._calls.values())
        return (TurnFinish.TOOL_CALLS if calls else TurnFinish.STOP), calls

    def _deltas(self, choice: _Choice) -> list[AnswerDelta]:
        deltas: list[AnswerDelta] = []
        delta = choice.delta
        text = (delta.content or delta.refusal or "") if delta is not None else ""
        entries = _entries(choice.logprobs)
        if text or entries:
            deltas.append(TextDelta(text, entries))
        for call in (delta.tool_calls or ()) if delta is not None else ():
            deltas += self._call_deltas(call)
        if choice.finish_reason is not None:
            self._finish = _finish(choice.finish_reason)
            deltas += self._empty_arguments()
        return deltas

    def _call_deltas(self, part: _Call) -> list[AnswerDelta]:
        """A part of a call; without an index, an id begins the next call."""
        function = part.function or _Function()
        index = part.index
        if index is None:
            index = len(self._calls) if part.id or not self._calls else len(self._calls) - 1
        arguments = function.arguments or ""
        known = self._calls.get(index)
        if known is not None:
            known.arguments += arguments
            return [ToolCallDelta(index, arguments)] if arguments else []
        if index != len(self._calls) or index >= _MAX_CALLS or not (part.id and function.name):
            raise UpstreamError("the server sent a part of a tool call that never began")
        self._calls[index] = _OpenCall(part.id, function.name, arguments)
        return [ToolCallDelta(index, arguments, part.id, function.name)]

    def _empty_arguments(self) -> list[AnswerDelta]:
        """Calls without arguments are given an object without any, so that all are JSON."""
        bare = [index for index, call in self._calls.items() if not call.arguments]
        for index in bare:
            self._calls[index].arguments = "{}"
        return [ToolCallDelta(index, "{}") for index in bare]


def error_name(error: object) -> str:
    """What a server calls its error: its code or type, never its text, which may quote anything."""
    fields = error if isinstance(error, dict) else {}
    names = (str(fields.get(key) or "") for key in ("code", "type"))
    return next((name for name in names if _ERROR_NAME.fullmatch(name)), "it gives no name for it")


def _finish(reason: str) -> TurnFinish:
    if reason == "content_filter":
        raise UpstreamRefused("the server's content filter held the answer back")
    # What else servers say ("eos", "stop_sequence", "function_call") is an end like any other.
    return _FINISHES.get(reason, TurnFinish.STOP)


def _whole(call: _OpenCall) -> ToolCall:
    try:
        _object_decoder.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise UpstreamError(
            "the server sent a tool call whose arguments are no JSON object"
        ) from None
    return ToolCall(call.call_id, call.name, call.arguments)


def _entries(given: _Logprobs | None) -> tuple[LogprobEntry, ...]:
    if given is None or not given.content:
        return ()
    return tuple(
        LogprobEntry(
            entry.token,
            _utf8(entry),
            entry.logprob,
            tuple((top.token, _utf8(top), top.logprob) for top in entry.top_logprobs or ()),
        )
        for entry in given.content
    )


def _utf8(token: _TopLogprob) -> bytes:
    if token.bytes is None:
        return token.token.encode("utf-8", "replace")
    try:
        return bytes(token.bytes)
    except ValueError:
        raise UpstreamError("the server sent bytes above 255 for a token") from None
