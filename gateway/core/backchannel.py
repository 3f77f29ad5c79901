"""Does a caller who speaks while the agent speaks want to say something?

Listeners say "uh-huh" and "okay" all the time. An agent that stops at each of them is unbearable,
one that talks on over "no wait" is worse. Decided from the words by plain rules.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Talk(StrEnum):
    """What the words said over the agent amount to."""

    NOTHING = "nothing"
    """No words."""
    BACKCHANNEL = "backchannel"
    """Only signs of listening."""
    FRAGMENT = "fragment"
    """One other word, which may be a mishearing."""
    WORDS = "words"
    """Somebody says something."""


_LISTENING = frozenset(
    (
        "uh huh mm mhm hm hmm um er ah oh ooh aha wow yeah yes yep yup ya yah okay ok kay right "
        "alright all sure fine good great cool nice perfect lovely thanks thank you i see got it "
        "true indeed exactly really very well so and"
    ).split()
)
"""An utterance of these alone goes along with what is said."""
_SIGNS = frozenset(
    (
        "uh huh mm mhm hm hmm um er ah oh aha wow yeah yes yep yup ya okay ok right alright sure "
        "fine good great cool nice perfect lovely thanks thank see got true indeed exactly really"
    ).split()
)
"""Of these, one at least must be there: "and so" alone is the start of something."""
_STOPS = frozenset("no nope stop wait hang hold sorry excuse pardon hello hey cancel but".split())
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_MAX_NUM_SIGNS = 6
"""Longer ones are speeches."""


def read_talk(text: str, *, answers: bool = False) -> Talk:
    """What the words so far amount to.

    `answers`: the agent has put its question already, so that "yes" answers it.
    """
    words = _WORD.findall(text.lower().replace("’", "'"))
    if not words:
        return Talk.NOTHING
    if answers or not _STOPS.isdisjoint(words):
        return Talk.WORDS
    if _LISTENING.issuperset(words) and not _SIGNS.isdisjoint(words):
        return Talk.BACKCHANNEL if len(words) <= _MAX_NUM_SIGNS else Talk.WORDS
    others = [word for word in words if word not in _LISTENING]
    return Talk.WORDS if len(words) > 1 and others else Talk.FRAGMENT
