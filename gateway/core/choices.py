"""Choices that callers name: the words they use for each, and where an utterance holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Index = dict[str, dict[tuple[str, ...], str]]
"""By the first word of a name: its words to the choice, or to "" for what is none."""

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_MISSPELT = {
    "monday": ("munday", "mon"), "tuesday": ("tuseday", "teusday", "tues"),
    "wednesday": ("wensday", "wednsday", "wendsday", "wednesdy", "weds"),
    "thursday": ("thurday", "thrusday", "thursdy", "thurs"), "friday": ("firday", "fryday", "fri"),
    "saturday": ("saterday", "satuday", "saturdy"), "sunday": ("sundy",),
}  # fmt: skip
DAYS: dict[str, tuple[str, ...]] = {
    name: (name, f"{name}s", f"{name}'s", *_MISSPELT[name]) for name in _WEEK
} | {
    "today": ("today", "tonight", "this morning", "this afternoon", "this evening", "todday"),
    "tomorrow": ("tomorrow", "tomorow", "tommorow", "tommorrow", "tmrw"),
    "": ("day after tomorrow", "day after today"),
}
PLANS = {
    "basic": ("basic", "cheapest", "smallest", "cheaper"),
    "plus": ("plus", "middle", "medium"),
    "unlimited": (
        "unlimited",
        "unlimted",
        "un limited",
        "biggest",
        "largest",
        "no limit",
        "no limits",
        "without limits",
    ),
}
REASONS = {
    "lost": (
        "lost", "lose", "losing", "misplaced", "missing", "disappeared", "vanished", "gone",
        "left my", "left it", "left the", "left behind", "forgot my", "forgot it", "forgot the",
        "dropped", "fell out", "slipped out", "nowhere to be found", "can't find", "cannot find",
        "couldn't find", "mislaid", "slid out", "left them", "mislayed",
    ),
    "stolen": (
        "stolen", "stole", "steal", "theft", "thief", "thieves", "robbed", "robbery", "mugged",
        "pickpocketed", "pickpocket", "took", "taken", "snatched", "grabbed", "nicked", "pinched",
        "swiped", "lifted", "ran off with", "ran away with", "stollen", "stolin", "stole in",
        "nabbed", "made off with", "burglar", "burglars", "burgled",
    ),
}  # fmt: skip
DEVICES = {
    "modem": ("modem",),
    "router": ("router", "wifi box", "wi fi box", "internet box"),
    "tv_box": (
        "tv box", "tv", "telly", "television", "set top box", "set-top box", "cable box",
        "decoder", "receiver",
    ),
}  # fmt: skip
WINDOWS = {
    "morning": ("morning", "mornings", "breakfast", "before noon", "before lunch", "a.m.", "am"),
    "afternoon": ("afternoon", "afternoons", "after lunch", "midday", "noon"),
    "evening": ("evening", "evenings", "tonight", "night", "after work", "after dinner"),
}
GROUPS = {
    "kids": (
        "kids", "kid", "kids'", "children", "child", "son", "sons", "daughter", "daughters",
        "boys", "girls", "boy", "girl", "teenager", "teenagers", "little ones",
    ),
    "guests": ("guests", "guest", "visitors", "visitor"),
    "everyone": ("everyone", "everybody", "all", "whole house", "entire house", "us all",
                 "whole family", "family", "all of us", "anyone", "anybody"),
}  # fmt: skip


def index_of(
    choices: Mapping[str, Iterable[str]], tokens_of: Callable[[str], Sequence[str]]
) -> Index:
    """The index that `choices_in` reads."""
    index: Index = {}
    for choice, names in choices.items():
        for name in names:
            words = tuple(tokens_of(name))
            index.setdefault(words[0], {})[words] = choice
    return index


def choices_in(tokens: Sequence[str], index: Index) -> list[tuple[str, int, int]]:
    """The choices named, each with its tokens [start, end): the longest name at each place."""
    found = []
    at = 0
    while at < len(tokens):
        names = index.get(tokens[at], {})
        fitting = [words for words in names if tuple(tokens[at : at + len(words)]) == words]
        words = max(fitting, key=len, default=())
        if choice := names.get(words):
            found.append((choice, at, at + len(words)))
        at += max(1, len(words))
    return found
