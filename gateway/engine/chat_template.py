"""Chat templates: messages and tools to the prompt text a model was trained on.

Templates are Jinja2 as tokenizers ship them, run in Jinja's immutable sandbox with the names that
Hugging Face's `apply_chat_template` defines, plus the filter `from_json`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from jinja2 import TemplateError, TemplateSyntaxError, nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gateway.core.errors import InvalidRequest
from gateway.core.nesting import MAX_JSON_DEPTH, is_too_deep
from gateway.core.turn import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jinja2.parser import Parser
    from jinja2.runtime import Context

    from gateway.core.turn import Message, ToolCall, ToolSpec

_DECODED = "_decoded"  # the name under which a template's own decoding finds the guard

MAX_PROMPT_CHARS = 4 << 20
"""A template that writes more is stopped: no context served here holds that much."""


class TemplateUnusable(ValueError):
    """A chat template's text is not a Jinja template."""


class ChatTemplate:
    """A compiled chat template. Raises TemplateUnusable."""

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        environment = _environment()
        try:
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateUnusable(f"line {error.lineno}: {error.message}") from error
        self._constants = {"bos_token": bos_token, "eos_token": eos_token}

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, object] | None = None,
        guard: Callable[[str, Role], str] | None = None,
    ) -> str:
        """The prompt text. `variables` are the template's own, such as ``enable_thinking``.

        `guard` is applied to every text that comes from outside (contents, tool descriptions,
        arguments) with the role that wrote it, and to what the template decodes from them. Raises
        InvalidRequest with the template's words when it refuses the messages, and when the prompt
        is absurdly long.
        """
        shaped = _Shaped(guard or _as_it_is)
        names = {
            **self._constants,
            **(variables or {}),
            "messages": shaped.messages(messages),
            "tools": [shaped.tool(tool) for tool in tools] or None,
            "add_generation_prompt": add_generation_prompt,
            _DECODED: shaped.decoded,
        }
        try:
            return self._written(names)
        except TemplateError as error:
            raise InvalidRequest(
                f"the model's chat template refuses these messages: {error.message}",
                param="messages",
            ) from error
        except _FAULTS_OF_TEMPLATES as error:
            raise InvalidRequest(
                f"the model's chat template cannot render these messages: {error}",
                param="messages",
            ) from error

    def _written(self, names: Mapping[str, object]) -> str:
        pieces: list[str] = []
        num_chars = 0
        for piece in self._template.generate(names):
            pieces.append(piece)
            num_chars += len(piece)
            if num_chars > MAX_PROMPT_CHARS:
                raise InvalidRequest(
                    f"the prompt is longer than {MAX_PROMPT_CHARS} characters", param="messages"
                )
        return "".join(pieces)


# What expressions in a template raise on messages they were not written for.
_FAULTS_OF_TEMPLATES = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class _Shaped:
    """Messages and tools as the dictionaries templates expect, every outside text guarded."""

    def __init__(self, guard: Callable[[str, Role], str]) -> None:
        self._guard = guard

    def messages(self, messages: Sequence[Message]) -> list[dict[str, object]]:
        name_by_call: dict[str, str] = {}
        shaped: list[dict[str, object]] = []
        for message in messages:
            name_by_call |= {call.call_id: call.name for call in message.tool_calls}
            shaped.append(self._message(message, name_by_call))
        return shaped

    def _message(self, message: Message, name_by_call: Mapping[str, str]) -> dict[str, object]:
        role = message.role
        shaped: dict[str, object] = {
            "role": role.value,
            "content": self._guard(message.content, role),
        }
        if message.tool_calls:
            shaped["tool_calls"] = [self._call(call) for call in message.tool_calls]
        if role is Role.TOOL:
            shaped["tool_call_id"] = self._guard(message.tool_call_id, role)
            shaped["name"] = self._guard(name_by_call.get(message.tool_call_id, ""), role)
        return shaped

    def _call(self, call: ToolCall) -> dict[str, object]:
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidRequest(
                f"the arguments of tool call {call.call_id!r} are not a JSON object",
                param="messages",
            ) from error
        if is_too_deep(arguments):
            raise InvalidRequest(
                f"the arguments of tool call {call.call_id!r} are nested deeper than "
                f"{MAX_JSON_DEPTH}",
                param="messages",
            )
        function = {"name": call.name, "arguments": arguments}
        guarded: dict[str, object] = self._all({"id": call.call_id, "function": function})
        return {"type": "function", **guarded}

    def tool(self, tool: ToolSpec) -> dict[str, object]:
        function = {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        }
        return {"type": "function", "function": self._all(function, Role.SYSTEM)}

    def decoded(self, value: Any) -> Any:
        """What a template decoded, guarded as if the least trusted had written it."""
        return self._all(value, Role.TOOL)

    def _all(self, value: Any, role: Role = Role.ASSISTANT) -> Any:
        """`value` with every string in it guarded, keys included."""
        match value:
            case str():
                return self._guard(value, role)
            case dict():
                return {self._guard(k, role): self._all(v, role) for k, v in value.items()}
            case list():
                return [self._all(item, role) for item in value]
            case _:
                return value


def _as_it_is(text: str, _: Role) -> str:
    return text


def _environment() -> ImmutableSandboxedEnvironment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.filters["from_json"] = _from_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class _Environment(ImmutableSandboxedEnvironment):
    """``values[name]`` is the item of that name; Jinja falls back to methods such as `items`."""

    def getitem(self, obj: Any, argument: Any) -> Any:
        try:
            return obj[argument]
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)


class _GenerationBlocks(Extension):
    """``{% generation %}`` marks what was trained on; in a prompt its body stands as it is."""

    tags = {"generation"}  # noqa: RUF012  jinja2 declares it as an instance attribute

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as the templates' authors know it: nothing escaped for HTML, non-ASCII left alone."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


@pass_context
def _from_json(context: Context, text: object) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None when it is anything else or nested too deep.

    Its strings are guarded once more: escapes in `text` may have hidden from the guard what they
    spell.
    """
    if not isinstance(text, str):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or is_too_deep(value):
        return None
    guarded: dict[str, Any] = context[_DECODED](value)
    return guarded


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now(UTC).astimezone().strftime(form)
