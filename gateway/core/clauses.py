"""Where the text of an answer can be cut so that speech of its beginning is made before its end.

The first clause goes at once, because the caller waits for it; later ones are whole sentences,
because they sound better. No cut falls into a number, an amount or an abbreviation: a mark ends a
clause only before white space.
"""

from __future__ import annotations

import re

_MAX_CHARS = 160
"""Text without any mark is cut between words when it is so long."""
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr st no nr vs approx e.g i.e etc a.m p.m u.s jan feb mar apr jun jul aug sep sept "
    "oct nov dec mon tue wed thu fri sat sun".split()
)
"""After these a full stop ends nothing. Weekdays and months in their short forms."""
_FIRST_END = re.compile(r"[.,;:!?…]['\")\]]*\s+|\s[–—-]\s+|\n+")
_LATER_END = re.compile(r"[.;:!?…]['\")\]]*\s+|\n+")
_SPACE = re.compile(r"(?<!\d)\s+(?!\d)")
_UNSPOKEN = re.compile(r"\(ref [A-Z0-9]{5}\)|[*_`#]+")
"""References of read-backs (see `session.server_tools`) and marks of formatting."""


class Clauses:
    """Cuts one answer. What it gives out is, put together, the text that it was given."""

    def __init__(self) -> None:
        self._text = ""
        self._is_first = True

    def feed(self, text: str) -> list[str]:
        """More text; the clauses that are whole now, white space after them included."""
        self._text += text
        clauses = []
        while (end := self._end()) is not None:
            clauses.append(self._text[:end])
            self._text = self._text[end:]
            self._is_first = False
        return clauses

    def finish(self) -> str:
        """The rest, once there is no more text; may be empty."""
        rest, self._text = self._text, ""
        return rest

    def _end(self) -> int | None:
        """Where the clause at the front ends, or None while that is not known."""
        for mark in (_FIRST_END if self._is_first else _LATER_END).finditer(self._text):
            if mark.end() == len(self._text) and "\n" not in mark[0]:
                return None  # more white space may follow, and a clause keeps its own
            if not self._is_abbreviation(mark.start()) and self._text[: mark.start()].strip():
                return mark.end()
        if len(self._text) < _MAX_CHARS:
            return None
        spaces = [space.end() for space in _SPACE.finditer(self._text, 1, _MAX_CHARS)]
        return spaces[-1] if spaces else None

    def _is_abbreviation(self, at: int) -> bool:
        if self._text[at] != ".":
            return False
        word = self._text[:at].rsplit(maxsplit=1)[-1:] or [""]
        return word[0].lower().lstrip("(\"'") in _ABBREVIATIONS


def spoken_form(clause: str) -> str:
    """A clause without what is written for eyes and machines only; empty when nothing is left."""
    spoken = _UNSPOKEN.sub("", clause).strip()
    return spoken if re.search(r"\w", spoken) else ""
