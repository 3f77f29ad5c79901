"""Stop strings: text goes out as soon as it cannot be the beginning of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class StopScanner:
    """Cuts a stream of text before the stop string that is complete first.

    Of two that end at the same character the one that starts first counts. Text that may turn out
    to begin a stop string is held back until the next piece or `flush` decides.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.hit = False
        """A stop string was found; nothing comes out any more."""

    def feed(self, text: str) -> tuple[str, bool]:
        """The text that is safe to show now, and whether a stop string was hit."""
        if self.hit or not self._stops:
            return ("" if self.hit else text), self.hit
        text = self._held + text
        found = [(start + len(s), start) for s in self._stops if (start := text.find(s)) >= 0]
        if found:
            self.hit = True
            self._held = ""
            return text[: min(found)[1]], True
        num_safe = len(text) - partial_suffix_chars(text, self._stops)
        self._held = text[num_safe:]
        return text[:num_safe], False

    def flush(self) -> str:
        """The text held back, when no more follows to complete a stop string."""
        held, self._held = self._held, ""
        return held


def partial_suffix_chars(text: str, needles: Sequence[str]) -> int:
    """The length of the longest end of `text` that begins one of `needles` without ending it."""
    longest = 0
    for needle in needles:
        for num_chars in range(min(len(needle) - 1, len(text)), longest, -1):
            if text.endswith(needle[:num_chars]):
                longest = num_chars
                break
    return longest
