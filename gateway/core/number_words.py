"""Numbers in tokens, in digits and in words, as English callers say them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

_UNITS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
} | {"fourty": 40, "fourtie": 40}


_MAX_NUM_DIGITS = 15
_BEYOND_USE = Fraction(10**_MAX_NUM_DIGITS)
"""Stands for longer numbers, which nobody means."""


class Number(NamedTuple):
    """A number at tokens [start, end)."""

    value: Fraction
    start: int
    end: int
    is_money: bool = False
    """It was written with a dollar sign."""
    is_percent: bool = False


def numbers_in(tokens: list[str]) -> list[Number]:
    """All numbers, in order. "twelve fifty" is 1250, "one and a half" 1.5, "a hundred" 100."""
    numbers: list[Number] = []
    at = 0
    while at < len(tokens):
        number = _in_digits(tokens, at) or _in_words(tokens, at)
        if number is None:
            at += 1
            continue
        number = _in_single_digits(number, tokens)
        number = _with_decimals(_as_spoken_hundreds(number, tokens), tokens)
        number = _with_part(number, tokens)
        numbers.append(number)
        at = number.end
    return numbers


def _in_digits(tokens: list[str], at: int) -> Number | None:
    token = tokens[at]
    bare = token.removeprefix("-").removeprefix("$").removesuffix("%").replace(",", "")
    if not bare[:1].isdecimal():
        return None
    value = Fraction(bare) if len(bare) <= _MAX_NUM_DIGITS else _BEYOND_USE
    value = -value if token.startswith("-") else value
    end = at + 1
    if end < len(tokens) and tokens[end] in ("hundred", "thousand") and 0 < value < 100:
        value *= 100 if tokens[end] == "hundred" else 1000
        end += 1
    return Number(value, at, end, "$" in token, token.endswith("%"))


def _in_words(tokens: list[str], at: int) -> Number | None:
    total = current = 0
    end = at
    if tokens[at] in ("a", "an") and tokens[at + 1 : at + 2] in (["hundred"], ["thousand"]):
        current, end = 1, at + 1
    while end < len(tokens):
        word = tokens[end]
        if word == "and" and (total or current >= 100) and _continues(tokens, end + 1, current):
            end += 1
            continue
        if word == "thousand" and current and not total:
            total, current = 1000 * current, 0
        elif word == "hundred" and 0 < current < 100:
            current *= 100
        elif word in _TENS and current % 100 == 0:
            current += _TENS[word]
        elif word in _UNITS and _takes_unit(current, _UNITS[word]) and (end > at or word != ""):
            current += _UNITS[word]
        else:
            break
        end += 1
        if word == "zero":
            break
    return Number(Fraction(total + current), at, end) if end > at else None


def _takes_unit(current: int, unit: int) -> bool:
    """Whether "twenty" + "one" and the like: a free place for the unit."""
    if current % 100 == 0:
        return True
    return 0 < unit < 10 and current % 10 == 0 and current % 100 >= 20


def _continues(tokens: list[str], at: int, current: int) -> bool:
    """Whether a number word that fits follows the "and"."""
    word = tokens[at] if at < len(tokens) else ""
    return (word in _TENS or word in _UNITS) and current % 100 == 0


def _in_single_digits(number: Number, tokens: list[str]) -> Number:
    """ "one five oh": 150. The same digit again is taken for a slip of the tongue."""
    digits = [word for word in tokens[number.start : number.end] if _UNITS.get(word, 10) < 10]
    if number.end - number.start != 1 or not digits:
        return number
    end = number.end
    while end < len(tokens) and (_UNITS.get(tokens[end], 10) < 10 or tokens[end] == "oh"):
        digits.append(tokens[end])
        end += 1
    if digits[-1] == "oh" and tokens[end : end + 1] not in _COUNTED:
        digits.pop()
        end -= 1
    if len(set(digits)) == 1:
        return number
    value = int("".join(str(_UNITS.get(word, 0)) for word in digits))
    return number._replace(value=Fraction(value), end=end)


def _as_spoken_hundreds(number: Number, tokens: list[str]) -> Number:
    """ "twelve fifty", "sixty two twenty five", "twelve oh five": hundreds and the rest.

    A round ten begins no such number: "forty fifty" is two.
    """
    is_head = 0 < number.value < 100 and (number.value < 20 or number.value % 10)
    if not is_head or tokens[number.start][:1].isdecimal() or number.end >= len(tokens):
        return number
    has_oh = tokens[number.end] in ("oh", "o")
    start = number.end + has_oh
    rest = _in_words(tokens, start) if start < len(tokens) else None
    low, high = (1, 10) if has_oh else (10, 100)
    if rest is None or not low <= rest.value < high:
        return number
    return number._replace(value=100 * number.value + rest.value, end=rest.end)


_COUNTED = (["dollars"], ["bucks"], ["minutes"], ["hours"], ["days"])
"""After an "oh" that is a zero, and no sigh."""
_FRACTION = re.compile(r"1/[2-4]|[23]/[34]")
_PARTS = (
    (("and", "a", "half"), Fraction(1, 2)),
    (("and", "a", "quarter"), Fraction(1, 4)),
    (("and", "three", "quarters"), Fraction(3, 4)),
)


def part_after(tokens: list[str], at: int) -> tuple[Fraction, int] | None:
    """The "and a half" at `at` as its share of one, with where it ends; None for none."""
    for words, share in _PARTS:
        if tuple(tokens[at : at + 3]) == words:
            return share, at + 3
    return None


def _with_decimals(number: Number, tokens: list[str]) -> Number:
    """ "forty five point five"."""
    at = number.end + 1
    decimals = ""
    while tokens[number.end : number.end + 1] == ["point"] and at < len(tokens):
        digit = tokens[at] if tokens[at].isdecimal() else str(_UNITS.get(tokens[at], ""))
        if not digit:
            break
        decimals += digit
        at += 1
    if not decimals:
        return number
    return number._replace(value=number.value + Fraction(f"0.{decimals}"), end=at)


def _with_part(number: Number, tokens: list[str]) -> Number:
    """ "two and a half", "2 1/2"."""
    if (part := part_after(tokens, number.end)) is not None:
        return number._replace(value=number.value + part[0], end=part[1])
    after = tokens[number.end] if number.end < len(tokens) else ""
    if number.value.denominator == 1 and _FRACTION.fullmatch(after):
        return number._replace(value=number.value + Fraction(after), end=number.end + 1)
    return number
