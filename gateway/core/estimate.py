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

    The wait for what is ahead, and the prefill of `prompt_tokens` (those not found in the cache).
    """
    return first_token_s(load, prompt_tokens, CLASS_RANK[turn_class])


def first_token_s(load: EngineLoad, prompt_tokens: int, class_rank: int) -> float:
    """`estimate_first_token_s` for whoever has the class's rank at hand.

    Until the engine works, if it does not; then all prompts ahead and this one are prefilled,
    slots become free, and there may be a decode step to wait for at the end. Queued work of later
    classes costs nothing: it is overtaken.
    """
    voice, agent, batch = load.backlog
    num_queued, tokens_ahead = voice.num_queued, voice.prompt_tokens
    if class_rank:
        num_queued += agent.num_queued
        tokens_ahead += agent.prompt_tokens
        if class_rank > 1:
            num_queued += batch.num_queued
            tokens_ahead += batch.prompt_tokens
    num_tokens, num_active, beside_s = tokens_ahead + prompt_tokens, load.num_active, 0.0
    estimate_s = load.available_in_s + num_tokens * load.prefill_s_per_token
    if num_active:
        step_s, chunk_tokens = load.decode_step_s, load.chunk_tokens
        estimate_s += step_s
        if chunk_tokens:
            beside_s = step_s / chunk_tokens
            estimate_s += num_tokens * beside_s
    if num_queued < load.num_slots - num_active:
        return estimate_s
    # The decode steps beside the prefills ahead already bring slots nearer.
    num_without_slot = num_queued + 1 - num_free_slots(load)
    slot_s = _slot_wait_s(load, num_without_slot) - tokens_ahead * beside_s
    return estimate_s + slot_s if slot_s > 0.0 else estimate_s


def token_s(load: EngineLoad) -> float:
    """What a prompt token takes, its part of the decode step that each chunk runs beside
    included.
    """
    if load.num_active and load.chunk_tokens:
        return load.prefill_s_per_token + load.decode_step_s / load.chunk_tokens
    return load.prefill_s_per_token


def step_s(load: EngineLoad) -> float:
    """The decode step a prefill may have to wait for at its end."""
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
    num_slots = load.num_slots
    if num_without_slot <= num_slots:
        num_tokens = num_without_slot * load.mean_remaining_tokens
    else:
        num_tokens = num_slots * load.mean_remaining_tokens
        num_tokens += (num_without_slot - num_slots) * load.answer_tokens
    return num_tokens * load.decode_step_s / num_slots
