"""What is written, in the words in which it is said: amounts, numbers, dates, times, references.

A voice reads "$12.50" as "dollar twelve point fifty" or worse, each engine in its own way, so the
words are chosen here. A text without digits is left as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_MONTHS: Final = (
    "January February March April May June July August September October November December"
).split()
_MONTH_OF = {month[:3].lower(): month for month in _MONTHS}
_CURRENCIES = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny")}
_UNITS = {
    "mbit/s": "megabits a second", "mbps": "megabits a second", "gbit/s": "gigabits a second",
    "kbit/s": "kilobits a second", "gb": "gigabytes", "mb": "megabytes", "ms": "milliseconds",
    "ghz": "gigahertz", "min": "minutes", "mins": "minutes", "hrs": "hours", "km": "kilometres",
    "%": "percent",
}  # fmt: skip
_SINGULAR = {"minutes": "minute", "hours": "hour", "kilometres": "kilometre"}
_MAX_NUM_DIGITS = 12
"""Longer ones, and ones that begin with 0, are read digit by digit: nobody counts so far."""

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"


def spoken(text: str) -> str:
    """The text with every figure in words: "$12.50" is "twelve dollars and fifty cents"."""
    if not any(character.isdigit() for character in text):
        return text
    for pattern, words in _RULES:
        text = pattern.sub(words, text)
    return text


def number_in_words(number: int) -> str:
    """A whole number from 0: "two thousand and five"."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return f"{_TENS[tens]} {_ONES[ones]}" if ones else _TENS[tens]
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        head = f"{_ONES[hundreds]} hundred"
        return f"{head} and {number_in_words(rest)}" if rest else head
    for size, name in _SCALES:
        if number >= size:
            head = f"{number_in_words(number // size)} {name}"
            rest = number % size
            joint = " and " if 0 < rest < 100 else " "
            return head + (joint + number_in_words(rest) if rest else "")
    raise AssertionError(number)


def digit_by_digit(digits: str) -> str:
    """Digits as a telephone number is read: "five five five"."""
    return " ".join(_ONES[int(digit)] for digit in digits if digit.isascii() and digit.isdigit())


def _amount(match: re.Match[str]) -> str:
    unit, part = _CURRENCIES[match["sign"]]
    whole, _, cents = match["number"].replace(",", "").partition(".")
    if len(whole) > _MAX_NUM_DIGITS or len(cents) not in (0, 2):
        return f"{_decimal(match['number'])} {unit}s"
    sums = [_counted(int(whole), unit)] if int(whole) or not int(cents or 0) else []
    if int(cents or 0):
        sums.append(_counted(int(cents), part))
    return " and ".join(sums)


def _counted(number: int, unit: str) -> str:
    plural = "pence" if unit == "penny" else f"{unit}s"
    return f"{number_in_words(number)} {unit if number == 1 else plural}"


def _decimal(written: str) -> str:
    whole, _, part = written.replace(",", "").partition(".")
    if len(whole) > _MAX_NUM_DIGITS or (len(whole) > 1 and whole.startswith("0")):
        return " ".join(
            filter(None, (digit_by_digit(whole), part and f"point {digit_by_digit(part)}"))
        )
    said = number_in_words(int(whole))
    return f"{said} point {digit_by_digit(part)}" if part else said


def _with_unit(match: re.Match[str]) -> str:
    unit = _UNITS[match["unit"].lower()]
    is_one = match["number"] == "1"
    return f"{_decimal(match['number'])} {_SINGULAR.get(unit, unit) if is_one else unit}"


def _ordinal(number: int) -> str:
    *head, last = number_in_words(number).split(" ")
    last = f"{last[:-1]}ieth" if last.endswith("y") else _ORDINALS.get(last, f"{last}th")
    return " ".join((*head, last))


def _year(year: int) -> str:
    if 2000 <= year < 2010 or year % 1000 == 0:
        return number_in_words(year)
    century, rest = divmod(year, 100)
    if not rest:
        return f"{number_in_words(century)} hundred"
    tail = f"oh {_ONES[rest]}" if rest < 10 else number_in_words(rest)
    return f"{number_in_words(century)} {tail}"


def _iso_date(match: re.Match[str]) -> str:
    month, day = int(match["month"]), int(match["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return digit_by_digit(match[0])
    return f"{_MONTHS[month - 1]} {_ordinal(day)}, {_year(int(match['year']))}"


def _month_and_day(match: re.Match[str]) -> str:
    day = int(match["day"])
    if not 1 <= day <= 31:
        return match[0]
    said = f"{_MONTH_OF[match['month'][:3].lower()]} {_ordinal(day)}"
    return f"{said}, {_year(int(match['year']))}" if match["year"] else said


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match["hour"]), int(match["minute"])
    if hour > 23 or minute > 59:
        return f"{_decimal(match['hour'])} {_decimal(match['minute'])}"
    half = (match["half"] or "").replace(".", "").lower()
    said = number_in_words(hour)
    if minute:
        said += f" oh {_ONES[minute]}" if minute < 10 else f" {number_in_words(minute)}"
    elif not half:
        said += " o'clock" if 0 < hour <= 12 else " hundred hours"
    return f"{said} {' '.join(half)}" if half else said


def _telephone(match: re.Match[str]) -> str:
    return ", ".join(digit_by_digit(group) for group in re.findall(r"\d+", match[0]))


def _reference(match: re.Match[str]) -> str:
    """Letters and digits one by one: they are written down by whoever hears them."""
    said = [" ".join(_letter_or_digit(c) for c in run) for run in match[0].split("-")]
    return ", ".join(said)


def _letter_or_digit(character: str) -> str:
    return _ONES[int(character)] if character.isdigit() else character.upper()


def _plain(match: re.Match[str]) -> str:
    return _decimal(match[0])


def _rule(
    pattern: str, words: Callable[[re.Match[str]], str]
) -> tuple[re.Pattern[str], Callable[[re.Match[str]], str]]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE), words


_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_RULES = (
    _rule(r"\b(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)\b", _iso_date),
    _rule(rf"\b{_MONTH} (?P<day>\d\d?)(?:st|nd|rd|th)?\b(?:,? (?P<year>\d{{4}}))?", _month_and_day),
    _rule(
        r"\b(?P<hour>\d\d?):(?P<minute>\d\d)(?:\s?(?P<half>[ap]\.?m\b\.?))?",
        _clock,
    ),
    _rule(rf"(?P<sign>[$€£])(?P<number>{_NUMBER})", _amount),
    _rule(rf"(?P<number>{_NUMBER})(?P<sign>[$€£])", _amount),
    _rule(r"\b(?=[a-z0-9-]*\d)(?=[a-z0-9-]*[a-z])[a-z]+-?\d[a-z0-9]*(?:-[a-z0-9]+)*\b", _reference),
    _rule(r"\+\d[\d ()-]{6,}\d|\b\d{3,4}(?:[- ]\d{3,4}){1,2}\b", _telephone),
    _rule(
        rf"\b(?P<number>{_NUMBER})\s?(?P<unit>mbit/s|gbit/s|kbit/s|mbps|gb|mb|ms|ghz|mins?|hrs|km|%)"
        r"(?![a-z])",
        _with_unit,
    ),
    _rule(r"\b(?P<day>\d\d?)(?:st|nd|rd|th)\b", lambda match: _ordinal(int(match["day"]))),
    _rule(_NUMBER, _plain),
)
