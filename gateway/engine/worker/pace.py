"""How fast this engine is, by its own clock."""

from __future__ import annotations

_WEIGHT = 0.1  # of a new measurement; about the last ten count
_FIRST_ANSWER_TOKENS = 64.0  # assumed until answers have been seen


class Pace:
    """Exponentially weighted means of what steps and answers were like."""

    def __init__(self) -> None:
        self.prefill_s_per_token = 0.0
        self.decode_step_s = 0.0
        self.answer_tokens = _FIRST_ANSWER_TOKENS

    def prefilled(self, num_tokens: int, took_s: float) -> None:
        """A prefill chunk ran."""
        self.prefill_s_per_token = _mean(self.prefill_s_per_token, took_s / num_tokens)

    def decoded(self, took_s: float) -> None:
        """A decode step ran, at the present number of rows."""
        self.decode_step_s = _mean(self.decode_step_s, took_s)

    def answered(self, num_tokens: int) -> None:
        """A generation came to its own end."""
        self.answer_tokens = _mean(self.answer_tokens, float(num_tokens))

    def remaining_tokens(self, num_left: int) -> float:
        """What a running generation with `num_left` tokens allowed is expected to produce still.

        Answer lengths are taken as memoryless, which is right for a geometric distribution and
        close enough for chat answers.
        """
        return min(float(num_left), self.answer_tokens)


def _mean(so_far: float, new: float) -> float:
    return new if so_far == 0.0 else so_far + _WEIGHT * (new - so_far)
