"""The grid's own use of its objectives: a site whose turns are late takes less from its peers.

Estimates say beforehand what a site can take. Where they are wrong without the site's knowing (its
machine stands still now and then, a neighbour takes its memory's bandwidth) each peer learns it for
itself, from turns that were late. The site has seen them all: while its burn rate over the last
10 s and the last minute is that of the rule `fast`, it grants credit for shorter waits only, and
says so in its next report.

Turns count where they are generated, whoever's they are, and only up to their first token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.generation import CLASS_RANK
from gateway.core.service_report import LONG_S, SHORT_S
from gateway.core.slo import FAST, Objectives, SlidingTally

if TYPE_CHECKING:
    from gateway.core.budget import TurnClass

LEAST_RATIO: Final = 0.25
"""Of the credit, that is always granted: a site that has nothing to do takes work, so that a grid
in which every site burns is not emptied, and a site that was mended finds it out."""
CUT_RATIO: Final = 0.5
RISE_RATIO: Final = 0.05
"""For each second of burning credit is halved; for each in which the objective is kept it rises by
so much of the whole. In between it stays: fast down, slow up and a dead band, so that work that
comes back little by little finds the rate at which the site keeps its objective."""
_SLICE_S: Final = 1.0


class CreditBrake:
    """How much of its credit one site grants, by class. Instants never go back."""

    def __init__(self, objectives: Objectives | None = None) -> None:
        promised = objectives or Objectives()
        self._by_class = tuple(_ClassBrake(promised.of(one)) for one in CLASS_RANK)

    def add(self, turn_class: TurnClass, *, is_met: bool, now_s: float) -> None:
        """A turn has had its first token here, or its budget has passed without."""
        self._by_class[CLASS_RANK[turn_class]].served.add(is_met, now_s)

    def ratio(self, turn_class: TurnClass, now_s: float) -> float:
        """The part of its credit that the class is granted now, LEAST_RATIO to 1."""
        return self._by_class[CLASS_RANK[turn_class]].ratio(now_s)


class _ClassBrake:
    def __init__(self, objective_ratio: float) -> None:
        self.served = SlidingTally(_SLICE_S, LONG_S)
        self._objective_ratio = objective_ratio
        self._ratio = 1.0
        self._at_s = 0.0

    def ratio(self, now_s: float) -> float:
        num_s = int(now_s / _SLICE_S) - int(self._at_s / _SLICE_S)
        self._at_s = now_s
        if num_s > 0:
            self._step(num_s, now_s)
        return self._ratio

    def _step(self, num_s: int, now_s: float) -> None:
        """So many seconds have passed. Of a site that was not asked for long only the present is
        known: it is cut once, and rises as if all had been like this."""
        short, long = self.served.over((SHORT_S, LONG_S), now_s)
        if FAST.fires(short, long, self._objective_ratio):
            self._ratio = max(LEAST_RATIO, self._ratio * CUT_RATIO)
        elif (short.burn_rate(self._objective_ratio) or 0.0) <= 1.0:
            self._ratio = min(1.0, self._ratio + RISE_RATIO * num_s)
