"""Values a caller has said: amounts, durations, countries, named days.

A small model garbles rare values, and on a payment that is a wrong amount. So the values come from
the caller's words by plain rules, typed, and the model only chooses among them. What was not said
can then not be done; what is relative ("half of it") or unclear is not a value and is asked about.
An amount that cannot be paid ("12.50", "10 euros", "not forty") is unclear: it was said, and to
hear nothing in it would turn it into the whole balance.

Rules of thumb, in order: a value with its unit beats a bare number; after a correction ("no",
"I mean", "make that") the later value of a kind wins; a later utterance beats an earlier one.
"""

from __future__ import annotations

import re
from enum import StrEnum
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.choices import (
    DAYS,
    DEVICES,
    GROUPS,
    PLANS,
    REASONS,
    WINDOWS,
    Index,
    choices_in,
    index_of,
)
from gateway.core.countries import ALIASES, COUNTRIES, NOT_COUNTRIES
from gateway.core.number_words import Number, numbers_in, part_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Kind(StrEnum):
    """What a value is of."""

    DOLLARS = "dollars"
    MINUTES = "minutes"
    DAYS = "days"
    COUNTRY = "country"
    DAY = "day"
    PLAN = "plan"
    REASON = "reason"
    DEVICE = "device"
    WINDOW = "window"
    GROUP = "group"
    """A weekday, today or tomorrow."""


class Said(NamedTuple):
    """Candidate values of one kind, in the order they were said.

    `is_unclear`: the caller named an amount, but none that is a whole sum of dollars.
    """

    values: tuple[int, ...] | tuple[str, ...] = ()
    is_unclear: bool = False
    is_whole: bool = False
    """The caller said "all of it", which takes an earlier amount back."""


class _Mention(NamedTuple):
    kind: Kind | None
    """None: a bare number, which may be of any kind of number."""
    value: int | str
    """0, which is in no range: a number that can be none of its kind."""
    start: int
    end: int


class _Duration(NamedTuple):
    """A duration up to token `end`; None for a kind that its unit does not measure."""

    minutes: Fraction | None
    days: Fraction | None
    end: int


_Numbers = dict[int, Number]
"""By the token at which they start."""

_MINUTES_PER = {
    "minute": 1, "minutes": 1, "min": 1, "mins": 1,
    "hour": 60, "hours": 60, "hr": 60, "hrs": 60,
    "day": 1440, "days": 1440,
}  # fmt: skip
_DAYS_PER: dict[str, int | Fraction] = {
    "hour": Fraction(1, 24), "hours": Fraction(1, 24), "hrs": Fraction(1, 24),
    "day": 1, "days": 1, "night": 1, "nights": 1, "week": 7, "weeks": 7, "fortnight": 14,
    "fortnights": 14, "month": 30, "months": 30, "weekend": 2, "weekends": 2,
}  # fmt: skip
_MONEY_WORDS = frozenset({"dollar", "dollars", "buck", "bucks", "usd", "quid"})
_CORRECTIONS = (
    ("no",), ("nope",), ("sorry",), ("actually",), ("wait",), ("rather",), ("instead",),
    ("i", "mean"), ("i", "meant"), ("make", "that"), ("make", "it"), ("scratch", "that"),
    ("correction",), ("or", "no"), ("let's", "say"), ("hang", "on"), ("hold", "on"),
)  # fmt: skip
_UNCLEAR = re.compile(
    r"[%½¼¾⅓⅔]|\b(pay|paying|take|for) (nothing|none)\b"
    r"|\b(half|third|quarter|percent|double|twice|part|partial|rest|remaining|minimum)\b"
    r"|\blast time\b|\bas (much|little) as\b|\bsame as\b"
    r"|\b(some|most|(a|little) (bit|little))($|[.!?]|(?= (of|money|more|off|on|towards|please)\b))"
)
_OTHER_MONEY = frozenset(
    {"euro", "euros", "eur", "€", "pound", "pounds", "gbp", "£", "yen", "¥", "franc", "francs",
     "peso", "pesos", "rupee", "rupees", "cent", "cents", "penny", "pennies"}
)  # fmt: skip
_LESS = (
    ("except",), ("excluding",), ("minus",), ("without",), ("less",), ("all", "but"),
    ("everything", "but"), ("apart", "from"), ("other", "than"), ("than",),
)  # fmt: skip
"""Before an amount that is not the one to pay."""
_LABELS = frozenset({"bill", "invoice", "account", "number", "reference", "ref", "ending", "card"})
"""Before a bare number that is a name and no amount: "bill 4821"."""
_NO_NUMBERS = frozenset(
    {("one", "more"), ("one", "thing"), ("one", "of"), ("quick", "one"), ("this", "one"),
     ("that", "one"), ("the", "one"), ("last", "one"), ("another", "one"), ("zero", "out")}
)  # fmt: skip
"""Where number words are none."""
_NEGATIONS = frozenset({"not", "don't", "dont", "never", "didn't", "won't", "wouldn't", "can't"})
_NEGATION_REACH = 5
_NEGATION_REACH_TO_NAME = 2
"""How many words after "don't" a value may follow and be what is not wanted."""
_WHOLE = re.compile(r"\b(all|everything|whole|full|entire|total)\b")
_FILLERS = frozenset({"um", "umm", "uh", "uhm", "er", "erm", "hm", "hmm"})
_TOKEN = re.compile(
    r"\d+/[1-9]\d*"
    r"|(?:(?<![\w-])-)?\$?\d+(?:,\d{3})*(?:\.\d+)?%?"
    r"|(?:[^\W\d_]\.){2,}"  # "p.m.": these dots are no full stops
    r"|[^\W\d_]+(?:['’.-][^\W\d_]+)*"
    r"|[.,;:?!€£¥]"
)
_NO_AMOUNT = frozenset(
    {"percent", "%", "o'clock", "am", "pm", "a.m.", "p.m.", "st", "nd", "rd", "th"}
)
"""What follows numbers that are no whole dollars: shares, hours of the day, dates."""
_RANGES = {Kind.DOLLARS: (1, 10**9), Kind.MINUTES: (1, 1440), Kind.DAYS: (1, 90)}


