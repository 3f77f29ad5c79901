"""Which sites of a large grid to be linked to: the nearest that answer, and some that do not share
their fate. Sites of one region have their bursts, floods and power cuts together."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_GAIN_RATIO, _GAIN_S = 0.2, 0.001
"""How much nearer a site must be to take another's place: links must not come and go with the
noise of round trips."""
_ELSEWHERE_RATIO = 0.25
"""Of the places, for sites of other regions than one's own, each of another."""


class Candidate(msgspec.Struct, frozen=True):
    """A site that could be linked to."""

    site: str
    rtt_s: float | None
    """None while not measured."""
    is_linked: bool = False
    """A link is kept to it, up or not."""
    is_failing: bool = False
    """It was tried, for long enough, in vain."""
    region: str = ""


def choose_neighbours(
    candidates: Iterable[Candidate], max_num: int, *, region: str = ""
) -> list[str]:
    """The sites to be linked to, nearest first, at most `max_num`; `region` is one's own.

    Those that were not measured come after those that were, those that fail after all others:
    while there is room even they are tried.
    """
    nearest = sorted(candidates, key=_distance)
    by_region: dict[str, Candidate] = {}
    for one in nearest:
        if one.region != region and not one.is_failing:
            by_region.setdefault(one.region, one)
    elsewhere = list(by_region.values())[: int(_ELSEWHERE_RATIO * max_num)]
    rest = [one for one in nearest if one not in elsewhere][: max_num - len(elsewhere)]
    return [one.site for one in sorted((*elsewhere, *rest), key=_distance)]


def _distance(candidate: Candidate) -> tuple[bool, float, str]:
    rtt_s = inf if candidate.rtt_s is None else candidate.rtt_s
    if candidate.is_linked:
        rtt_s -= _GAIN_S + _GAIN_RATIO * rtt_s if rtt_s < inf else 0.0
    return (candidate.is_failing, rtt_s, candidate.site)
