"""What callers of the assistant begin with: the hand-written openings of its development cases."""

from __future__ import annotations

from typing import Final, NamedTuple

from models.subscriber_care.cases import read_cases
from models.subscriber_care.format import Heard

_ASKS_FOR_MORE: Final = frozenset({"slot_filling", "values", "noise"})
"""Categories of cases whose opening, where no call is expected, lacks a value."""


class Opening(NamedTuple):
    """What is said, and whether the assistant can act on it or answer; else it has to ask."""

    text: str
    is_whole: bool


def openings() -> list[Opening]:
    """Those of cases that are over with it."""
    return [
        Opening(case.turns[0].text, case.call is not None or case.category not in _ASKS_FOR_MORE)
        for case in read_cases()
        if len(case.turns) == 1 and isinstance(case.turns[0], Heard)
    ]
