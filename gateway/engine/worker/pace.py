"""How fast this engine is, by its own clock."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from gateway.core.generation import EngineLoad
    from gateway.engine.worker.port import RunnableModel

_WEIGHT = 0.1  # of a new measurement; about the last ten count
_WHOLE_CHUNK_TOKENS = 64  # a shorter chunk says less of the cost of a token
_REMEASURED_WEIGHT = 0.5
_FIRST_ANSWER_TOKENS = 64.0  # assumed until answers have been seen
_SLOW_RATIO = 1.5
_FIRST_RECHECK_S, _LAST_RECHECK_S = 0.25, 8.0
_MEASURED_TOKENS, _MEASURED_STEPS = 64, 3
_LEAST_RATIO = 0.001
"""A capacity of nothing is a thousandth in figures that have to be finite."""


class TimedRuns(NamedTuple):
    """What some runs took: a prompt of so many tokens, and a decode step of one row."""

    num_tokens: int
    prefill_s: float
    decode_step_s: float


def timed_runs(model: RunnableModel, row: int) -> TimedRuns:
    """Run a model each way in a free row. Raises EngineFault."""
    num_tokens = min(_MEASURED_TOKENS, model.max_context_tokens - _MEASURED_STEPS)
    began_s = time.monotonic()
    model.prefill(row, [0] * num_tokens, 0)
    prefill_s = time.monotonic() - began_s
    steps_s = []
    for step in range(_MEASURED_STEPS):
        began_s = time.monotonic()
        model.decode([0], [num_tokens + step], first_row=row)
        steps_s.append(time.monotonic() - began_s)
    return TimedRuns(num_tokens, prefill_s, min(steps_s))


class Pace:
    """Exponentially weighted means of what steps and answers were like.

    An engine that was slow for a while, because the machine was busy, may look too slow for any
    new work and would then never learn that it is fast again. While idle and slower than it has
    been, it therefore asks for a measurement now and then, ever less often.
    """

    def __init__(self) -> None:
        self.prefill_s_per_token = 0.0
        self.decode_step_s = 0.0
        self.answer_tokens = _FIRST_ANSWER_TOKENS
        self.cached_ratio = 0.0
        """Prompt tokens that came from the cache, of all that arrived lately."""
        self.capacity_ratio = 1.0
        """The share of the time in which steps may run. What is measured here is without rests."""
        self._fastest_prefill_s = 0.0
        self._recheck_s = _FIRST_RECHECK_S

    def prefilled(self, num_tokens: int, took_s: float) -> None:
        """A prefill chunk ran."""
        weight = _WEIGHT * min(1.0, num_tokens / _WHOLE_CHUNK_TOKENS)
        self._take_prefill(took_s / num_tokens, weight)
        self._recheck_s = _FIRST_RECHECK_S

    def cached(self, cached_tokens: int, prompt_tokens: int) -> None:
        """A prompt was admitted, of which so much came from the cache."""
        weight = _WEIGHT * min(1.0, prompt_tokens / _WHOLE_CHUNK_TOKENS)
        self.cached_ratio += weight * (cached_tokens / prompt_tokens - self.cached_ratio)

    def prefill_tokens_in(self, step_s: float) -> int | None:
        """Prompt tokens that fit into a step of so long beside its decode; None: not known yet."""
        if self.prefill_s_per_token == 0.0:
            return None
        working_s = step_s * self.capacity_ratio
        return max(0, int((working_s - self.decode_step_s) / self.prefill_s_per_token))

    def rest_s(self, worked_s: float) -> float:
        """How long to rest after a step of so long; infinite where nothing may run."""
        return worked_s / self.capacity_ratio - worked_s if self.capacity_ratio else inf

    def with_rests(self, load: EngineLoad) -> EngineLoad:
        """A load of speeds measured here, as whoever waits for the engine sees it."""
        if self.capacity_ratio == 1.0:
            return load
        ratio = max(_LEAST_RATIO, self.capacity_ratio)
        return msgspec.structs.replace(
            load,
            prefill_s_per_token=load.prefill_s_per_token / ratio,
            decode_step_s=load.decode_step_s / ratio,
        )

    def decoded(self, took_s: float) -> None:
        """A decode step ran, at the present number of rows."""
        self.decode_step_s = _mean(self.decode_step_s, took_s, _WEIGHT)

    def answered(self, num_tokens: int) -> None:
        """A generation came to its own end."""
        self.answer_tokens = _mean(self.answer_tokens, float(num_tokens), _WEIGHT)

    def remeasured(self, num_tokens: int, prefill_s: float, decode_step_s: float) -> None:
        """A measurement was made on purpose: `num_tokens` of prefill, then decode steps of one row.

        It weighs more than one in passing: there is nothing else to learn from.
        """
        self._take_prefill(prefill_s / num_tokens, _REMEASURED_WEIGHT)
        self.decode_step_s = _mean(self.decode_step_s, decode_step_s, _REMEASURED_WEIGHT)
        self._recheck_s = min(2 * self._recheck_s, _LAST_RECHECK_S)

    @property
    def recheck_in_s(self) -> float | None:
        """How long an idle engine may wait until it should measure itself; None: no need."""
        slow = self.prefill_s_per_token > _SLOW_RATIO * self._fastest_prefill_s
        return self._recheck_s if slow and self.capacity_ratio else None

    def remaining_tokens(self, num_left: int) -> float:
        """What a running generation with `num_left` tokens allowed is expected to produce still.

        Answer lengths are taken as memoryless, which is right for a geometric distribution and
        close enough for chat answers.
        """
        return min(float(num_left), self.answer_tokens)

    def _take_prefill(self, s_per_token: float, weight: float) -> None:
        self.prefill_s_per_token = _mean(self.prefill_s_per_token, s_per_token, weight)
        fastest_s = self._fastest_prefill_s or s_per_token
        self._fastest_prefill_s = min(fastest_s, self.prefill_s_per_token)


def _mean(so_far: float, new: float, weight: float) -> float:
    return new if so_far == 0.0 else so_far + weight * (new - so_far)
