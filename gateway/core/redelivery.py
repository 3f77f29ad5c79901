"""An answer that is told again to a client who has part of it."""

from __future__ import annotations

from typing import NamedTuple


class Passage(NamedTuple):
    """Text that goes out now."""

    text: str
    is_restart: bool = False
    """What the client has is void; `text` begins the answer anew."""


class Redelivery:
    """Holds text back until it goes beyond what was received, or is seen to differ from it."""

    def __init__(self, received: str = "") -> None:
        self._received = received
        self._held = ""

    def feed(self, text: str) -> Passage:
        """More of the answer."""
        if not self._received:
            return Passage(text)
        self._held += text
        if self._held.startswith(self._received):
            return self._release(len(self._received), is_restart=False)
        if self._received.startswith(self._held):
            return Passage("")
        return self._release(0, is_restart=True)

    def end(self) -> Passage:
        """The answer is over; it may be shorter than what was received."""
        return self._release(0, is_restart=True) if self._received else Passage("")

    def _release(self, at: int, *, is_restart: bool) -> Passage:
        text = self._held[at:]
        self._received = self._held = ""
        return Passage(text, is_restart)
