"""Is what a caller has said so far a whole request for this assistant?"""

from __future__ import annotations

from enum import StrEnum


class Completeness(StrEnum):
    """What the words so far are."""

    COMPLETE = "complete"
    """A whole request, question or answer."""
    UNCLEAR = "unclear"
    INCOMPLETE = "incomplete"
    """Something must follow."""
