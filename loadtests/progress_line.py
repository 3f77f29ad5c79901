"""One line on the terminal that says what is being done, and since when."""

from __future__ import annotations

import sys
import time

_CLEAR_LINE = "\r\x1b[K"


class ProgressLine:
    """Written to standard error where that is a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._is_shown = sys.stderr.isatty()

    def show(self, what: str) -> None:
        """Replace the line."""
        if self._is_shown:
            passed_s = time.monotonic() - self._began_s
            line = f"{_CLEAR_LINE}{passed_s:.0f} s: {what} …"
            print(line, end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take it away."""
        if self._is_shown:
            print(_CLEAR_LINE, end="", file=sys.stderr, flush=True)
