"""How long an accelerator takes over one run of a model, as a function of its shape.

A profile is data: two curves and two slopes. The emulated accelerator waits by it and the
simulator advances by it, so that both speak of the same machine.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from math import isfinite

import msgspec


class Curve(msgspec.Struct, frozen=True):
    """Seconds over a count from 1 on: linear between the points, the last slope beyond them.

    Raises ValueError unless `counts` begin at 1 and grow, and `times_s` are positive and never
    fall.
    """

    counts: tuple[int, ...]
    times_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """Hold the points to what makes a curve."""
        counts, times_s = self.counts, self.times_s
        if len(counts) != len(times_s) or len(counts) < 2:
            raise ValueError(f"{len(counts)} counts and {len(times_s)} times; two or more of each")
        if counts[0] != 1 or any(a >= b for a, b in pairwise(counts)):
            raise ValueError("the counts must begin at 1 and grow")
        if not all(isfinite(time_s) and time_s > 0 for time_s in times_s):
            raise ValueError("every time must be above 0")
        if any(a > b for a, b in pairwise(times_s)):
            raise ValueError("a larger count cannot take less time")

    def at(self, count: float) -> float:
        """Seconds for `count`; counts below 1 cost as much as 1."""
        counts, times_s = self.counts, self.times_s
        right = min(max(1, bisect_left(counts, count)), len(counts) - 1)
        left = right - 1
        slope = (times_s[right] - times_s[left]) / (counts[right] - counts[left])
        return times_s[left] + slope * (max(count, 1) - counts[left])


class StepTimes(msgspec.Struct, frozen=True):
    """One accelerator running one model.

    A decode step reads the weights once and every row's cache; a prefill chunk is bound by
    arithmetic, and its attention by the pairs of its tokens with those before the chunk.
    Raises ValueError for a negative slope.
    """

    name: str
    decode: Curve
    """By rows in the batch, without their contexts."""
    decode_s_per_context_token: float
    prefill: Curve
    """By tokens of the chunk, over no past."""
    prefill_s_per_pair: float
    is_measured: bool

    def __post_init__(self) -> None:
        """Hold the slopes to their range."""
        for slope in (self.decode_s_per_context_token, self.prefill_s_per_pair):
            if not (isfinite(slope) and slope >= 0):
                raise ValueError(f"a slope must be at least 0, not {slope:g}")

    def decode_s(self, num_rows: int, context_tokens: int) -> float:
        """One token for each of `num_rows` rows, which hold `context_tokens` tokens together."""
        return self.decode.at(num_rows) + self.decode_s_per_context_token * context_tokens

    def prefill_s(self, num_tokens: int, past_tokens: int) -> float:
        """A chunk of one prompt over the `past_tokens` before it."""
        return self.prefill.at(num_tokens) + self.prefill_s_per_pair * num_tokens * past_tokens
