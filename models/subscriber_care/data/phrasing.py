"""A small pattern language, so that one line of grammar stands for hundreds of sentences.

`(a|b)` chooses, `[a]` may be left out, `{name}` is filled by the caller of `expand`; all nest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str


@dataclass(frozen=True, slots=True)
class _Choice:
    options: tuple["_Sequence", ...]


_Sequence: TypeAlias = "tuple[str | _Slot | _Choice, ...]"


class PatternError(ValueError):
    """A pattern whose brackets do not match."""


def expand(pattern: str, rng: Random, slots: Mapping[str, str]) -> str:
    """Return one sentence of `pattern`; raises `KeyError` for a slot that is not in `slots`."""
    words = "".join(_walk(_parse(pattern), rng, slots)).split()
    return " ".join(words).replace(" ,", ",").replace(" .", ".").replace(" ?", "?")


def _walk(sequence: _Sequence, rng: Random, slots: Mapping[str, str]) -> Iterator[str]:
    for part in sequence:
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Slot):
            yield slots[part.name]
        else:
            yield from _walk(rng.choice(part.options), rng, slots)


@cache
def _parse(pattern: str) -> _Sequence:
    options, _ = _parse_options(pattern, 0, "")
    return options[0] if len(options) == 1 else (_Choice(tuple(options)),)


def _parse_options(pattern: str, start: int, closing: str) -> tuple[list[_Sequence], int]:
    """Read `a|b|c` up to `closing`; return the options and where reading stopped."""
    options: list[_Sequence] = []
    parts: list[str | _Slot | _Choice] = []
    at = text_from = start
    while at < len(pattern):
        mark = pattern[at]
        if mark not in "([{|)]":
            at += 1
            continue
        parts += [pattern[text_from:at]]
        at += 1
        if mark == "{":
            end = pattern.index("}", at)
            parts.append(_Slot(pattern[at:end]))
            at = end + 1
        elif mark in "([":
            inner, at = _parse_options(pattern, at, ")" if mark == "(" else "]")
            parts.append(_Choice(tuple(inner if mark == "(" else [*inner, ()])))
        else:
            options.append(tuple(part for part in parts if part != ""))
            parts = []
            if mark == closing:
                return options, at
            if mark != "|":
                raise PatternError(f"unexpected {mark!r} before {at} in {pattern!r}")
        text_from = at
    if closing:
        raise PatternError(f"no {closing!r} before the end of {pattern!r}")
    parts.append(pattern[text_from:])
    options.append(tuple(part for part in parts if part != ""))
    return options, at
