"""The body of `POST /v1/chat/completions`, decoded by type and turned into a core turn.

Fields that change what is asked for and cannot be served are refused by name; fields that change
nothing here (`metadata`, `store` and whatever a newer client adds) are passed over.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from gateway.core.errors import InvalidRequest
from gateway.core.generation import Constraint, ConstraintKind, Sampling
from gateway.core.turn import (
    Message,
    Role,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
    ToolSpec,
    Turn,
    check_calls_and_results,
)
from gateway.wire.json_faults import named_fault

if TYPE_CHECKING:
    from gateway.core.budget import Budget, TurnClass
    from gateway.core.turn import Principal

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Limit = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_ToolName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
"""As in the OpenAI API."""


class _TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


class _FunctionCall(msgspec.Struct):
    name: _ToolName
    arguments: str = "{}"


class _ToolCallGiven(msgspec.Struct):
    id: str
    function: _FunctionCall
    type: Literal["function"] = "function"


class _MessageGiven(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_TextPart | _RefusalPart] | None = None
    tool_calls: list[_ToolCallGiven] | None = None
    tool_call_id: str | None = None
    function_call: None = None
    audio: None = None


class _Function(msgspec.Struct):
    name: _ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    function: _Function
    type: Literal["function"] = "function"


class _FunctionName(msgspec.Struct):
    name: str


class _NamedChoice(msgspec.Struct, tag_field="type", tag="function"):
    function: _FunctionName


class _AllowedTool(msgspec.Struct):
    function: _FunctionName
    type: Literal["function"] = "function"


class _AllowedTools(msgspec.Struct):
    mode: Literal["auto", "required"]
    tools: list[_AllowedTool]


class _AllowedChoice(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    allowed_tools: _AllowedTools


class _TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    pass


class _JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    pass


class _JsonSchema(msgspec.Struct):
    name: str
    schema: msgspec.Raw


class _JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    json_schema: _JsonSchema


class _RegexFormat(msgspec.Struct, tag_field="type", tag="regex"):
    regex: str


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """The fields of a chat completion request, as given. Fields typed None must be absent."""

    messages: list[_MessageGiven]
    model: str | None = None
    safety_identifier: Any = None
    user: Any = None
    """The name that `safety_identifier` had before. Both name whom the client speaks for."""
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | _NamedChoice | _AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _TextFormat | _JsonObjectFormat | _JsonSchemaFormat | _RegexFormat | None = (
        None
    )

    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: _Int64 | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[_Int64, float] | None = None
    seed: _Int64 | None = None
    logprobs: bool | None = None
    top_logprobs: _Int64 | None = None

    n: Literal[1] | None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    functions: None = None
    function_call: None = None
    web_search_options: None = None

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a usage chunk."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


_TOOL_NAMES = "1 to 64 letters, digits, dashes and underscores"
_HINTS = {
    "n": "one answer per request; ask again for another",
    "modalities": "answers are text only",
    "audio": "answers are text only",
    "functions": "deprecated; give them as tools",
    "function_call": "deprecated; use tool_choice",
    "web_search_options": "there is no web search here",
    "messages.audio": "answers are text only",
    "messages.function_call": "deprecated; use tool_calls",
    "messages.content.type": "content parts are text only",
    "messages.tool_calls.function.name": _TOOL_NAMES,
    "tools.function.name": _TOOL_NAMES,
    "tools.type": "only function tools are served",
}
_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM}
_HALF_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u)")
"""The first of two escapes that make one character, without the second."""

_decoder = msgspec.json.Decoder(ChatRequest)
_object_decoder = msgspec.json.Decoder(dict[str, Any])
_T = TypeVar("_T", int, float)


def decode_chat(body: bytes) -> ChatRequest:
    """Decode a body. Raises InvalidRequest that names the JSON path and what is wrong there."""
    try:
        chat = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise named_fault(str(error), _HINTS) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Near the body's end the decoder takes half a pair for a body that was cut off.
        reason = str(error)
        if "truncated" in reason and _HALF_PAIR.search(body):
            reason = "half a pair of \\u escapes"
        raise InvalidRequest(f"the body is not JSON: {reason}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    if chat.stream_options is not None and not chat.stream:
        raise InvalidRequest("stream_options goes with stream: true only", param="stream_options")
    return chat


def turn_of(
    chat: ChatRequest,
    *,
    request_id: str,
    budget: Budget,
    turn_class: TurnClass,
    principal: Principal,
    server_tools: bool,
    history: tuple[Message, ...] = (),
) -> Turn:
    """The turn that was asked for, where `history` was said before.

    Raises InvalidRequest where the fields do not fit together.
    """
    new = messages_of(chat)
    check_calls_and_results(new, "messages", history=history)
    tools, choice = _tools(chat)
    stop = chat.stop
    limits = (chat.max_completion_tokens, chat.max_tokens)
    return Turn(
        request_id=request_id,
        messages=(*history, *new),
        budget=budget,
        turn_class=turn_class,
        principal=principal,
        model=chat.model or "default",
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=chat.parallel_tool_calls is not False,
        server_tools=server_tools,
        constraint=_constraint(chat),
        sampling=_sampling(chat),
        is_seeded=chat.seed is not None,
        max_tokens=next((limit for limit in limits if limit is not None), None),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
    )


def messages_of(chat: ChatRequest) -> tuple[Message, ...]:
    """What a request brings. Raises InvalidRequest for what no conversation may contain."""
    messages: list[Message] = []
    for index, message in enumerate(chat.messages):
        path = f"messages[{index}]"
        calls = _calls(message, path)
        if message.content is None and not calls:
            raise InvalidRequest(f"{path}.content is missing", param=f"{path}.content")
        role = _ROLES[message.role]
        answered = message.tool_call_id or "" if role is Role.TOOL else ""
        messages.append(Message(role, _text(message.content), calls, answered))
    return tuple(messages)


def _text(content: str | list[_TextPart | _RefusalPart] | None) -> str:
    if isinstance(content, str):
        return content
    parts = content or ()
    return "".join(part.text if isinstance(part, _TextPart) else part.refusal for part in parts)


def _calls(message: _MessageGiven, path: str) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(
            call.id,
            call.function.name,
            _arguments(call.function.arguments, f"{path}.tool_calls[{index}].function.arguments"),
        )
        for index, call in enumerate(message.tool_calls or ())
    )


def _arguments(text: str, path: str) -> str:
    if not text.strip():
        return "{}"  # what some clients keep of a call without arguments
    try:
        _object_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"{path} is not a JSON object: {error}", param=path) from None
    return text


def _tools(chat: ChatRequest) -> tuple[tuple[ToolSpec, ...], ToolChoice]:
    tools = tuple(
        ToolSpec(
            tool.function.name,
            tool.function.description or "",
            tool.function.parameters or {"type": "object", "properties": {}},
        )
        for tool in chat.tools or ()
    )
    match chat.tool_choice:
        case None:
            return tools, ToolChoice()
        case _NamedChoice(function=function):
            return tools, ToolChoice(ToolChoiceMode.REQUIRED, function.name)
        case _AllowedChoice(allowed_tools=allowed):
            return _only(tools, allowed), ToolChoice(ToolChoiceMode(allowed.mode))
        case mode:
            return tools, ToolChoice(ToolChoiceMode(mode))


def _only(tools: tuple[ToolSpec, ...], allowed: _AllowedTools) -> tuple[ToolSpec, ...]:
    names = {tool.function.name for tool in allowed.tools}
    if unknown := names.difference(tool.name for tool in tools):
        raise InvalidRequest(
            f"tool_choice allows {', '.join(sorted(unknown))}, not among the tools",
            param="tool_choice.allowed_tools.tools",
        )
    return tuple(tool for tool in tools if tool.name in names)


def _constraint(chat: ChatRequest) -> Constraint | None:
    match chat.response_format:
        case None | _TextFormat():
            return None
        case _JsonObjectFormat():
            return Constraint(ConstraintKind.JSON_SCHEMA, '{"type": "object"}')
        case _RegexFormat(regex=regex):
            return Constraint(ConstraintKind.REGEX, regex)
        case _JsonSchemaFormat(json_schema=given):
            return Constraint(ConstraintKind.JSON_SCHEMA, _schema_text(given.schema))


def _schema_text(schema: msgspec.Raw) -> str:
    path = "response_format.json_schema.schema"
    try:
        _object_decoder.decode(schema)
        return bytes(schema).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"{path} is not a JSON object: {error}", param=path) from None


def _sampling(chat: ChatRequest) -> Sampling:
    if chat.top_logprobs is not None and not chat.logprobs:
        raise InvalidRequest("top_logprobs goes with logprobs: true only", param="top_logprobs")
    default = Sampling()
    return Sampling(
        temperature=_or(chat.temperature, default.temperature),
        top_k=_or(chat.top_k, default.top_k),
        top_p=_or(chat.top_p, default.top_p),
        min_p=_or(chat.min_p, default.min_p),
        presence_penalty=_or(chat.presence_penalty, default.presence_penalty),
        frequency_penalty=_or(chat.frequency_penalty, default.frequency_penalty),
        repetition_penalty=_or(chat.repetition_penalty, default.repetition_penalty),
        # Without a seed two equal requests may be answered differently, as everywhere.
        seed=random.getrandbits(63) if chat.seed is None else chat.seed,
        logit_bias=chat.logit_bias or {},
        top_logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
    )


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value
