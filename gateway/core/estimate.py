"""When a turn's first token may be expected at a site: one estimate for here and for elsewhere.

What is ahead of a turn is a wait in seconds at the site's own measured speed. For this site it is
computed from the engine's exact load; for a peer it is what the peer computed so, plus what was
sent there since (`core.peer_view`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.generation import CLASS_RANK

if TYPE_CHECKING:
    from gateway.core.budget import TurnClass
    from gateway.core.generation import EngineLoad


def estimate_first_token_s(load: EngineLoad, prompt_tokens: int, turn_class: TurnClass) -> float:
    """Predicted seconds from submission to the first token.

    The wait for what is ahead, the prefill of `prompt_tokens` (those not found in the cache), and
    one decode step, in which a prefill may have to wait its turn.
    """
    return (
        wait_s(load, CLASS_RANK[turn_class])
        + prompt_tokens * load.prefill_s_per_token
        + step_s(load)
    )


def wait_s(load: EngineLoad, class_rank: int) -> float:
    """Predicted seconds until the prompt of a new turn of this class is next.

    Three parts: until the engine works, if it does not; the wait for a slot; the prefill of all
    prompts ahead. Queued work of later classes costs nothing: it is overtaken.
    """
    num_queued = prompt_tokens = 0
    for backlog in load.backlog[: class_rank + 1]:
        num_queued += backlog.num_queued
        prompt_tokens += backlog.prompt_tokens
    num_without_slot = num_queued + 1 - num_free_slots(load)
    waited_s = load.available_in_s + prompt_tokens * load.prefill_s_per_token
    return waited_s if num_without_slot <= 0 else waited_s + _slot_wait_s(load, num_without_slot)


def step_s(load: EngineLoad) -> float:
    """The decode step a prefill may have to wait for."""
    return load.decode_step_s if load.num_active else 0.0


def num_free_slots(load: EngineLoad) -> int:
    """Slots nobody holds."""
    num_free = load.num_slots - load.num_active
    return num_free if num_free > 0 else 0


def slot_interval_s(load: EngineLoad) -> float:
    """The mean time between two generations' ends, while all slots are taken."""
    return load.mean_remaining_tokens * load.decode_step_s / load.num_slots


def _slot_wait_s(load: EngineLoad, num_without_slot: int) -> float:
    """How long until so many slots have become free, at the rate at which generations end.

    The generations in slots now end first; what comes after them runs a whole answer.
    """
    num_running = min(num_without_slot, load.num_slots)
    tokens = (
        num_running * load.mean_remaining_tokens
        + (num_without_slot - num_running) * load.answer_tokens
    )
    return tokens * load.decode_step_s / load.num_slots
