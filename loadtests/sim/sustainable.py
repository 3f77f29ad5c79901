"""The highest load an arm sustains: bisection over parts of one seed's requests.

A load is sustained when every class attains its share and the P99 of its answers is within its
budget, over the run and while each surge lasts: a quiet rest does not make up for a burst. Less
load is a part of the requests of more (`drawing.thinned`), so that arms and loads differ in nothing
but what is asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtests.sim.grid import TooManyMissed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from loadtests.sim.arms import Arm
    from loadtests.sim.outcome import Outcome
    from loadtests.sim.prepared import Prepared
    from loadtests.sim.scenario import Surge

LEAST_ATTAINED = 0.99


@dataclass(frozen=True, slots=True)
class Sustained:
    """One arm on one seed. The loads are parts of the scenario's own."""

    ratio: float
    """The highest that was sustained; 0: none was."""
    is_at_most: bool
    """Whether nothing that was tried was too much, so that more might be sustained."""


def is_sustained(outcome: Outcome, surges: Sequence[Surge] = ()) -> bool:
    """Whether every class was in time, in all and of what was sent within each surge; a class
    that sent nothing was.
    """
    sent_s = np.frombuffer(outcome.workload.sent_s)
    spans = [np.ones(len(sent_s), np.bool_)]
    spans += [(sent_s >= surge.at_s) & (sent_s < surge.until_s) for surge in surges]
    return all(_is_in_time(outcome, rows) for rows in spans)


def _is_in_time(outcome: Outcome, sent: NDArray[np.bool_]) -> bool:
    workload = outcome.workload
    slo = np.frombuffer(workload.slo, np.int64)
    first_s = np.frombuffer(outcome.first_token_s)
    attained = outcome.attained()
    for index, limits in enumerate(workload.slos):
        rows = sent & (slo == index)
        if not rows.any():
            continue
        answered = first_s[rows & ~np.isnan(first_s)]
        if attained[rows].mean() < LEAST_ATTAINED or not len(answered):
            return False
        limit_s = limits.first_token_s
        if limit_s is not None and np.percentile(answered, 99) > limit_s:
            return False
    return True


def highest_load(prepared: Prepared, arm: Arm | str, *, tolerance: float = 0.01) -> Sustained:
    """Between nothing and all of the scenario's load, to within `tolerance` of it."""
    low, high = 0.0, 1.0
    while high - low > tolerance:
        middle = (low + high) / 2.0
        if _sustains(prepared.at_load(middle), arm):
            low = middle
        else:
            high = middle
    return Sustained(low, is_at_most=high == 1.0)


def _sustains(prepared: Prepared, arm: Arm | str) -> bool:
    """Whether the whole of this load is; a run that has missed too many is not ended."""
    allowed = (1.0 - LEAST_ATTAINED) * len(prepared.workload)
    try:
        outcome = prepared.run(arm, max_num_missed=allowed)
    except TooManyMissed:
        return False
    return is_sustained(outcome, prepared.scenario.load.surges)
