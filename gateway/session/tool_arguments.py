"""Check a model's tool arguments against the flat object schemas of the assistant's tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from gateway.core.turn import ToolSpec
    from gateway.session.care import Arguments


def check_arguments(spec: ToolSpec, text: str) -> Arguments | None:
    """The arguments as a dict, or None when they are not what the tool's schema allows."""
    try:
        arguments = msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    properties: dict[str, dict[str, Any]] = spec.parameters.get("properties", {})
    required = spec.parameters.get("required", ())
    if any(name not in arguments for name in required):
        return None
    if any(name not in properties for name in arguments):
        return None
    fits = all(_fits(value, properties[name]) for name, value in arguments.items())
    return arguments if fits else None


def _fits(value: object, schema: dict[str, Any]) -> bool:
    if value not in schema.get("enum", (value,)):
        return False
    match schema.get("type"):
        case "integer":
            if not isinstance(value, int) or isinstance(value, bool):
                return False
            low, high = schema.get("minimum", value), schema.get("maximum", value)
            return bool(low <= value <= high)
        case "string":
            return isinstance(value, str)
        case _:
            return True
