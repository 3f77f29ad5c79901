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


_FILLER = frozenset(
    "please thanks thank you um uh er hm hmm well so oh and that it is that's it's alright all "
    "right then now me for by to i do the a just just's really very much my dear of course "
    "sounds looks ahead with on know".split()
)
_YES = frozenset(
    "yes yeah yep yup ya aye sure ok okay okey correct confirm confirmed confirming agreed "
    "absolutely definitely certainly affirmative proceed exactly course go good fine perfect "
    "great".split()
)
_NO = frozenset(
    "no nope nah not don't dont never stop cancel cancelled abort wait hold forget wrong "
    "neither decline nevermind mind leave".split()
)
_WORD = re.compile(r"[a-z']+|\d+")
_MAX_WORDS = 8
_NEGATED_YES = re.compile(r"\b(not sure|not yet|not okay|not ok)\b")
_STRONG = re.compile(r"\b(do it|go ahead|please do|of course|that's right|that is right)\b")


def read_consent(reply: str) -> Consent:
    """What the reply means.

    YES needs at least one word of agreement and nothing in the reply but agreement and filler: a
    number, a name or any other content word may be a correction ("yes but fifty"). NO needs one
    word of refusal in a short reply. Everything else is UNCLEAR.
    """
    text = reply.lower().replace("’", "'")
    words = _WORD.findall(text)
    if not words or len(words) > _MAX_WORDS:
        return Consent.UNCLEAR
    if _NEGATED_YES.search(text):
        return Consent.NO
    refuses = any(word in _NO for word in words)
    others = [word for word in words if word not in _YES and word not in _FILLER]
    if refuses:
        contents = [word for word in others if word not in _NO]
        return Consent.NO if not contents else Consent.UNCLEAR
    agrees = any(word in _YES for word in words) or _STRONG.search(text) is not None
    return Consent.YES if agrees and not others else Consent.UNCLEAR
