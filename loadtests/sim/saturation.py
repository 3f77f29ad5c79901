"""The rate at which a site's accelerator has no idle second: what "load 0.7" is 0.7 of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gateway.core.step_time import StepTimes
    from loadtests.sim.site import SiteSpec
    from loadtests.sim.workload import Sizes

_NUM_DRAWN = 4000


def saturation_hz(times: StepTimes, spec: SiteSpec, prompts: Sizes, outputs: Sizes) -> float:
    """Requests a second with every slot decoding: each costs its prefill and its share of steps.

    A mean over sizes drawn with a fixed seed. No site reaches it inside any latency budget.
    """
    rng = np.random.default_rng(0)
    prompt = prompts.draw(_NUM_DRAWN, rng)
    output = outputs.draw(_NUM_DRAWN, rng)
    context_tokens = round(spec.num_slots * float((prompt + output / 2.0).mean()))
    token_s = times.decode_s(spec.num_slots, context_tokens) / spec.num_slots
    prefill_s = sum(_prompt_s(times, int(tokens), spec.chunk_tokens) for tokens in prompt)
    return 1.0 / (prefill_s / _NUM_DRAWN + token_s * float((output - 1).mean()))


def _prompt_s(times: StepTimes, prompt_tokens: int, chunk_tokens: int) -> float:
    starts = range(0, prompt_tokens, chunk_tokens)
    return sum(times.prefill_s(min(chunk_tokens, prompt_tokens - at), at) for at in starts)
