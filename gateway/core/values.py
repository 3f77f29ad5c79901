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
from gateway.core.durations import Numbers, durations_in
from gateway.core.number_words import Number, numbers_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Kind(StrEnum):
    """What a value is of."""

    DOLLARS = "dollars"
    MINUTES = "minutes"
    DAYS = "days"
    COUNTRY = "country"
    DAY = "day"
    """A weekday, today or tomorrow."""
    PLAN = "plan"
    REASON = "reason"
    DEVICE = "device"
    WINDOW = "window"
    GROUP = "group"


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
    r"|\b(dozen|grand|fiver|tenner)\b|\b(couple|few|several|handful)( of)? (dollars|bucks)\b"
    r"|\b\d+ ?(st|nd|rd|th)\b|\b\w*(teenth|tieth)\b|\bo'clock\b|\d ?[ap]\.?m\b"
    r"|\b(at|by|until|till) (\d|(one|two|three|four|five|six|seven|eight|nine|ten|noon)\b)"
    r"|\bis (that|this|it) (all|everything)\b"
    r"|\b(some|most|(a|little) (bit|little))($|[.!?]|(?= (of|money|more|off|on|towards|please)\b))"
)
_NEVER_A_SUM = re.compile(
    r"\d ?[+*×^=] ?\$?\d|\d[-–—]\$?\d|\d(k|e\d)"
    r"|\b(less|more|short|shy) (than|of) (my|the|what|that|it|half|i)\b"
    r"|\b(dollar|buck) (bills|notes|coins)\b"
)
"""To be worked out, or no sum at all, whatever numbers stand beside it."""
_SIZES = frozenset(
    {"k", "grand", "million", "dozen", "figure", "figures", "digit", "digits", "instalment",
     "instalments", "installment", "installments", "parts", "payments", "times", "bills"}
)  # fmt: skip
"""After a number that is a part of something else: "six figures", "in 2 instalments"."""
_HOUR_MARKS = frozenset({"at", "by", "until", "till"})
"""Before a bare number that is a time of the day."""
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
_INSTEAD = (["instead", "of"], ["rather", "than"])
"""Before what is not wanted."""
_NEGATIONS = frozenset({"not", "don't", "dont", "never", "didn't", "won't", "wouldn't", "can't"})
_NEGATION_REACH = 5
_NEGATION_REACH_TO_NAME = 2
"""How many words after "don't" a value may follow and be what is not wanted."""
_WHOLE = re.compile(
    r"(?<!is that )(?<!is this )(?<!is it )\b(all|everything|whole|full|entire|total)\b"
)
_FILLERS = frozenset({"um", "umm", "uh", "uhm", "er", "erm", "hm", "hmm"})
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
_DIGIT = re.compile(r"\d")
_HOURS = re.compile(r"\b(\d+)(?:h(\d\d)?|:([0-5]\d) ?(?:h|hrs?|hours?))\b")
"""As in "1h45" or "1:45 hours"."""
_SIGNS = {"’": "'", "ô": "o", "ã": "a", "é": "e", "½": " 1/2 ", "¼": " 1/4 ", "¾": " 3/4 "}
"""Written otherwise: an accent in a country's name is often left out."""
_SAINT = re.compile(r"\bst\.(?= )")
_DOLLARS_AFTER = re.compile(r"(\d[\d,.]*)\$")
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


_NOTHING = dict.fromkeys(Kind, Said())


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
    return _NOTHING | found


def _said_once(utterance: str) -> dict[Kind, Said]:
    tokens = tokens_of(utterance)
    mentions = _mentions(tokens)
    if not mentions:  # most of what is said: nothing to weigh
        return {Kind.DOLLARS: _one_sum([], [], utterance)}
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
        result[kind] = Said(values)  # type: ignore[arg-type] # one kind, one type
        if kind is Kind.DOLLARS:
            # Beside an amount, the word "one" counts nothing.
            others = [m for m in bare if not own or tokens[m.start] != "one"]
            sums = sorted([*own, *others], key=lambda mention: mention.start)
            result[kind] = _one_sum(_after_corrections(sums, corrected_by), mentions, utterance)
    return result


