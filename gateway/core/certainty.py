"""Is a recogniser sure enough of what a caller said to act on it?"""

from __future__ import annotations

from typing import Final

_UNDERSTOOD: Final = 0.05
"""The confidence from which words are acted on. Of what the default recogniser hears well, in quiet
and in noise, some 2 % lies below it; of what it garbles, most (`loadtests.hearing_confidence`)."""
_MAX_ASKED: Final = 2
"""A caller who is asked more often in a row is not helped by it: then the words count as they are,
and what cannot be undone is read back anyway."""


class Understanding:
    """Of one caller: whether his words are acted on, or he is asked to say them again."""

    def __init__(self) -> None:
        self._num_asked = 0

    def is_clear(self, confidence: float | None) -> bool:
        """Judge what was heard in a turn. `confidence`: 0 to 1, None: the recogniser is silent."""
        is_sure = confidence is None or confidence >= _UNDERSTOOD
        is_clear = is_sure or self._num_asked >= _MAX_ASKED
        self._num_asked = 0 if is_clear else self._num_asked + 1
        return is_clear
