"""How deeply JSON values may be nested, since most of what handles them walks them by recursion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_JSON_DEPTH = 64
"""Objects and arrays inside each other; schemas that people write stay below a dozen."""


def is_too_deep(value: object) -> bool:
    """Whether a decoded JSON value is nested deeper than `MAX_JSON_DEPTH`."""
    level = _containers([value])
    for _ in range(MAX_JSON_DEPTH):
        level = _containers(
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
        )
    return bool(level)


def _containers(values: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [value for value in values if isinstance(value, dict | list)]
