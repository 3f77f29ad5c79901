"""The tools of a turn, checked once, before a prompt or a grammar is made of them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Self

import msgspec

from gateway.core.errors import InvalidRequest, InvalidSchema, UnsupportedTools
from gateway.core.turn import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")

MAX_TOOLS = 128
"""As in the OpenAI API."""


class ToolSet:
    """Tools by name, in the order given.

    Raises InvalidRequest for a name that is unusable or taken and InvalidSchema for parameters
    that do not describe an object.
    """

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        if len(tools) > MAX_TOOLS:
            raise InvalidRequest(f"at most {MAX_TOOLS} tools are taken at once", param="tools")
        self._by_name: dict[str, ToolSpec] = {}
        for tool in tools:
            _check_name(tool.name)
            _check_parameters(tool)
            if tool.name in self._by_name:
                raise InvalidRequest(f"two tools are named {tool.name!r}", param="tools")
            self._by_name[tool.name] = tool

    @classmethod
    def from_json(cls, tools_json: str | bytes) -> Self:
        """Read OpenAI-shaped JSON, ``[{"type": "function", "function": {...}}, …]``."""
        try:
            entries = msgspec.json.decode(tools_json, type=list[_ToolEntry])
        except msgspec.DecodeError as error:
            raise InvalidRequest(
                f"the list of tools is unusable: {error}", param="tools"
            ) from error
        functions = [entry.function for entry in entries]
        return cls([ToolSpec(f.name, f.description, f.parameters) for f in functions])

    def __iter__(self) -> Iterator[ToolSpec]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> ToolSpec:
        return self._by_name[name]

    def only(self, name: str) -> ToolSet:
        """The set of that one tool. Raises InvalidRequest when it is not among these."""
        if name not in self._by_name:
            raise InvalidRequest(
                f"tool_choice names {name!r}, which is not among the tools", param="tool_choice"
            )
        return ToolSet([self._by_name[name]])


def check_supported(manifest_tools: str, fixed: ToolSet, given: ToolSet) -> None:
    """Hold the tools of a request to what the model can call.

    `manifest_tools` is ``any``, ``none`` or ``fixed:<digest>``. A model with fixed tools takes
    any selection of them, equal in name and parameters; descriptions may differ. Raises
    UnsupportedTools.
    """
    if manifest_tools == "any" or not len(given) or given is fixed:
        return
    if manifest_tools == "none":
        raise UnsupportedTools("this model cannot call tools")
    for tool in given:
        if tool.name not in fixed:
            known = ", ".join(t.name for t in fixed)
            raise UnsupportedTools(f"this model cannot call {tool.name!r}; it knows: {known}")
        if _canonical(tool.parameters) != _canonical(fixed[tool.name].parameters):
            raise UnsupportedTools(
                f"this model knows {tool.name!r} with other parameters: "
                f"{json.dumps(fixed[tool.name].parameters)}"
            )


class _Function(msgspec.Struct):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class _ToolEntry(msgspec.Struct):
    function: _Function


def _canonical(parameters: dict[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"the tool name {name!r} is not 1 to 64 letters, digits, dots, dashes or underscores",
            param="tools",
        )


def _check_parameters(tool: ToolSpec) -> None:
    parameters = tool.parameters
    if parameters.get("type", "object") != "object":
        raise InvalidSchema(
            f"tool {tool.name!r}: parameters must have type 'object', not {parameters['type']!r}",
            param="tools",
        )
    properties = parameters.get("properties", {})
    if not isinstance(properties, dict) or not all(
        isinstance(schema, dict | bool) for schema in properties.values()
    ):
        raise InvalidSchema(
            f"tool {tool.name!r}: properties must be an object of schemas", param="tools"
        )
    required = parameters.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise InvalidSchema(f"tool {tool.name!r}: required must be a list of names", param="tools")
