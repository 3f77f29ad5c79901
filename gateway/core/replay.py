"""What another routing policy would have done with decisions that were made.

Only the first step is answered: had turns gone elsewhere, the loads that later decisions saw would
have been others. The simulator (loadtests/sim) answers the rest.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from gateway.core.decision_record import site_of
from gateway.core.route_choice import Verdict
from gateway.core.routing import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.decision_record import DecisionRecord


class Change(msgspec.Struct, frozen=True):
    """A decision that the other policy makes otherwise. Sites are "" where the turn is shed."""

    request_id: str
    before: Verdict
    after: Verdict
    site_before: str
    site_after: str
    estimate_before_s: float
    estimate_after_s: float


class Replay(msgspec.Struct, frozen=True):
    """The outcome of replaying some decisions."""

    num_decisions: int
    num_reproduced: int
    """Under the rules of this version the recorded decision came out; less than all: they were
    made by another version, or under other rules."""
    before: dict[Verdict, int]
    after: dict[Verdict, int]
    mean_estimate_before_s: float | None
    """Predicted time to the first token of the turns that were not shed."""
    mean_estimate_after_s: float | None
    changes: list[Change]


def replay(
    decisions: Iterable[DecisionRecord], rules: Rules, random: Callable[[], float]
) -> Replay:
    """Make the decisions again under `rules`; `random` gives numbers in [0, 1)."""
    before: Counter[Verdict] = Counter()
    after: Counter[Verdict] = Counter()
    estimates_before_s: list[float] = []
    estimates_after_s: list[float] = []
    changes: list[Change] = []
    num_decisions = num_reproduced = 0
    for made in decisions:
        same, other = made.again(Rules(), random), made.again(rules, random)
        num_decisions += 1
        num_reproduced += (same.verdict, site_of(same)) == (made.verdict, made.chosen)
        before[made.verdict] += 1
        after[other.verdict] += 1
        if made.verdict is not Verdict.SHED:
            estimates_before_s.append(made.estimate_s)
        if other.verdict is not Verdict.SHED:
            estimates_after_s.append(other.estimate_s)
        if (other.verdict, site_of(other)) != (made.verdict, made.chosen):
            changes.append(
                Change(
                    made.request_id,
                    made.verdict,
                    other.verdict,
                    made.chosen,
                    site_of(other),
                    made.estimate_s,
                    other.estimate_s,
                )
            )
    return Replay(
        num_decisions,
        num_reproduced,
        dict(before),
        dict(after),
        _mean(estimates_before_s),
        _mean(estimates_after_s),
        changes,
    )


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