def _one_sum(said: list[_Mention], mentions: list[_Mention], utterance: str) -> Said:
    """The one sum that was said. More than one, or one that cannot be paid, is to be asked about.

    `said`: the amounts and bare numbers that were not taken back; `mentions`: all there are.
    """
    text = utterance.lower()
    sums = {mention.value for mention in said}
    if len(sums) == 1 and _NEVER_A_SUM.search(text) is None:
        value = sums.pop()
        if isinstance(value, int) and _is_possible(Kind.DOLLARS, value):
            return Said((value,))
    if any(m.kind in (None, Kind.DOLLARS) for m in mentions) or _UNCLEAR.search(text):
        return Said(is_unclear=True)
    return Said(is_whole=_WHOLE.search(text) is not None)


def tokens_of(utterance: str) -> list[str]:
    """Lower-case words, numbers and marks, without fillers. Hyphens between words part them."""
    text = utterance.lower()
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    text = _SAINT.sub("st", _HYPHEN.sub(" ", text))
    if _DIGIT.search(text):
        text = _HOURS.sub(r"\1 hours \2\3", text)
        text = _DOLLARS_AFTER.sub(r"$\1", text)
    return [token for token in _TOKEN.findall(text) if token not in _FILLERS]


def with_kinds(tokens: list[str]) -> list[str]:
    """The tokens, with each value among them as its kind: `<country>`.

    A bare number is `<number>`, and a duration `<minutes>`, in whatever unit it was said.
    """
    named = {mention.start: mention for mention in reversed(_mentions(tokens))}
    words: list[str] = []
    at = 0
    while at < len(tokens):
        mention = named.get(at)
        if mention is None:
            words.append(tokens[at])
            at += 1
        else:
            words.append(f"<{mention.kind or 'number'}>")
            at = mention.end
    return words


def _is_possible(kind: Kind, value: int | str) -> bool:
    if isinstance(value, str):
        return True
    low, high = _RANGES[kind]
    return low <= value <= high


def _mentions(tokens: list[str]) -> list[_Mention]:
    numbers = {number.start: number for number in numbers_in(tokens)}
    mentions = [*_lengths(tokens, numbers), *_named(tokens)]
    taken = {index for m in mentions for index in range(m.start, m.end)}
    for number in numbers.values():
        if taken.isdisjoint(range(number.start, number.end)):
            mentions += _amount(number, tokens)
    return sorted(mentions, key=lambda mention: mention.start)


def _lengths(tokens: list[str], numbers: Numbers) -> list[_Mention]:
    """Durations as minutes and as days, where they are whole ones."""
    mentions = []
    for start, (minutes, days, end) in durations_in(tokens, numbers):
        for kind, length in ((Kind.MINUTES, minutes), (Kind.DAYS, days)):
            if length is not None and length.denominator == 1:
                mentions.append(_Mention(kind, int(length), start, end))
    return mentions


def _amount(number: Number, tokens: list[str]) -> list[_Mention]:
    """A number that is no duration: dollars if it says so, else bare."""
    before = tokens[number.start - 1] if number.start else ""
    follower = tokens[number.end] if number.end < len(tokens) else ""
    if follower in _NO_AMOUNT or number.is_percent:
        return []
    if {(before, tokens[number.start]), (tokens[number.start], follower)} & _NO_NUMBERS:
        return []
    if before in _LABELS and follower not in _MONEY_WORDS and not number.is_money:
        return []
    if before in _HOUR_MARKS and follower not in _MONEY_WORDS and not number.is_money:
        return []
    if follower in _SIZES:
        return [_Mention(Kind.DOLLARS, 0, number.start, number.end)]
    if follower in _OTHER_MONEY or before in _OTHER_MONEY:
        return [_Mention(Kind.DOLLARS, 0, number.start, number.end + (follower in _OTHER_MONEY))]
    is_money = number.is_money or follower in _MONEY_WORDS
    kind = Kind.DOLLARS if is_money else None
    end = number.end + (follower in _MONEY_WORDS)
    is_sum = number.value.denominator == 1 and not _is_taken_off(number, tokens)
    return [_Mention(kind, int(number.value) if is_sum else 0, number.start, end)]


def _is_taken_off(number: Number, tokens: list[str]) -> bool:
    """Whether it is the "twenty" of "all except twenty"."""
    before = tuple(tokens[max(0, number.start - 2) : number.start])
    return any(before[-len(words) :] == words for words in _LESS)


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
        if not index.keys().isdisjoint(tokens)
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
    if tokens[max(0, mention.start - 2) : mention.start] in _INSTEAD:
        return True
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
