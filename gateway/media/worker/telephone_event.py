"""Keys pressed in a call: telephone-event payloads (RFC 4733 section 2.3)."""

from __future__ import annotations

from typing import Final

_DIGITS: Final = "0123456789*#ABCD"


class KeyPresses:
    """Says each press once, although it is sent in many packets.

    All packets of a press have its begin as their timestamp, and a lost first one does not matter.
    """

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def feed(self, timestamp: int, payload: bytes) -> str | None:
        """The digit whose first packet this is; None for its others and for other events."""
        if len(payload) < 4 or payload[0] >= len(_DIGITS):
            return None
        press = (timestamp, payload[0])
        if press == self._last:
            return None
        self._last = press
        return _DIGITS[payload[0]]