def said(utterances: Sequence[str]) -> dict[Kind, Said]:
    """The candidates of every kind in a caller's utterances, oldest first.

    The latest utterance that has values of a kind decides on that kind; a bare number only
    counts where the same utterance has none with a unit.
    """
    found: dict[Kind, Said] = {}
    for utterance in reversed(utterances):
        for kind, values in _said_once(utterance).items():
            if kind not in found and (values.values or values.is_unclear or values.is_whole):
                found[kind] = values
    return {kind: found.get(kind, Said()) for kind in Kind}


def _said_once(utterance: str) -> dict[Kind, Said]:
    tokens = tokens_of(utterance)
    mentions = _mentions(tokens)
    taken = {index for m in mentions for index in range(m.start, m.end)}
    wanted = [m for m in mentions if not _is_negated(m, taken, tokens)]
    corrected_by = _corrected_by(tokens)
    result = {}
    for kind in Kind:
        own = [m for m in wanted if m.kind is kind]
        bare = [m for m in wanted if m.kind is None and kind in _RANGES]
        # A bare number corrects one with its unit: "forty dollars, no, fifty".
        corrected = [m for m in bare if own and corrected_by[own[-1].end] <= m.start]
        chosen = _after_corrections([*own, *corrected] if own else bare, corrected_by)
        values = tuple(dict.fromkeys(m.value for m in chosen if _is_possible(kind, m.value)))
        unclear = whole = False
        if kind is Kind.DOLLARS:
            if any(not _is_possible(kind, m.value) for m in chosen):
                values = ()
            unusable = not values and any(m.kind in (None, kind) for m in mentions)
            unclear = unusable or (not values and _UNCLEAR.search(utterance.lower()) is not None)
            whole = not (values or unclear) and _WHOLE.search(utterance.lower()) is not None
        result[kind] = Said(values, unclear, whole)  # type: ignore[arg-type] # one kind, one type
    return result


def tokens_of(utterance: str) -> list[str]:
    """Lower-case words, numbers and marks, without fillers. Hyphens between words part them."""
    text = utterance.lower().replace("’", "'")
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
    text = re.sub(r"\b(\d+)h(\d\d)?\b", r"\1 hours \2", text)  # "1h45"
    text = re.sub(r"(\d[\d,.]*)\$", r"$\1", text)
    return [token for token in _TOKEN.findall(text) if token not in _FILLERS]


