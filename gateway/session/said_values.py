"""Narrow the assistant's tools to values that the caller has said.

The model chooses among candidates; it cannot make a value up. A value that was not said leaves its
tool without that argument: the model may still call it, which shows what the caller wants, and the
session asks for the value instead of running anything.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.generation import Constraint
from gateway.core.turn import Message, Role, ToolSpec
from gateway.core.values import Kind, Said, said
from gateway.session.phrases import HOW_LONG, HOW_MANY_DAYS, HOW_MUCH, WHICH_COUNTRY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.engine.text_model import TextModel

_SAID_ARGUMENTS: dict[str, dict[str, tuple[Kind, str]]] = {
    "pay_bill": {"amount": (Kind.DOLLARS, HOW_MUCH)},
    "pause_wifi": {"minutes": (Kind.MINUTES, HOW_LONG)},
    "add_roaming": {
        "country": (Kind.COUNTRY, WHICH_COUNTRY),
        "days": (Kind.DAYS, HOW_MANY_DAYS),
    },
}
"""Arguments whose values must have been said: their kind, and how to ask for them."""


_MAX_NUM_KEPT = 256


class Narrowed(msgspec.Struct, frozen=True):
    """`missing`: by tool, the question to ask if the model calls it; `constraint`: the grammar."""

    tools: tuple[ToolSpec, ...]
    missing: dict[str, str]
    constraint: Constraint | None


class SaidValues:
    """Narrows one model's tools, turn by turn.

    Most turns say no value or a common one: what they narrow to, and its grammar, is kept.
    """

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self._narrowed: OrderedDict[tuple[Said, ...], Narrowed] = OrderedDict()

    def narrow(self, messages: Sequence[Message]) -> Narrowed:
        """The model's own tools as this turn may call them."""
        values = said(utterances(messages))
        key = tuple(values.values())
        narrowed = self._narrowed.get(key)
        if narrowed is None:
            narrowed = _narrow(self._model, values)
            self._narrowed[key] = narrowed
            if len(self._narrowed) > _MAX_NUM_KEPT:
                self._narrowed.popitem(last=False)
        else:
            self._narrowed.move_to_end(key)
        return narrowed


def _narrow(model: TextModel, values: dict[Kind, Said]) -> Narrowed:
    missing: dict[str, str] = {}
    tools = tuple(_narrow_one(tool, values, missing) for tool in model.fixed_tools)
    return Narrowed(tools, missing, model.constraint(tools))


def utterances(messages: Sequence[Message]) -> list[str]:
    """What the caller said of the present request, oldest first.

    It goes back as far as the assistant was asking: an answer that is no question, or a tool's
    result, ended the request before.
    """
    heard: list[str] = []
    for message in reversed(messages):
        match message.role:
            case Role.USER:
                heard.append(message.content)
            case Role.ASSISTANT if heard and not message.content.rstrip().endswith("?"):
                break
            case Role.TOOL if heard:
                break
            case _:
                continue
    return heard[::-1]


def _narrow_one(tool: ToolSpec, values: dict[Kind, Said], missing: dict[str, str]) -> ToolSpec:
    wanted = _SAID_ARGUMENTS.get(tool.name)
    if wanted is None:
        return tool
    properties: dict[str, dict[str, Any]] = dict(tool.parameters["properties"])
    required = list(tool.parameters.get("required", ()))
    for name, (kind, question) in wanted.items():
        found = values[kind]
        allowed = [value for value in found.values if _in_range(value, properties[name])]
        is_required = name in required
        if allowed:
            properties[name] = {"type": properties[name]["type"], "enum": allowed}
            if not found.bare and not is_required:
                required.append(name)  # said with its unit, it cannot be left out
            continue
        del properties[name]
        if is_required or found.is_relative or found.values:
            missing.setdefault(tool.name, question)
        if is_required:
            required.remove(name)
    parameters = {**tool.parameters, "properties": properties, "required": required}
    return msgspec.structs.replace(tool, parameters=parameters)


def _in_range(value: int | str, schema: dict[str, Any]) -> bool:
    if isinstance(value, str):
        return True
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
