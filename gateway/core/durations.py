"""Durations in tokens, as English callers say them: "an hour and a half", "a fortnight"."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from gateway.core.number_words import Number, part_after

Numbers = dict[int, Number]
"""By the token at which they start."""


class Duration(NamedTuple):
    """A duration up to token `end`; None for a kind that its unit does not measure."""

    minutes: Fraction | None
    days: Fraction | None
    end: int


_MINUTES_PER = {
    "minute": 1, "minutes": 1, "min": 1, "mins": 1,
    "hour": 60, "hours": 60, "hr": 60, "hrs": 60, "hors": 60, "houres": 60, "hous": 60,
    "minuts": 1, "mintues": 1, "minuets": 1, "minites": 1,
    "day": 1440, "days": 1440,
}  # fmt: skip
_DAYS_PER: dict[str, int | Fraction] = {
    "hour": Fraction(1, 24), "hours": Fraction(1, 24), "hrs": Fraction(1, 24),
    "day": 1, "days": 1, "night": 1, "nights": 1, "week": 7, "weeks": 7, "fortnight": 14,
    "fortnights": 14, "month": 30, "months": 30, "weekend": 2, "weekends": 2,
    "wk": 7, "wks": 7, "weaks": 7, "dyas": 1, "dys": 1,
}  # fmt: skip


def durations_in(tokens: list[str], numbers: Numbers) -> list[tuple[int, Duration]]:
    """All durations with the tokens at which they begin, in order."""
    found: list[tuple[int, Duration]] = []
    at = 0
    while at < len(tokens):
        duration = _duration_at(tokens, numbers, at)
        if duration is None:
            at += 1
            continue
        found.append((at, duration))
        at = duration.end
    return found


def _duration_at(tokens: list[str], numbers: Numbers, at: int) -> Duration | None:
    """The duration that begins at `at`, "X and Y" taken together."""
    first = _simple_duration(tokens, numbers, at)
    if first is None:
        return None
    minutes, days, end = first
    if (part := part_after(tokens, end)) is not None:
        share, after = part
        unit = _unit_of(tokens[end - 1])
        minutes = None if minutes is None else minutes + (unit[0] or 0) * share
        days = None if days is None else days + (unit[1] or 0) * share
        return Duration(minutes, days, after)
    joined = end + 1 if tokens[end : end + 1] in (["and"], [","]) else end
    second = _simple_duration(tokens, numbers, joined)
    if second is None and minutes is not None and _unit_of(tokens[end - 1])[0] == 60:
        second = _bare_minutes(numbers.get(joined))
    if second is not None and _adds_to(first, second):
        return Duration(_sum(minutes, second.minutes), _sum(days, second.days), second.end)
    return first


def _sum(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    return None if one is None or other is None else one + other


def _adds_to(first: Duration, second: Duration) -> bool:
    """Whether the second is a smaller part of one duration, "an hour and twenty minutes"."""
    pairs = ((first.minutes, second.minutes), (first.days, second.days))
    return any(a is not None and b is not None and b < a for a, b in pairs)


def _bare_minutes(number: Number | None) -> Duration | None:
    """The "twenty" of "an hour and twenty"."""
    if number is None or number.is_money or number.value >= 60:
        return None
    return Duration(number.value, None, number.end)


def _unit_of(word: str) -> tuple[int | None, int | Fraction | None]:
    return _MINUTES_PER.get(word), _DAYS_PER.get(word)


def _simple_duration(tokens: list[str], numbers: Numbers, at: int) -> Duration | None:
    """One count and one unit: "two hours", "half an hour", "a couple of days", "a fortnight"."""
    count, unit_at = _count_at(tokens, numbers, at)
    if count is None or unit_at >= len(tokens):
        return None
    minutes, days = _unit_of(tokens[unit_at])
    if minutes is None and days is None:
        return None
    return Duration(
        None if minutes is None else count * minutes,
        None if days is None else count * days,
        unit_at + 1,
    )


_COUNTS: tuple[tuple[tuple[str, ...], Fraction], ...] = (
    (("three", "quarters", "of", "an"), Fraction(3, 4)),
    (("three", "quarters", "of", "a"), Fraction(3, 4)),
    (("a", "quarter", "of", "an"), Fraction(1, 4)),
    (("a", "quarter", "of", "a"), Fraction(1, 4)),
    (("quarter", "of", "an"), Fraction(1, 4)),
    (("a", "couple", "of"), Fraction(2)),
    (("couple", "of"), Fraction(2)),
    (("couple",), Fraction(2)),
    (("half", "an"), Fraction(1, 2)),
    (("half", "a"), Fraction(1, 2)),
    (("a", "half"), Fraction(1, 2)),
    (("half",), Fraction(1, 2)),
    (("a", "quarter"), Fraction(1, 4)),
    (("quarter",), Fraction(1, 4)),
    (("the", "whole"), Fraction(1)),
    (("a", "whole"), Fraction(1)),
    (("a", "full"), Fraction(1)),
    (("a", "single"), Fraction(1)),
    (("a", "solid"), Fraction(1)),
    (("for", "the", "next"), Fraction(1)),
    (("all",), Fraction(1)),
    (("a", "long"), Fraction(0)),  # a long weekend is three days: asked about
    (("a",), Fraction(1)),
    (("an",), Fraction(1)),
)


_BARE_HOURS = (["hour", "and"], ["next", "hour"])
"""One hour, without an article: "hour and a half"; "next week" is no week."""
_EMPHASES = (["full"], ["solid"], ["whole"], ["entire"], ["more"])
"""Between a number and its unit: "two full hours"."""
_COUNTS_BY_FIRST_WORD = {
    first: tuple((words, count) for words, count in _COUNTS if words[0] == first)
    for first in {words[0] for words, _ in _COUNTS}
}


def _count_at(tokens: list[str], numbers: Numbers, at: int) -> tuple[Fraction | None, int]:
    word = tokens[at] if at < len(tokens) else ""
    for words, count in _COUNTS_BY_FIRST_WORD.get(word, ()):
        after = at + len(words)
        is_said = tuple(tokens[at:after]) == words and after < len(tokens)
        if is_said and _unit_of(tokens[after]) != (None, None):
            return count, after
    number = numbers.get(at)
    if number is None and tokens[at : at + 2] in _BARE_HOURS:
        return Fraction(1), at + (word == "next")
    if number is None or number.is_money:
        return None, at
    return number.value, number.end + (tokens[number.end : number.end + 1] in _EMPHASES)