def _is_possible(kind: Kind, value: int | str) -> bool:
    if isinstance(value, str):
        return True
    low, high = _RANGES[kind]
    return low <= value <= high


def _mentions(tokens: list[str]) -> list[_Mention]:
    numbers = {number.start: number for number in numbers_in(tokens)}
    mentions = [*_durations(tokens, numbers), *_named(tokens)]
    taken = {index for m in mentions for index in range(m.start, m.end)}
    for number in numbers.values():
        if taken.isdisjoint(range(number.start, number.end)):
            mentions += _amount(number, numbers, tokens)
    return sorted(mentions, key=lambda mention: mention.start)


def _amount(number: Number, numbers: _Numbers, tokens: list[str]) -> list[_Mention]:
    """A number that is no duration: dollars if it says so, else bare."""
    before = tokens[number.start - 1] if number.start else ""
    follower = tokens[number.end] if number.end < len(tokens) else ""
    if follower in _NO_AMOUNT or number.is_percent:
        return []
    if {(before, tokens[number.start]), (tokens[number.start], follower)} & _NO_NUMBERS:
        return []
    if before in _LABELS and follower not in _MONEY_WORDS and not number.is_money:
        return []
    if follower in _OTHER_MONEY or before in _OTHER_MONEY:
        return [_Mention(Kind.DOLLARS, 0, number.start, number.end + (follower in _OTHER_MONEY))]
    is_money = number.is_money or follower in _MONEY_WORDS or _shares_money(number, numbers, tokens)
    kind = Kind.DOLLARS if is_money else None
    end = number.end + (follower in _MONEY_WORDS)
    is_sum = number.value.denominator == 1 and not _is_taken_off(number, tokens)
    return [_Mention(kind, int(number.value) if is_sum else 0, number.start, end)]


def _is_taken_off(number: Number, tokens: list[str]) -> bool:
    """Whether it is the "twenty" of "all except twenty"."""
    before = tuple(tokens[max(0, number.start - 2) : number.start])
    return any(before[-len(words) :] == words for words in _LESS)


def _shares_money(number: Number, numbers: _Numbers, tokens: list[str]) -> bool:
    """The "forty" of "forty or fifty dollars"."""
    if tokens[number.end : number.end + 1] != ["or"]:
        return False
    other = numbers.get(number.end + 1)
    return other is not None and other.end < len(tokens) and tokens[other.end] in _MONEY_WORDS


def _durations(tokens: list[str], numbers: _Numbers) -> list[_Mention]:
    """Durations as minutes and, where they are whole days, as days."""
    mentions: list[_Mention] = []
    at = 0
    while at < len(tokens):
        found = _duration_at(tokens, numbers, at)
        if found is None:
            at += 1
            continue
        minutes, days, end = found
        if minutes is not None and minutes.denominator == 1:
            mentions.append(_Mention(Kind.MINUTES, int(minutes), at, end))
        if days is not None and days.denominator == 1:
            mentions.append(_Mention(Kind.DAYS, int(days), at, end))
        at = end
    return mentions


def _duration_at(tokens: list[str], numbers: _Numbers, at: int) -> _Duration | None:
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
        return _Duration(minutes, days, after)
    joined = end + 1 if tokens[end : end + 1] in (["and"], [","]) else end
    second = _simple_duration(tokens, numbers, joined)
    if second is None and minutes is not None and _unit_of(tokens[end - 1])[0] == 60:
        second = _bare_minutes(numbers.get(joined))
    if second is not None and _adds_to(first, second):
        return _Duration(_sum(minutes, second.minutes), _sum(days, second.days), second.end)
    return first


