"""Has the caller said yes? Read-back of irreversible actions, decided by plain rules.

An action that cannot be undone is read back by the session and done only on a clear yes. A model
has no part in it: what counts as consent must be the same every time and easy to audit.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Consent(StrEnum):
    """What a reply to a read-back means."""

    YES = "yes"
    NO = "no"
    HESITANT = "hesitant"
    """Neither, and no request of its own ("yes but", "um", "ok?"): the question is put again."""
    UNCLEAR = "unclear"
    """Neither: the action is dropped and the reply is treated as a new request."""


_YES = (
    "yes", "yeah", "yep", "yup", "ya", "aye", "sure", "sure thing", "ok", "okay", "okey",
    "correct", "confirm", "confirmed", "confirm it", "i confirm", "i agree", "agreed", "i do",
    "absolutely", "definitely", "certainly", "affirmative", "exactly", "of course", "proceed",
    "go ahead", "go for it", "do it", "do that", "please do", "that's right",
    "that is right", "that's correct", "that is correct", "sounds good", "all right", "alright",
)  # fmt: skip
_NO = (
    "no", "nope", "nah", "not now", "not yet", "not today", "don't", "dont", "do not",
    "don't do it", "don't do that", "do not do it", "do not do that", "never", "never mind",
    "nevermind", "stop", "stop it", "cancel", "cancel it", "cancel that", "wait", "hold on",
    "forget it", "forget that", "wrong", "that's wrong", "that is wrong", "leave it", "no way",
    "not sure", "i'm not sure", "i am not sure", "i don't want to", "i don't want that",
    "i don't want it", "i changed my mind", "of course not", "absolutely not", "certainly not",
    "definitely not", "not okay", "not ok",
)  # fmt: skip
_FILLER = (
    "um", "uh", "er", "erm", "hm", "hmm", "mm", "well", "so", "oh", "ah", "please", "thanks",
    "thank you", "thank you very much", "now", "then", "and", "just", "for me", "actually",
)  # fmt: skip
_SUPPORT = (
    "great", "perfect", "go on", "it is", "that is", "you can", "you may", "why not", "fine",
    "that's fine", "that is fine", "that's okay", "that is okay", "that's ok", "that is ok",
)  # fmt: skip
"""Goes along with agreement; alone it may be about something else, or a polite no."""
_HESITATION = (
    "but", "really", "what", "sorry", "pardon", "right", "is it", "is that", "do i confirm",
    "let me think", "one moment", "one second", "a moment", "a second",
)  # fmt: skip

_PHRASES = {_YES: 0b01, _NO: 0b10, _FILLER: 0, _SUPPORT: 0, _HESITATION: 0b100}
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_PLAIN = re.compile(r"[\w\s.,;:!'\"“”()-]*")
"""Other marks may turn the words around: a question mark of any script, a thumb down."""

_SURE = 0.5
"""The confidence from which a recogniser's yes is one; assumed, to be measured with real voices."""


def phrases() -> list[str]:
    """Every phrase that replies are made of, for whoever must expect to hear them."""
    return [phrase for group in _PHRASES for phrase in group]


def _by_first_word() -> dict[str, list[tuple[list[str], int]]]:
    table: dict[str, list[tuple[list[str], int]]] = {}
    for phrases, meaning in _PHRASES.items():
        for phrase in phrases:
            words = phrase.split()
            table.setdefault(words[0], []).append((words, meaning))
    return table


_TABLE = _by_first_word()


def read_consent(reply: str) -> Consent:
    """What the reply means.

    YES is a reply that consists of agreement and filler and of nothing else: a number, a name or
    any other word may be a correction ("yes but fifty"), a question is none. NO consists of
    refusal, agreement ("yes no wait") and filler. HESITANT asks or says neither, in such words
    only. Everything else is UNCLEAR, which also does nothing.
    """
    text = reply.lower().replace("’", "'")
    if not _PLAIN.fullmatch(text.replace("?", "")):
        return Consent.UNCLEAR
    meanings = _meanings(_WORD.findall(text))
    if "?" not in text:
        # Refusal first: "of course not" begins like agreement.
        if 0b10 in meanings:
            return Consent.NO
        if 0b01 in meanings:
            return Consent.YES
        if 0b11 in meanings:
            return Consent.NO
    return Consent.HESITANT if meanings else Consent.UNCLEAR


def unless_unsure(reply: str, confidence: float | None) -> str:
    """A reply as a recogniser heard it; with a question mark if it is a yes it is not sure of.

    An action that cannot be undone must not rest on a guess: a yes in doubt is HESITANT, and the
    question is put again. `confidence`: 0 to 1, None where the recogniser does not say.
    """
    is_unsure = confidence is not None and confidence < _SURE
    return f"{reply}?" if is_unsure and read_consent(reply) is Consent.YES else reply


def _meanings(words: list[str]) -> set[int]:
    """What the words mean, by every way to read them as known phrases, one after another."""
    reached: list[set[int]] = [{0}, *(set[int]() for _ in words)]
    for at, word in enumerate(words):
        for phrase, meaning in _TABLE.get(word, ()) if reached[at] else ():
            end = at + len(phrase)
            if words[at:end] == phrase:
                reached[end] |= {so_far | meaning for so_far in reached[at]}
    return reached[-1]
