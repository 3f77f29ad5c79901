"""A turn as the body of `POST /chat/completions` for another server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.generation import ConstraintKind, Sampling
from gateway.core.turn import Role, ToolChoiceMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.generation import Constraint
    from gateway.core.turn import Message, ToolCall, ToolChoice, ToolSpec, Turn

_DEFAULT = Sampling()
_ANY_OBJECT = {"type": "object"}
_EXTENSIONS = ("top_k", "min_p", "repetition_penalty")
"""Not in OpenAI's API, in most servers'."""

_encoder = msgspec.json.Encoder()


def chat_body(turn: Turn, messages: Sequence[Message], *, model: str, limit_field: str) -> bytes:
    """The body that asks for a streamed answer to `messages` on the turn's terms.

    Fields that the turn leaves at their defaults are left out, because servers refuse what they do
    not know. `limit_field` is what the server calls the longest answer. Raises InvalidRequest for
    a form of answer that only this site's own engine can hold a model to.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(turn.sampling),
    }
    if turn.is_seeded:
        body["seed"] = turn.sampling.seed
    if turn.max_tokens is not None:
        body[limit_field] = turn.max_tokens
    if turn.stop:
        body["stop"] = turn.stop
    if turn.tools:
        body["tools"] = [_tool(tool) for tool in turn.tools]
        body["tool_choice"] = _choice(turn.tool_choice)
        if not turn.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    if turn.constraint is not None:
        body["response_format"] = _response_format(turn.constraint)
    return _encoder.encode(body)


def _message(message: Message) -> dict[str, Any]:
    given: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.role is Role.TOOL:
        given["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        given["content"] = message.content or None
        given["tool_calls"] = [_call(call) for call in message.tool_calls]
    return given


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.mode is ToolChoiceMode.REQUIRED and choice.name:
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode.value


def _sampling(sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {"temperature": sampling.temperature}
    for name in ("top_p", "presence_penalty", "frequency_penalty", *_EXTENSIONS):
        value = getattr(sampling, name)
        if value != getattr(_DEFAULT, name):
            body[name] = value
    if sampling.logit_bias:
        body["logit_bias"] = sampling.logit_bias
    if sampling.top_logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = sampling.top_logprobs
    return body


def _response_format(constraint: Constraint) -> dict[str, Any]:
    if constraint.kind is not ConstraintKind.JSON_SCHEMA:
        raise InvalidRequest(
            f"the server that runs this model takes no {constraint.kind.value}; use json_schema",
            param="response_format",
        )
    schema = msgspec.json.decode(constraint.text)
    if schema == _ANY_OBJECT:
        return {"type": "json_object"}
    named = {"name": "answer", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}
