"""Admission at a site that knows no peers: what baselines are given, and the best of it.

The arm `shipped` has the gateway's own, in `gateway.core.routing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.admission import Admission, AdmissionReason
from gateway.core.estimate import estimate_first_token_s

if TYPE_CHECKING:
    from gateway.core.budget import TurnClass
    from gateway.core.generation import EngineLoad


def admit(
    load: EngineLoad,
    *,
    turn_class: TurnClass,
    prompt_tokens: int,
    remaining_s: float | None,
    max_num_queued: int,
) -> Admission:
    """Decide on a turn with `remaining_s` left of its budget (None: unlimited).

    `max_num_queued` bounds what waits of the turn's class and of those before it, so that no
    queue of patient work keeps out an urgent turn.
    """
    estimate_s = estimate_first_token_s(load, prompt_tokens, turn_class)
    num_ahead = load.ahead_of(turn_class).num_queued
    has_room = load.num_active + num_ahead < load.num_slots
    if num_ahead >= max_num_queued and not has_room:
        return Admission(False, AdmissionReason.QUEUE_FULL, estimate_s)
    if remaining_s is None:
        return Admission(True, AdmissionReason.NO_BUDGET, estimate_s)
    if remaining_s <= 0.0:
        return Admission(False, AdmissionReason.BUDGET_SPENT, estimate_s)
    if estimate_s > remaining_s:
        return Admission(False, AdmissionReason.ESTIMATE_OVER_BUDGET, estimate_s)
    return Admission(True, AdmissionReason.FITS, estimate_s)
