"""Arguments as bare values: one slot for each property of a tool's schema, in its order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.core.errors import InvalidSchema
from gateway.engine.tool_format.integer_range import integer_pattern
from gateway.engine.tool_format.lark import pattern, quoted

if TYPE_CHECKING:
    from gateway.core.turn import ToolSpec

# Without bounds in the schema an integer has up to nine digits, as the models are trained.
_LARGEST = 999_999_999
# Lower-case words: what speech recognition writes, and how the models spell names.
_WORDS = r"[\p{Ll}0-9]+(?:[ .,'&-]{1,2}[\p{Ll}0-9]+){0,11}"
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,8})")

Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Argument:
    """One property: its values are `choices` if there are any, else of its `kind`.

    `kind` is ``string``, ``integer`` or ``boolean``; `low` and `high` bound an integer.
    """

    name: str
    kind: str
    is_required: bool
    choices: tuple[Value, ...] = ()
    low: int = -_LARGEST
    high: int = _LARGEST

    def grammar(self) -> str:
        """A Lark expression for the value; an optional one may be left empty."""
        if self.choices:
            value = " | ".join(quoted(spelt(choice)) for choice in self.choices)
        elif self.kind == "integer":
            value = pattern(integer_pattern(self.low, self.high))
        else:
            value = pattern(_WORDS)
        return f"({value})" if self.is_required else f"({value})?"

    def value(self, text: str) -> Value | None:
        """The value that `text` spells, None when it is left out.

        Raises ValueError, saying why, for one the schema does not allow.
        """
        if not text:
            if self.is_required:
                raise ValueError(f"{self.name} is missing")
            return None
        if self.choices:
            for choice in self.choices:
                if spelt(choice) == text:
                    return choice
            raise ValueError(f"{self.name} may not be {text!r}")
        if self.kind == "string":
            return text
        if not _INTEGER.fullmatch(text) or not self.low <= int(text) <= self.high:
            raise ValueError(f"{self.name} is no integer from {self.low} to {self.high}: {text!r}")
        return int(text)


def arguments_of(tool: ToolSpec) -> tuple[Argument, ...]:
    """The tool's properties as arguments. Raises InvalidSchema for one that cannot be a slot."""
    required = frozenset(tool.parameters.get("required", ()))
    properties = tool.parameters.get("properties", {})
    if unknown := required - properties.keys():
        raise InvalidSchema(
            f"tool {tool.name!r}: required names {', '.join(sorted(unknown))}, not a property",
            param="tools",
        )
    return tuple(
        _argument(tool.name, name, schema, name in required) for name, schema in properties.items()
    )


def _argument(tool: str, name: str, schema: Any, is_required: bool) -> Argument:
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind not in ("string", "integer", "boolean"):
        raise InvalidSchema(
            f"tool {tool!r}: {name} must be a string, an integer or a boolean for this model",
            param="tools",
        )
    if kind == "boolean":
        return Argument(name, kind, is_required, choices=(True, False))
    choices = schema.get("enum", [])
    if "enum" in schema and not _are_choices(choices, str if kind == "string" else int):
        raise InvalidSchema(f"tool {tool!r}: {name} has an unusable enum", param="tools")
    if kind == "string":
        return Argument(name, kind, is_required, tuple(choices))
    low, high = _bounds(tool, name, schema)
    return Argument(name, kind, is_required, tuple(choices), low, high)


def _are_choices(choices: object, type_: type) -> bool:
    return (
        isinstance(choices, list)
        and bool(choices)
        and all(type(choice) is type_ and choice != "" for choice in choices)
    )


def _bounds(tool: str, name: str, schema: dict[str, Any]) -> tuple[int, int]:
    low = max(_bound(tool, name, schema, "minimum", -_LARGEST), -_LARGEST)
    high = min(_bound(tool, name, schema, "maximum", _LARGEST), _LARGEST)
    if low > high:
        raise InvalidSchema(f"tool {tool!r}: {name} has no value in its range", param="tools")
    return low, high


def _bound(tool: str, name: str, schema: dict[str, Any], key: str, default: int) -> int:
    bound = schema.get(key, default)
    if type(bound) is not int:
        raise InvalidSchema(f"tool {tool!r}: {key} of {name} is no integer", param="tools")
    return bound


def spelt(value: Value) -> str:
    """How a value is written in a slot: strings as they are, the others as in JSON."""
    return value if isinstance(value, str) else json.dumps(value)
