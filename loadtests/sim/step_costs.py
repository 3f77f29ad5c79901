"""A step-time profile as a simulated engine asks for it: in tables, many steps at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.step_time import StepTimes


class StepCosts:
    """What steps of an engine of these sizes take, in seconds."""

    __slots__ = ("_context_s", "_pair_s", "chunk_s", "rows_s")

    def __init__(self, times: StepTimes, *, num_slots: int, chunk_tokens: int) -> None:
        self.rows_s = [times.decode.at(num_rows) for num_rows in range(num_slots + 1)]
        """A decode step by its number of rows, without their contexts."""
        self.chunk_s = [times.prefill.at(num_tokens) for num_tokens in range(chunk_tokens + 1)]
        """A chunk by its number of tokens, over no past."""
        self._context_s = times.decode_s_per_context_token
        self._pair_s = times.prefill_s_per_pair

    def prefill_s(self, num_tokens: int, past_tokens: int) -> float:
        """A chunk of one prompt over the `past_tokens` before it."""
        return self.chunk_s[num_tokens] + self._pair_s * num_tokens * past_tokens

    def decode_s(self, num_rows: int, context_tokens: int, num_steps: int = 1) -> float:
        """`num_steps` decode steps of the same rows, whose contexts sum to `context_tokens` at
        the first of them and grow by a token a row with each.
        """
        grown_tokens = num_rows * (num_steps * (num_steps - 1) // 2)
        attended_tokens = num_steps * context_tokens + grown_tokens
        return num_steps * self.rows_s[num_rows] + attended_tokens * self._context_s

    def whole_steps(self, num_rows: int, context_tokens: int, passed_s: float) -> int:
        """How many decode steps, as in `decode_s`, are over after `passed_s`."""
        slope_s = self._context_s * num_rows
        first_s = self.rows_s[num_rows] + self._context_s * context_tokens - slope_s / 2
        # num_steps * first_s + num_steps^2 * slope_s / 2 = passed_s, in the form that also holds
        # for a slope of zero.
        root = math.sqrt(first_s * first_s + 2.0 * slope_s * passed_s)
        num_steps = max(0, int(2.0 * passed_s / (first_s + root)))
        # Rounding may leave the estimate one off, on either side.
        while num_steps and self.decode_s(num_rows, context_tokens, num_steps) > passed_s:
            num_steps -= 1
        while self.decode_s(num_rows, context_tokens, num_steps + 1) <= passed_s:
            num_steps += 1
        return num_steps
