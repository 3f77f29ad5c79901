"""The wire format of the subscriber-care model: turns to prompt text, and generated text to turns.

    conversation := <s> ( <u>text | <a>text<e> | <a><c><t:NAME>v1<arg>v2<e> | <r>result )*

Every marker is one token. Arguments stand in the order of the tool's schema, all of them present;
an optional one that was left out is the empty string. The chat template in this folder renders
OpenAI-shaped messages to exactly the same text; a test holds the two together.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

HERE = Path(__file__).parent
TOOLS_FILE = HERE / "tools.json"
TEMPLATE_FILE = HERE / "chat_template.jinja"

BEGIN, USER, ASSISTANT, RESULT, END, CALL, ARG, PAD = (
    "<s>",
    "<u>",
    "<a>",
    "<r>",
    "<e>",
    "<c>",
    "<arg>",
    "<pad>",
)
Value: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Heard:
    """What the caller said or typed."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """What the assistant says; `is_sessions` if the session said it in the model's name.

    The model reads such a sentence in its prompt and is not trained to say it.
    """

    text: str
    is_sessions: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call; `arguments` holds only those that were given."""

    tool: str
    arguments: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Returned:
    """A tool's result: a flat object."""

    values: Mapping[str, Value]


Turn: TypeAlias = Heard | Said | Called | Returned


class MalformedCallError(ValueError):
    """Generated text that starts as a tool call and is not a valid one."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as the model sees it: its name and its arguments' schemas in order."""

    name: str
    properties: Mapping[str, Mapping[str, Any]]
    required: frozenset[str]


def load_tools(path: Path = TOOLS_FILE) -> dict[str, Tool]:
    """Read the tools from OpenAI-shaped JSON, in file order."""
    tools: dict[str, Tool] = {}
    for entry in json.loads(path.read_text(encoding="utf-8")):
        function = entry["function"]
        schema = function["parameters"]
        tools[function["name"]] = Tool(
            function["name"], schema["properties"], frozenset(schema.get("required", ()))
        )
    return tools


TOOLS = load_tools()


def special_tokens() -> list[str]:
    """Return every one-token marker; its position in the list is its token id."""
    markers = [PAD, BEGIN, USER, ASSISTANT, RESULT, END, CALL, ARG]
    return markers + [f"<t:{name}>" for name in TOOLS]


def render(turns: Iterable[Turn], *, generate: bool = False) -> str:
    """Return the prompt text of a conversation; `generate` opens the assistant's next turn.

    Texts are taken as they are: a caller's text that spells a marker must be defused before.
    """
    return BEGIN + "".join(map(_render_turn, turns)) + (ASSISTANT if generate else "")


def _render_turn(turn: Turn) -> str:
    match turn:
        case Heard(text):
            return USER + text
        case Said(text, _):
            return ASSISTANT + text + END
        case Called(tool, arguments):
            values = (str(arguments.get(name, "")) for name in TOOLS[tool].properties)
            return f"{ASSISTANT}{CALL}<t:{tool}>{ARG.join(values)}{END}"
        case Returned(values):
            return RESULT + "; ".join(f"{k}={_scalar(v)}" for k, v in values.items())


def _scalar(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def parse_reply(text: str) -> Said | Called:
    """Read one generated assistant turn, given without its final `<e>`.

    Raises `MalformedCallError` for a call whose tool, number of arguments or argument values the
    tools' schemas do not allow.
    """
    if not text.startswith(CALL):
        return Said(text)
    match = re.fullmatch(r"<c><t:([a-z_]+)>(.*)", text, re.DOTALL)
    if match is None or match[1] not in TOOLS:
        raise MalformedCallError(f"not a call of a known tool: {text!r}")
    tool = TOOLS[match[1]]
    values = match[2].split(ARG) if tool.properties else [v for v in [match[2]] if v]
    if len(values) != len(tool.properties):
        raise MalformedCallError(
            f"{tool.name} takes {len(tool.properties)} arguments, not {len(values)}: {text!r}"
        )
    given = {name: v for name, v in zip(tool.properties, values, strict=True) if v}
    call = Called(tool.name, {n: _typed(tool.properties[n], v) for n, v in given.items()})
    if problems := problems_of(call):
        raise MalformedCallError("; ".join(problems))
    return call


def _typed(schema: Mapping[str, Any], text: str) -> str | int:
    is_integer = schema["type"] == "integer" and re.fullmatch(r"[0-9]{1,9}", text)
    return int(text) if is_integer else text


def problems_of(call: Called) -> Sequence[str]:
    """Say in which ways a call breaks its tool's schema; empty when it does not."""
    if (tool := TOOLS.get(call.tool)) is None:
        return [f"no such tool: {call.tool}"]
    problems = [f"{call.tool}: {name} is missing" for name in tool.required - set(call.arguments)]
    for name, value in call.arguments.items():
        schema = tool.properties.get(name)
        if schema is None:
            problems.append(f"{call.tool}: no such argument: {name}")
        elif not _allowed(schema, value):
            problems.append(f"{call.tool}: {name}={value!r} is outside its schema")
    return problems


def _allowed(schema: Mapping[str, Any], value: str | int) -> bool:
    if schema["type"] == "integer":
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        return isinstance(value, int) and low <= value <= high
    return isinstance(value, str) and value in schema.get("enum", (value,))
