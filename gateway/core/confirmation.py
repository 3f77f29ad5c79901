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
    UNCLEAR = "unclear"
    """Neither: the action is dropped and the reply is treated as a new request."""


_YES = (
    "yes", "yeah", "yep", "yup", "ya", "aye", "sure", "sure thing", "ok", "okay", "okey",
    "correct", "confirm", "confirmed", "confirm it", "i confirm", "i agree", "agreed", "i do",
    "absolutely", "definitely", "certainly", "affirmative", "exactly", "of course", "proceed",
    "go ahead", "go for it", "go on", "do it", "do that", "please do", "that's right",
    "that is right", "that's correct", "that is correct", "that's fine", "that is fine",
    "that's okay", "that's ok", "it is", "sounds good", "fine", "perfect", "great",
    "all right", "alright", "yes it is", "yes that is", "you can", "you may",
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
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def _sequence_of(*phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Matches texts made of these phrases and nothing else, each followed by a space."""
    longest_first = sorted((p for group in phrases for p in group), key=len, reverse=True)
    return re.compile("(?:(?:" + "|".join(map(re.escape, longest_first)) + ") )+")


_ONLY_FILLER = _sequence_of(_FILLER)
_ONLY_YES = _sequence_of(_YES, _FILLER)
_ONLY_NO = _sequence_of(_NO, _FILLER)
_ONLY_EITHER = _sequence_of(_YES, _NO, _FILLER)


def read_consent(reply: str) -> Consent:
    """What the reply means.

    YES is a reply that consists of agreement and filler and of nothing else: a number, a name or
    any other word may be a correction ("yes but fifty"), a question is none. NO consists of
    refusal, agreement ("yes no wait") and filler. Everything else is UNCLEAR, which also does
    nothing.
    """
    text = reply.lower().replace("’", "'")
    said = "".join(f"{word} " for word in _WORD.findall(text))
    if "?" in text or not said or _ONLY_FILLER.fullmatch(said):
        return Consent.UNCLEAR
    # Refusal first: "of course not" begins like agreement.
    if _ONLY_NO.fullmatch(said):
        return Consent.NO
    if _ONLY_YES.fullmatch(said):
        return Consent.YES
    return Consent.NO if _ONLY_EITHER.fullmatch(said) else Consent.UNCLEAR
