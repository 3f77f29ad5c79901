"""How a call takes turns: what a client may set, and the pauses that follow from it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.completeness import Completeness

if TYPE_CHECKING:
    from collections.abc import Mapping


class TurnMode(StrEnum):
    """What ends a caller's turn."""

    SEMANTIC = "semantic"
    """A pause, short after a whole request and long after half a one (`semantic_vad`)."""
    FIXED = "fixed"
    """A pause of a fixed length (`server_vad`)."""
    MANUAL = "manual"
    """The client alone, by `commit`; nothing interrupts the agent either."""


class Eagerness(StrEnum):
    """How soon a semantic turn ends."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    AUTO = "auto"
    """As medium."""


_MEDIUM: Final[dict[Completeness, float]] = {
    Completeness.COMPLETE: 0.096,
    Completeness.UNCLEAR: 1.5,
    Completeness.INCOMPLETE: 1.8,
}
_PAUSES_S: Final[Mapping[Eagerness, Mapping[Completeness, float]]] = {
    Eagerness.HIGH: {
        Completeness.COMPLETE: 0.064,
        Completeness.UNCLEAR: 0.7,
        Completeness.INCOMPLETE: 1.5,
    },
    Eagerness.MEDIUM: _MEDIUM,
    Eagerness.AUTO: _MEDIUM,
    Eagerness.LOW: {
        Completeness.COMPLETE: 0.5,
        Completeness.UNCLEAR: 2.0,
        Completeness.INCOMPLETE: 4.0,
    },
}
"""The pause that ends a turn, by what was said before it. Callers stop for up to 1.5 s inside a
sentence; voice activity sees the end of speech 0.05 to 0.1 s late, which comes on top. Measured by
`loadtests/endpointing.py`. The Realtime API waits at most 8, 4 and 2 s (low, medium, high)."""


class TurnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one call takes turns. The defaults are the Realtime API's where it has them."""

    mode: TurnMode = TurnMode.SEMANTIC
    threshold: float = 0.5
    """The probability of speech from which a window counts as speech."""
    prefix_padding_s: float = 0.3
    """Sound before the speech that belongs to the utterance."""
    silence_s: float = 0.5
    """FIXED: the pause that ends a turn."""
    eagerness: Eagerness = Eagerness.AUTO
    """SEMANTIC: how long it waits."""
    may_interrupt: bool = True
    """Whether the caller's speech stops the agent's."""
    idle_timeout_s: float | None = None
    """Silence on both sides, after the agent spoke, until `Idle` is told; None: never."""
    max_turn_s: float = 60.0
    """A turn ends then, also in the middle of a word."""
    max_call_s: float = 3600.0

    def pause_s(self, completeness: Completeness) -> float:
        """The pause that ends a turn after such words."""
        match self.mode:
            case TurnMode.SEMANTIC:
                return _PAUSES_S[self.eagerness][completeness]
            case TurnMode.FIXED:
                return self.silence_s
            case TurnMode.MANUAL:
                return float("inf")
