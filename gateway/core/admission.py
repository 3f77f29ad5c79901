"""What is told of a turn that was admitted or shed, and when a shed caller may come again.

Early refusal is the largest lever on attainment: work that cannot meet its budget only makes
other work miss theirs. `core.routing` decides for the site's own model, `core.upstream_pace` for
another server's.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from gateway.core.estimate import estimate_first_token_s

if TYPE_CHECKING:
    from gateway.core.budget import TurnClass
    from gateway.core.generation import EngineLoad


class AdmissionReason(StrEnum):
    """Why a turn was admitted or shed."""

    FITS = "fits"
    """The estimate is inside what is left of the budget."""
    NO_BUDGET = "no_budget"
    """The turn may wait."""
    ESTIMATE_OVER_BUDGET = "estimate_over_budget"
    QUEUE_FULL = "queue_full"
    BUDGET_SPENT = "budget_spent"
    """Nothing was left before the engine was even asked."""
    EXPIRED_IN_QUEUE = "expired_in_queue"
    """Admitted, but no slot became free in time."""
    ENGINE_FAILED = "engine_failed"
    """The engine here was lost with the turn in it, and did not come back."""


class Admission(msgspec.Struct, frozen=True):
    """The decision on one turn at one site. `estimate_s` counts from the decision."""

    admitted: bool
    reason: AdmissionReason
    estimate_s: float


def retry_after_s(
    load: EngineLoad, budget_s: float | None, turn_class: TurnClass, prompt_tokens: int
) -> float:
    """When a shed caller may find room: whole seconds, at least 1 and at most 60.

    The time in which the present backlog shrinks to what the budget allows. Infinite where the
    prompt alone takes longer than that.
    """
    if budget_s is not None and prompt_tokens * load.prefill_s_per_token > budget_s:
        return math.inf
    backlog_s = estimate_first_token_s(load, 0, turn_class)
    over_s = backlog_s - (budget_s or 0.0)
    return float(min(60, max(1, math.ceil(over_s))))
