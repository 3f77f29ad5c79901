"""Is the caller who he says he is? A code, asked for before account data is spoken.

Decided from the conversation alone: the question and a reply with the right code verify the caller
for the rest of it. Who makes such a conversation up must know the code, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.turn import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.turn import Message

QUESTION = "Before I do that, could you tell me the four digits of your security code?"
_NUM_DIGITS = 4
_MIN_DIGITS = 3
"""A reply with fewer says something else: "two weeks". One digit may have been misheard."""
_UNITS = {
    word: str(digit)
    for digit, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
} | {"oh": "0", "o": "0", "nought": "0"}
_TENS = {
    word: str(ten)
    for ten, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
_TIMES = {"double": 2, "triple": 3}
_TOKEN = re.compile(r"[a-z]+|\d+")
_KEY_PAUSE_S = 8.0
"""After so long without a key a code is begun anew."""


class Checked(NamedTuple):
    """A conversation without its codes, and what they say of the caller."""

    messages: tuple[Message, ...]
    """What is left once questions and codes are taken out: a model needs none of them."""
    is_verified: bool
    wrong_codes: frozenset[str]
    is_wrong_now: bool
    """The last message is a code, and not the right one."""


def check_caller(messages: Sequence[Message], code: str) -> Checked:
    """Read a conversation. A reply that is no code stays in it, as the request that it is."""
    left: list[Message] = []
    wrong = set[str]()
    is_verified = is_wrong_now = was_asked = False
    for message in messages:
        is_question = message.role is Role.ASSISTANT and asks_for_code(message.content)
        said = spelled_digits(message.content) if was_asked and message.role is Role.USER else ""
        is_code = len(said) >= _MIN_DIGITS
        is_wrong_now = is_code and said != code
        if is_wrong_now:
            wrong.add(said)
        is_verified |= is_code and said == code
        if not (is_question or is_code):
            left.append(message)
        was_asked = is_question or (was_asked and is_code)
    return Checked(tuple(left), is_verified, frozenset(wrong), is_wrong_now)


def asks_for_code(text: str) -> bool:
    """Whether what the assistant said last is the question for the code."""
    return text.endswith(QUESTION)


class KeyedCode:
    """A code that is keyed in on a telephone; any key but a digit begins it anew."""

    def __init__(self) -> None:
        self._digits = ""
        self._last_s = 0.0

    def press(self, key: str, at_s: float) -> str:
        """A key at a media time: the code, once it is whole, else nothing."""
        before = self._digits if at_s - self._last_s < _KEY_PAUSE_S else ""
        self._last_s = at_s
        digits = before + key if key.isdecimal() else ""
        is_whole = len(digits) == _NUM_DIGITS
        self._digits = "" if is_whole else digits
        return digits if is_whole else ""


def spelled_digits(text: str) -> str:
    """The digits of a code as people say them: "four two double seven", "42 77", "forty two"."""
    digits, times, has_ten = "", 1, False
    for token in _TOKEN.findall(text.lower()):
        if token in _TIMES:
            times = _TIMES[token]
            continue
        said = token if token.isdecimal() else _UNITS.get(token) or _TENS.get(token, "")
        if has_ten and not (len(said) == 1 and said != "0" and token in _UNITS):
            digits += "0"  # "forty" alone
        digits += said * times
        times, has_ten = 1, token in _TENS
    return digits + ("0" if has_ten else "")
