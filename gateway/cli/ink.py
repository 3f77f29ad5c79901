"""What a terminal can be drawn on with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import TextIO


class Ink(NamedTuple):
    """What may be drawn with: the characters of the output's encoding, and colours or none."""

    bar: str = "█"
    budget: str = "┊"
    pointer: str = "▲"
    coloured: bool = False

    def good(self, text: str) -> str:
        """What went as promised."""
        return self._coloured(text, 32)

    def bad(self, text: str) -> str:
        """What did not."""
        return self._coloured(text, 31)

    def strong(self, text: str) -> str:
        """What to read first."""
        return self._coloured(text, 1)

    def faint(self, text: str) -> str:
        """What guides the eye only."""
        return self._coloured(text, 2)

    def _coloured(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured and text else text


ASCII = Ink(bar="#", budget=":", pointer="^")


def ink_for(output: TextIO) -> Ink:
    """Colours on a terminal unless NO_COLOR is set (https://no-color.org), blocks where they
    can be encoded."""
    ink = Ink()
    try:
        f"{ink.bar}{ink.budget}{ink.pointer}".encode(output.encoding or "ascii")
    except UnicodeEncodeError:
        ink = ASCII
    return ink._replace(coloured=output.isatty() and not os.environ.get("NO_COLOR"))
