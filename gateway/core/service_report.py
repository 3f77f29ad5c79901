"""What a site tells others of how it has served its own callers, once a second and small.

From these reports every site adds up the grid's latency and attainment for itself. A turn counts
at the site its caller came to, wherever it was answered.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from gateway.core.generation import SERVICE_ORDER
from gateway.core.latency_histogram import EMPTY, LatencyHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORT_S = 10.0
LONG_S = 60.0
"""The two windows that sites tell each other about."""

_MAX_COUNT = 1_000_000_000
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_COUNT)]
_Ratio = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]


class Fate(StrEnum):
    """What became of a turn. Callers' own mistakes, and turns they left early, are none of these.

    The order is that of `ServiceReport.num_by_fate`.
    """

    HERE = "here"
    """Answered at the site its caller came to."""
    FORWARDED = "forwarded"
    """Answered by a peer."""
    ESCALATED = "escalated"
    """Answered by the core tier."""
    SHED = "shed"
    FAILED = "failed"


class Tally(NamedTuple):
    """Turns with a budget, by whether they met it."""

    met: _Count = 0
    missed: _Count = 0

    @property
    def attainment(self) -> float | None:
        """Which part met its budget; None while there were no turns."""
        total = self.met + self.missed
        return self.met / total if total else None

    def burn_rate(self, objective_ratio: float) -> float | None:
        """How many times faster than the objective allows turns miss; 1 uses its budget up."""
        attainment = self.attainment
        return None if attainment is None else (1.0 - attainment) / (1.0 - objective_ratio)

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.met + other.met, self.missed + other.missed)


class ClassService(msgspec.Struct, frozen=True, array_like=True):
    """How turns of one class went."""

    objective_ratio: _Ratio
    """Which part of them is to meet its budget."""
    short: Tally = Tally()
    """Over the last `SHORT_S`."""
    long: Tally = Tally()
    """Over the last `LONG_S`."""
    first_content: LatencyHistogram = EMPTY
    """Time to the first content of those that had any, over the last `LONG_S`."""


class ServiceReport(msgspec.Struct, frozen=True, array_like=True):
    """One site's figures, by class in `SERVICE_ORDER`.

    Decoding one with a figure out of range raises msgspec.ValidationError.
    """

    by_class: tuple[ClassService, ClassService, ClassService]
    answer_tokens_per_s: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 0.0
    """Of turns that ended in the last `LONG_S`."""
    num_by_fate: tuple[_Count, _Count, _Count, _Count, _Count] = (0, 0, 0, 0, 0)
    """Of the same turns, in the order of `Fate`."""
    num_sessions: _Count = 0
    """Open now."""


def added_up(reports: Iterable[ServiceReport]) -> ServiceReport | None:
    """The service of several sites together; None of none.

    The grid promises what the most demanding of its sites promises.
    """
    given = tuple(reports)
    if not given:
        return None
    voice, agent, batch = (
        _class_added_up([report.by_class[rank] for report in given])
        for rank in range(len(SERVICE_ORDER))
    )
    here, forwarded, escalated, shed, failed = (
        min(_MAX_COUNT, sum(report.num_by_fate[rank] for report in given))
        for rank in range(len(Fate))
    )
    return ServiceReport(
        (voice, agent, batch),
        min(1e9, sum(report.answer_tokens_per_s for report in given)),
        (here, forwarded, escalated, shed, failed),
        min(_MAX_COUNT, sum(report.num_sessions for report in given)),
    )


def _class_added_up(parts: list[ClassService]) -> ClassService:
    counts: dict[int, int] = {}
    short = long = Tally()
    for part in parts:
        short, long = short.plus(part.short), long.plus(part.long)
        part.first_content.add_to(counts)
    objective_ratio = max(part.objective_ratio for part in parts)
    return ClassService(objective_ratio, short, long, LatencyHistogram.of(counts))
