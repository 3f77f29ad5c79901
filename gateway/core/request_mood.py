"""How a caller speaks of an action: asks for it, asks about it, tells of it or does not want it.

A small model hears "pause the wifi" in "what happens if I pause the wifi?" and calls the tool all
the same. Whether a call then runs at once is decided here, from the caller's words by plain rules.
The rules err towards asking: what they take for a question is read back, and nothing is lost.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Mood(StrEnum):
    """What the words make of an action that they name."""

    REQUEST = "request"
    """It is asked for: "restart it", "could you send someone", "I need a pass"."""
    STATED = "stated"
    """None of the others: "my router is stuck", "Monday morning"."""
    QUESTION = "question"
    """It is asked about, supposed, or both wanted and not."""
    PAST = "past"
    """The caller tells of it: "I just restarted it"."""
    REFUSED = "refused"
    """It shall not be done: "don't cancel my visit"."""
    UNWANTED = "unwanted"
    """A thing is not needed: "I don't need a pass"."""


_VERBS = (
    "restart|reboot|reset|reload|power|turn|switch|pause|suspend|stop|block|disable|cut|cancel|"
    "call|scrap|send|book|schedule|arrange|add|activate|enable|buy|order|purchase|give|pay|change|"
    "move|upgrade|downgrade|put"
)
_IMPERATIVES = f"{_VERBS}|get|make|take|do|set|let|have|sort|bring|sign|start|need|want|yes"
_DONE = (
    "restarted|rebooted|reset|paused|cancelled|canceled|booked|added|bought|ordered|paid|sent|"
    "activated|scheduled|turned|switched|unplugged|changed|blocked"
)
_SOFT = r"(?:(?:please|just|also|maybe|possibly|now|perhaps) )*"
_TELL = "tell|explain|remind|let me know|confirm|say"
_WH = "what|how|why|which|who|where|when"
_OPENING = (
    r"^\s*(?:(?:hi|hey|hello|there|please|so|and|um|uh|er|well|ok|okay|yes|yeah|sure|oh|now|then|"
    r"just|also|but|alright|sorry|actually|no)\s+)*"
)
_NOT = r"(?<!why )\b(?:don't|dont|do not|never|no need to|can you not|could you not|please not)"


def _cue(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


_CUES: tuple[tuple[re.Pattern[str], Mood], ...] = (
    (_cue(r"\bwhy don't you\b"), Mood.REQUEST),
    (
        _cue(rf"{_NOT} (?:(?:want|need|you|to|me|please|ever|just|go|and) )*(?:{_VERBS})\b"),
        Mood.REFUSED,
    ),
    (
        _cue(
            rf"{_NOT} (?:really |actually )?(?:need|want)\b"
            r"(?!.*\b(?:any ?more|any longer|after all)\b)"
        ),
        Mood.UNWANTED,
    ),
    (_cue(rf"\b(?:can|could|would|will) you {_SOFT}(?:{_TELL})\b"), Mood.QUESTION),
    (_cue(r"\b(?:can|could|would|will) you\b|\bif you (?:can|could|would)\b"), Mood.REQUEST),
    (_cue(r"\bdo you mind\b|\bany chance you\b"), Mood.REQUEST),
    (
        _cue(
            rf"\b(?:can|could|may|might) (?:i|we) {_SOFT}"
            r"(?:have|get|book|add|order|request|schedule|arrange|ask|buy)\b"
        ),
        Mood.REQUEST,
    ),
    (
        _cue(
            rf"{_OPENING}(?:{_WH}|what's|how's|does|did|is|are|was|were|am|should|shall|has|"
            r"isn't|aren't|doesn't|can|could|will|would|may|might|(?:do|have|had) "
            r"(?:i|you|we|they|my))\b"
        ),
        Mood.QUESTION,
    ),
    (
        _cue(
            rf"\b(?:{_WH}) (?:is|are|was|were|do|does|did|happens|would|will|can|could|should|"
            r"much|many|long|often|about|to|if)\b|\bwhat's\b|\b(?:if|should|shall) (?:i|we)\b"
            r"|\b(?:know|wonder|wondering) (?:if|whether)\b"
        ),
        Mood.QUESTION,
    ),
    (_cue(rf"\b(?:i|we)(?:'ve| have| had)?(?: just| already)* (?:{_DONE})\b"), Mood.PAST),
    (_cue(rf"\bplease (?:{_IMPERATIVES})\b"), Mood.REQUEST),
    (_cue(rf"{_OPENING}(?:{_IMPERATIVES})\b"), Mood.REQUEST),
)
"""In order of weight where two begin at the same place; else the later one in a clause counts."""
_WISH = re.compile(
    r"\b(?:i|we)(?:'d| would| do)? (?:really |just |also )?(?:like|love|want|need)\b"
    r"|\b(?:i|we)'ll (?:take|have|need|want)\b|\band need\b|\blet's\b"
)
"""Asks for something, unless it stands in a question: "do I need a technician"."""
_CLAUSE = re.compile(r"[^.,;:!?\n]+\??")


def read_mood(utterances: Sequence[str]) -> Mood:
    """The mood of a request that was made in these utterances, oldest first.

    The latest that has one decides: "Monday morning" only fills in what was asked for before.
    """
    for utterance in reversed(utterances):
        if (mood := _mood_of(utterance)) is not Mood.STATED:
            return mood
    return Mood.STATED


def _mood_of(utterance: str) -> Mood:
    text = re.sub(r"[ \t]+", " ", utterance.lower().replace("’", "'"))
    moods = [_mood_of_clause(clause) for clause in _CLAUSE.findall(text)]
    shown = [mood for mood in moods if mood is not Mood.STATED]
    if not shown:
        if "?" in text:
            return Mood.QUESTION
        return Mood.REQUEST if re.search(r"\bplease\b", text) else Mood.STATED
    if shown[-1] is Mood.QUESTION and Mood.PAST in shown:
        return Mood.PAST
    is_mixed = len(set(shown)) > 1
    if is_mixed and not {Mood.REFUSED, Mood.UNWANTED}.isdisjoint(shown):
        return Mood.QUESTION
    return shown[-1]


def _mood_of_clause(clause: str) -> Mood:
    """By the last cue in the clause; of those that begin together by the weightiest."""
    found = [
        (match.start(), -weight, mood)
        for weight, (pattern, mood) in enumerate(_CUES)
        for match in pattern.finditer(clause)
    ]
    if not found:
        return Mood.REQUEST if _WISH.search(clause) else Mood.STATED
    moods = [mood for _, _, mood in found]
    for weighty in (Mood.REFUSED, Mood.UNWANTED):
        if weighty in moods:
            return weighty
    at, _, mood = max(found)
    if mood is Mood.REQUEST and at == 0 and clause.endswith("?") and not _is_polite(clause):
        return Mood.QUESTION
    return mood


def _is_polite(clause: str) -> bool:
    return re.search(r"\b(?:please|you|i|we)\b", clause) is not None
