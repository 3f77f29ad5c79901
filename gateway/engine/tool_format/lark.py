"""Pieces of llguidance's Lark dialect that several formats write.

The grammars never name an end token: where a grammar may end, the engine lets the model draw one
of the model's own.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from gateway.core.errors import InvalidRequest, InvalidSchema
from gateway.core.generation import Constraint, ConstraintKind
from gateway.engine.tool_format.remarks import without_remarks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.engine.tool_format.toolset import ToolSet

# How models were taught to write JSON: as Python's json.dumps does, or compact. Free whitespace
# would let a small model write blanks until its tokens are used up.
_JSON_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
# Keywords that a tool's author may use and llguidance does not know are no reason to refuse it.
_TOOL_LAYOUT = {**_JSON_LAYOUT, "lenient": True}

_COMPOSING = frozenset({"allOf", "anyOf", "oneOf", "$ref", "patternProperties"})


def lark(rules: Sequence[str]) -> Constraint:
    """A grammar of these rules, one per line."""
    return Constraint(ConstraintKind.LARK, "\n".join(rules))


def quoted(text: str) -> str:
    """`text` as a Lark literal."""
    return json.dumps(text, ensure_ascii=False)


def pattern(regex: str) -> str:
    """`regex` as a Lark terminal."""
    # A slash ends the terminal and a line break may not stand in one.
    one_line = regex.replace("\n", r"\n")
    return "/" + re.sub(r"\\.|/", _slash_escaped, one_line) + "/"


def _slash_escaped(match: re.Match[str]) -> str:
    return r"\/" if match[0] == "/" else match[0]


def json_call_bodies(tools: ToolSet, *, arguments_key: str) -> list[str]:
    """The rule `body`, ``{"name": …, "<arguments_key>": {…}}`` of any of the tools."""
    rules = ["body: " + " | ".join(f"body_{index}" for index in range(len(tools)))]
    for index, tool in enumerate(tools):
        head = f'{{"name": {json.dumps(tool.name)}, "{arguments_key}": '
        schema = json.dumps(_arguments_schema(tool.parameters), ensure_ascii=False)
        rules.append(f"body_{index}: {quoted(head)} args_{index} {quoted('}')}")
        rules.append(f"args_{index}: %json {schema}")
    return rules


def _arguments_schema(parameters: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", **without_remarks(dict(parameters)), "x-guidance": _TOOL_LAYOUT}
    if _COMPOSING.isdisjoint(schema):
        schema.setdefault("additionalProperties", False)
    return schema


def answer_rule(answer: Constraint | None, free_text: str) -> str:
    """The rule `answer`: what is written when no tool is called, `free_text` unless constrained.

    Raises InvalidSchema for a JSON schema that is no JSON, InvalidRequest for a grammar, which
    cannot stand inside another one.
    """
    if answer is None:
        return f"answer: {free_text}"
    match answer.kind:
        case ConstraintKind.REGEX:
            return f"answer: {pattern(answer.text)}"
        case ConstraintKind.JSON_SCHEMA:
            return f"answer: %json {_one_line_schema(answer.text)}"
        case ConstraintKind.LARK:
            raise InvalidRequest(
                "a grammar for the answer cannot be combined with tools", param="tools"
            )


def _one_line_schema(text: str) -> str:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise InvalidSchema(f"the schema is not JSON: {error}", param="response_format") from error
    if not isinstance(schema, dict):
        raise InvalidSchema("the schema is not a JSON object", param="response_format")
    return json.dumps({"x-guidance": _JSON_LAYOUT, **without_remarks(schema)}, ensure_ascii=False)