def _sum(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    return None if one is None or other is None else one + other


def _adds_to(first: _Duration, second: _Duration) -> bool:
    """Whether the second is a smaller part of one duration, "an hour and twenty minutes"."""
    pairs = ((first.minutes, second.minutes), (first.days, second.days))
    return any(a is not None and b is not None and b < a for a, b in pairs)


def _bare_minutes(number: Number | None) -> _Duration | None:
    """The "twenty" of "an hour and twenty"."""
    if number is None or number.is_money or number.value >= 60:
        return None
    return _Duration(number.value, None, number.end)


def _unit_of(word: str) -> tuple[int | None, int | Fraction | None]:
    return _MINUTES_PER.get(word), _DAYS_PER.get(word)


def _simple_duration(tokens: list[str], numbers: _Numbers, at: int) -> _Duration | None:
    """One count and one unit: "two hours", "half an hour", "a couple of days", "a fortnight"."""
    count, unit_at = _count_at(tokens, numbers, at)
    if count is None or unit_at >= len(tokens):
        return None
    minutes, days = _unit_of(tokens[unit_at])
    if minutes is None and days is None:
        return None
    return _Duration(
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
    (("for", "the", "next"), Fraction(1)),
    (("all",), Fraction(1)),
    (("a", "long"), Fraction(0)),  # a long weekend is three days: asked about
    (("a",), Fraction(1)),
    (("an",), Fraction(1)),
)


_EMPHASES = (["full"], ["whole"], ["entire"], ["more"])
"""Between a number and its unit: "two full hours"."""
_COUNTS_BY_FIRST_WORD = {
    first: tuple((words, count) for words, count in _COUNTS if words[0] == first)
    for first in {words[0] for words, _ in _COUNTS}
}


def _count_at(tokens: list[str], numbers: _Numbers, at: int) -> tuple[Fraction | None, int]:
    word = tokens[at] if at < len(tokens) else ""
    for words, count in _COUNTS_BY_FIRST_WORD.get(word, ()):
        after = at + len(words)
        is_said = tuple(tokens[at:after]) == words and after < len(tokens)
        if is_said and _unit_of(tokens[after]) != (None, None):
            return count, after
    number = numbers.get(at)
    if number is None or number.is_money:
        return None, at
    return number.value, number.end + (tokens[number.end : number.end + 1] in _EMPHASES)


@cache
def _names() -> dict[Kind, Index]:
    """What callers call what they choose among. "us" is a country only after "the"."""
    countries = {
        country: [name for name in (country, *ALIASES.get(country, ())) if name != "us"]
        for country in COUNTRIES
    }
    countries["united states"].append("the us")
    choices: dict[Kind, Mapping[str, Sequence[str]]] = {
        Kind.COUNTRY: countries | {"": list(NOT_COUNTRIES)},
        Kind.DAY: DAYS,
        Kind.PLAN: PLANS,
        Kind.REASON: REASONS,
        Kind.DEVICE: DEVICES,
        Kind.WINDOW: WINDOWS,
        Kind.GROUP: GROUPS,
    }
    return {kind: index_of(names, tokens_of) for kind, names in choices.items()}


def _named(tokens: list[str]) -> list[_Mention]:
    return [
        _Mention(kind, *found)
        for kind, index in _names().items()
        for found in choices_in(tokens, index)
    ]


def _after_corrections(mentions: list[_Mention], corrected_by: list[int]) -> list[_Mention]:
    """What is left when later values take the place of those that were taken back."""
    kept: list[_Mention] = []
    for mention in mentions:
        if kept and corrected_by[kept[-1].end] <= mention.start:
            kept.clear()
        kept.append(mention)
    return kept


def _is_negated(mention: _Mention, taken: set[int], tokens: list[str]) -> bool:
    """Whether a negation reaches the mention: the same clause, nearby, no other value between."""
    reach = _NEGATION_REACH_TO_NAME if isinstance(mention.value, str) else _NEGATION_REACH
    for index in range(mention.start - 1, max(-1, mention.start - 1 - reach), -1):
        word = tokens[index]
        if index in taken or word in ".,;:?!" or word == "but":
            return False
        if word in _NEGATIONS:
            return True
    return False


def _corrected_by(tokens: list[str]) -> list[int]:
    """For each place, where the first correction ends that begins there or later.

    Beyond the last token where there is none; one entry more than there are tokens.
    """
    never = len(tokens) + 1
    ends = [never] * never
    for at in range(len(tokens) - 1, -1, -1):
        ends[at] = min([*_ends_of_correction(tokens, at), ends[at + 1]])
    return ends


def _ends_of_correction(tokens: list[str], at: int) -> list[int]:
    return [
        at + len(words) for words in _CORRECTIONS if tuple(tokens[at : at + len(words)]) == words
    ]
