"""Narrow the assistant's tools to values that the caller has said.

The model chooses among candidates; it cannot make a value up. A value that was not said leaves its
tool without that argument: the model may still call it, which shows what the caller wants, and the
session asks for the value instead of running anything.

Two more things keep values true. A request that changes the last one ("sorry, I meant Chile") may
take over what that said. And an answer that reads a result out has no digits but the result's own.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.core.generation import Constraint, ConstraintKind
from gateway.core.turn import Message, Role, ToolCall, ToolSpec
from gateway.core.values import Kind, Said, said
from gateway.engine.tool_format.toolset import ToolSet
from gateway.session import phrases
from gateway.session.tool_arguments import check_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.engine.text_model import TextModel
    from gateway.session.care import Arguments

_SAID_ARGUMENTS: dict[str, dict[str, tuple[Kind, str]]] = {
    "pay_bill": {"amount": (Kind.DOLLARS, phrases.HOW_MUCH)},
    "pause_wifi": {"minutes": (Kind.MINUTES, phrases.HOW_LONG)},
    "add_roaming": {
        "country": (Kind.COUNTRY, phrases.WHICH_COUNTRY),
        "days": (Kind.DAYS, phrases.HOW_MANY_DAYS),
    },
    "book_technician": {"day": (Kind.DAY, phrases.WHICH_DAY)},
    "change_plan": {"plan": (Kind.PLAN, phrases.WHICH_PLAN)},
    "block_sim": {"reason": (Kind.REASON, phrases.LOST_OR_STOLEN)},
}
"""Arguments whose values must have been said: their kind, and how to ask for them."""
_DEMANDED_ARGUMENTS: dict[str, dict[str, tuple[Kind, str]]] = {
    "restart_device": {"device": (Kind.DEVICE, phrases.WHICH_DEVICE)},
    "pause_wifi": {"who": (Kind.GROUP, phrases.FOR_WHOM)},
    "book_technician": {"window": (Kind.WINDOW, phrases.WHICH_WINDOW)},
}
"""Arguments that must have been said when a call was demanded: left to itself the model asks, and
knows more words for them than any list."""
_DEMANDED_KINDS = (Kind.DEVICE, Kind.GROUP, Kind.WINDOW)

_MAX_NUM_KEPT = 256


class Narrowed(msgspec.Struct, frozen=True):
    """`missing`: by tool, the question to ask if the model calls it; `constraint`: the grammar."""

    tools: ToolSet
    missing: dict[str, str]
    constraint: Constraint | None


class _Situation(NamedTuple):
    """All that narrowing depends on."""

    values: tuple[Said, ...]
    earlier_call: ToolCall | None
    """The conversation's last call, which the present request may change."""
    numbers: tuple[str, ...] | None
    """The digits of the result to be read out; None when there is none."""
    demanded: bool
    """Whether the model has no choice but to call."""


class SaidValues:
    """Narrows one model's tools, turn by turn.

    Most turns say no value or a common one: what they narrow to, and its grammar, is kept.
    """

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self._narrowed: OrderedDict[_Situation, Narrowed] = OrderedDict()

    def narrow(self, messages: Sequence[Message], *, demanded: bool = False) -> Narrowed:
        """The model's own tools as this turn may call them; `demanded`: it has to call one."""
        found = said(utterances(messages))
        if not demanded:
            found |= dict.fromkeys(_DEMANDED_KINDS, Said())
        values = tuple(found.values())
        key = _Situation(values, _earlier_call(messages), _numbers_to_read(messages), demanded)
        narrowed = self._narrowed.get(key)
        if narrowed is None:
            narrowed = _narrow(self._model, key)
            self._narrowed[key] = narrowed
            if len(self._narrowed) > _MAX_NUM_KEPT:
                self._narrowed.popitem(last=False)
        else:
            self._narrowed.move_to_end(key)
        return narrowed


def _narrow(model: TextModel, situation: _Situation) -> Narrowed:
    missing: dict[str, str] = {}
    tools = ToolSet([_narrow_one(tool, situation, missing) for tool in model.fixed_tools])
    answer = None if situation.numbers is None else _only_digits_of(situation.numbers)
    return Narrowed(tools, missing, model.constraint(tools, answer=answer))


def _numbers_to_read(messages: Sequence[Message]) -> tuple[str, ...] | None:
    if not messages or messages[-1].role is not Role.TOOL:
        return None
    return tuple(sorted(set(re.findall(r"[0-9]+", messages[-1].content))))


def _only_digits_of(numbers: tuple[str, ...]) -> Constraint:
    """Text in which every run of digits is one of `numbers`, and is not its end."""
    run = f"|({'|'.join(numbers)})[^0-9]" if numbers else ""
    return Constraint(ConstraintKind.REGEX, f"([^0-9]{run})+")


def _earlier_call(messages: Sequence[Message]) -> ToolCall | None:
    """The last call whose arguments must have been said; its id and all blanks left out.

    A client writes it, and it is kept.
    """
    call = next((m.tool_calls[-1] for m in reversed(messages) if m.tool_calls), None)
    if call is None or call.name not in _SAID_ARGUMENTS:
        return None
    try:
        arguments = msgspec.json.encode(msgspec.json.decode(call.arguments), order="sorted")
    except (msgspec.DecodeError, RecursionError):
        return None
    return ToolCall("", call.name, arguments.decode())


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


def _narrow_one(tool: ToolSpec, situation: _Situation, missing: dict[str, str]) -> ToolSpec:
    wanted = _SAID_ARGUMENTS.get(tool.name, {})
    if situation.demanded:
        wanted = wanted | _DEMANDED_ARGUMENTS.get(tool.name, {})
    if not wanted:
        return tool
    properties: dict[str, dict[str, Any]] = dict(tool.parameters["properties"])
    required = list(tool.parameters.get("required", ()))
    earlier = _arguments_of(situation.earlier_call, tool)
    for name, (kind, question) in wanted.items():
        found = dict(zip(Kind, situation.values, strict=True))[kind]
        allowed = [value for value in found.values if _in_range(value, properties[name])]
        is_required = name in required
        if is_required and not found.values and name in earlier:
            allowed = [earlier[name]]
        if allowed:
            properties[name] = {"type": properties[name]["type"], "enum": allowed}
            if not is_required:
                required.append(name)  # said, it cannot be left out
            continue
        del properties[name]
        if is_required or found.is_unclear or found.values:
            missing.setdefault(tool.name, question)
        if is_required:
            required.remove(name)
    parameters = {**tool.parameters, "properties": properties, "required": required}
    return msgspec.structs.replace(tool, parameters=parameters)


def _arguments_of(call: ToolCall | None, tool: ToolSpec) -> Arguments:
    if call is None or call.name != tool.name:
        return {}
    return check_arguments(tool, call.arguments) or {}


def _in_range(value: int | str, schema: dict[str, Any]) -> bool:
    if isinstance(value, str):
        return True
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
