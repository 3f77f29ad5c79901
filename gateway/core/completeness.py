"""Is what a caller has said so far a whole request for this assistant?

A pause tells little: people stop for a second in the middle of a sentence, and say nothing more
after a whole one. The words tell more. What ends in "my" or "for twenty" goes on; what names a
thing and what is to become of it is whole. An assistant brings what its callers' requests end like
(`Endings`, a linear model over the first and the last words); without it only the plainest rules
speak, and all else is UNCLEAR.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from gateway.core.confirmation import Consent, read_consent
from gateway.core.values import tokens_of, with_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Completeness(StrEnum):
    """What the words so far are."""

    COMPLETE = "complete"
    """A whole request, question or answer."""
    UNCLEAR = "unclear"
    INCOMPLETE = "incomplete"
    """Something must follow."""


class Endings(msgspec.Struct, frozen=True):
    """What whole requests of one assistant's callers look like."""

    weights: dict[str, float]
    """By feature, see `features_of`; what is not here weighs nothing."""
    complete_from: float
    """Words with at least this sum are a whole request."""
    incomplete_below: float

    def judge(self, words: Sequence[str], *, answers: bool) -> Completeness:
        """Judge what has been said."""
        score = sum(self.weights.get(one, 0.0) for one in features_of(words, answers=answers))
        if score >= self.complete_from:
            return Completeness.COMPLETE
        return Completeness.INCOMPLETE if score < self.incomplete_below else Completeness.UNCLEAR


_MARKS = frozenset(".,;:?!€£¥")
_UNITS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen".split()
)
_TENS = frozenset("twenty thirty forty fifty sixty seventy eighty ninety".split())
_HUNDREDS = frozenset({"hundred", "thousand"})
_MAX_NUM_WORDS = 9
"""Longer requests are all of one length."""
_HESITATION = re.compile(r"\b(?:u[hm]+|uhm|er+m?|hm+)[\s.,]*$")
_OPEN_ENDS = frozenset(
    "a an the my your our his her their and or but because if of for to from with at by in i we "
    "is are was were am can could would will want".split()
)
"""No sentence ends with these."""


def judge_completeness(
    text: str, endings: Endings | None = None, *, answers: bool = False
) -> Completeness:
    """Judge the words so far, as a recogniser writes them.

    `answers`: the agent has just put a question, so that a word alone may be all there is to say.
    """
    if _HESITATION.search(text.lower()):
        return Completeness.INCOMPLETE
    words = words_of(text)
    if not words:
        return Completeness.UNCLEAR
    if answers and read_consent(text) in (Consent.YES, Consent.NO):
        return Completeness.COMPLETE
    if words[-1] in _OPEN_ENDS:
        return Completeness.INCOMPLETE
    return Completeness.UNCLEAR if endings is None else endings.judge(words, answers=answers)


def words_of(text: str) -> list[str]:
    """The words of an utterance."""
    return [token for token in tokens_of(text) if token not in _MARKS]


def features_of(words: Sequence[str], *, answers: bool) -> Iterator[str]:
    """What an ending is judged by: its last words, the first two, the kinds of values said, and
    each earlier word, alone and with the last one: "pay" asks for an amount. Words count as they
    are and with values as their kinds. `answers` counts with the last word, the number of words and
    the kinds."""
    reply = "?" if answers else ""
    plain, by_kind = [_word(word) for word in words], with_kinds(list(words))
    kinds = ",".join(sorted({word for word in by_kind if word.startswith("<")}))
    last = by_kind[-1]
    yield f"n{min(len(words), _MAX_NUM_WORDS)}{reply}"
    yield f"k:{kinds}{reply}"
    yield f"k1:{kinds} {last}"
    if answers:
        yield f"1?:{last}"
    for form in (plain, by_kind) if plain != by_kind else (plain,):
        yield f"f:{form[0]}"
        yield f"g:{' '.join(form[:2])}"
    yield from sorted(_ends(plain) | _ends(by_kind))
    for word in sorted({*plain[:-1], *by_kind[:-1]}):
        yield f"w:{word}"
    for word in sorted(set(by_kind[:-1])):
        yield f"p:{word} {last}"


def _ends(words: Sequence[str]) -> set[str]:
    """The last one, two, three and four words."""
    padded = ["<", "<", "<", *words]
    return {f"{num}:{' '.join(padded[-num:])}" for num in (1, 2, 3, 4)}


def _word(token: str) -> str:
    """Numbers as what may follow them: `#1`, `#10` or `#100`."""
    if token in _UNITS:
        return "#1"
    if token in _TENS:
        return "#10"
    if token in _HUNDREDS:
        return "#100"
    if token.lstrip("$").isdecimal():
        return "#10" if token.endswith("0") and len(token.lstrip("$")) == 2 else "#1"
    return token
