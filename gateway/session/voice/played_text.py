"""Which text of an answer was heard, when so many seconds of its sound were."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.speech.port import TimedWord

_WORD = re.compile(r"\S+\s*")


@dataclass(slots=True)
class SaidClause:
    """A clause and where its sound lies in the answer's."""

    text: str
    start_s: float
    end_s: float
    is_spoken: bool = True
    """False for what is written only, as a reference is: it is heard with what is before it."""
    words: tuple[TimedWord, ...] = ()
    """Their times count from the clause's start. Empty where the engine has none."""

    def num_words_begun(self, played_s: float, num_words: int) -> int:
        """How many of its words had begun when `played_s` of the answer were played.

        By the engine's times, where it has spoken as many words as are written ("$5" is one and
        spoken as two); else as if all letters took the same time.
        """
        if len(self.words) == num_words:
            return sum(word.start_s < played_s - self.start_s for word in self.words)
        share = (played_s - self.start_s) / max(self.end_s - self.start_s, 1e-9)
        num_chars = share * len(self.text)
        starts = (match.start() for match in _WORD.finditer(self.text))
        return sum(start < num_chars for start in starts)


def played_text(clauses: Sequence[SaidClause], played_s: float) -> str:
    """The beginning of the answer that was heard: the word that was cut off is the last."""
    heard = []
    for clause in clauses:
        has_sound = clause.end_s > clause.start_s
        if clause.end_s <= played_s and (has_sound or not clause.is_spoken):
            heard.append(clause.text)
            continue
        words = _WORD.findall(clause.text)
        num_begun = clause.num_words_begun(played_s, len(words))
        heard += words[:num_begun]
        break
    return "".join(heard)
