"""Admit a turn or shed it, from what the engine says of itself.

Early refusal is the largest lever on attainment: work that cannot meet its budget only makes
other work miss theirs. An estimate is therefore made for every turn with a budget, and a turn
whose best estimate misses it is refused before anything is spent on it.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
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


class Admission(msgspec.Struct, frozen=True):
    """The decision on one turn at one site. `estimate_s` counts from the decision."""

    admitted: bool
    reason: AdmissionReason
    estimate_s: float


def estimate_first_token_s(load: EngineLoad, prompt_tokens: int) -> float:
    """Predicted seconds from submission to the first token.

    Three parts: the wait for a slot, when all are taken, at the rate at which running generations
    end; the prefill of everything that has not been prefilled, this prompt last; and one decode
    step at the end, in which a prefill may have to wait its turn.
    """
    num_without_slot = load.num_queued + 1 - max(0, load.num_slots - load.num_active)
    slot_wait_s = 0.0
    if num_without_slot > 0:
        generation_s = load.mean_remaining_tokens * load.decode_step_s
        slot_wait_s = generation_s * num_without_slot / load.num_slots
    prefill_s = (load.queued_prompt_tokens + prompt_tokens) * load.prefill_s_per_token
    return slot_wait_s + prefill_s + (load.decode_step_s if load.num_active else 0.0)


def admit(
    load: EngineLoad,
    *,
    prompt_tokens: int,
    remaining_s: float | None,
    max_num_queued: int,
) -> Admission:
    """Decide on a turn with `remaining_s` left of its budget (None: unlimited)."""
    estimate_s = estimate_first_token_s(load, prompt_tokens)
    has_room = load.num_active + load.num_queued < load.num_slots
    if load.num_queued >= max_num_queued and not has_room:
        return Admission(False, AdmissionReason.QUEUE_FULL, estimate_s)
    if remaining_s is None:
        return Admission(True, AdmissionReason.NO_BUDGET, estimate_s)
    if remaining_s <= 0.0:
        return Admission(False, AdmissionReason.BUDGET_SPENT, estimate_s)
    if estimate_s > remaining_s:
        return Admission(False, AdmissionReason.ESTIMATE_OVER_BUDGET, estimate_s)
    return Admission(True, AdmissionReason.FITS, estimate_s)


def retry_after_s(load: EngineLoad, budget_s: float | None) -> float:
    """When a shed caller may find room: whole seconds, at least 1 and at most 60.

    The time in which the present backlog shrinks to what the budget allows.
    """
    backlog_s = estimate_first_token_s(load, 0)
    over_s = backlog_s - (budget_s or 0.0)
    return float(min(60, max(1, math.ceil(over_s))))
