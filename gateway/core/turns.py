"""When a caller's turn begins and ends, and whether the agent is interrupted."""

from __future__ import annotations

from enum import StrEnum


class EndReason(StrEnum):
    """Why a turn has ended."""

    COMPLETE = "complete"
    """A short pause after what is a whole request."""
    SILENCE = "silence"
    """A pause that is long enough after anything."""
    TOO_LONG = "too_long"
    """The turn has reached its maximum duration."""
    COMMITTED = "committed"
    """The client said so."""


class FalseInterruption(StrEnum):
    """What sounded like an interruption and was none."""

    NOISE = "noise"
    """Nothing like words: a cough, a door."""
    BACKCHANNEL = "backchannel"
    """Words that only say "I am listening": "uh-huh", "okay"."""
