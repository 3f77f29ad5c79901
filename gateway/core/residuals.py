"""How far estimates are off, learned while they are used."""

from __future__ import annotations

from gateway.core.generation import CLASS_RANK

_QUANTILE = 0.95
_STEP = 0.05
"""Part of the mean error by which the quantile moves at one sample."""
_WEIGHT = 0.05
_LEAST_S = 0.02
"""Shorter estimates are as wrong as this one: what a loop, a link and a step add is no ratio."""
_MAX_RATIO = 20.0


class Residuals:
    """Actual over estimated time to the first token at one place, by class.

    A class waits longer than its work, because later turns of earlier classes overtake it, so
    each has its own. The quantile is the stochastic approximation of Robbins and Monro (1951): up
    by `step * 0.95` for a sample above it, down by `step * 0.05` for one below, so that it rests
    where 95 % lie below. Its step follows the mean error, so that it needs no scale.
    """

    __slots__ = ("_error", "_num", "p95_ratio")

    def __init__(self) -> None:
        self.p95_ratio = [1.0] * len(CLASS_RANK)
        """By what an estimate is to be multiplied to hold 19 times of 20; at least 1."""
        self._error = [0.1] * len(CLASS_RANK)
        self._num = [0] * len(CLASS_RANK)

    def add(self, class_rank: int, estimate_s: float, actual_s: float) -> None:
        """A first token was estimated at `estimate_s` and came at `actual_s`."""
        self._num[class_rank] += 1
        # The first samples count in full, or a start far off would be believed for long.
        first = 1.0 / self._num[class_rank]
        ratio = min(_MAX_RATIO, max(0.0, actual_s) / max(_LEAST_S, estimate_s))
        error = self._error[class_rank]
        error += max(_WEIGHT, first) * (abs(ratio - 1.0) - error)
        self._error[class_rank] = error
        step = max(_STEP, first) * max(error, 0.01)
        quantile = self.p95_ratio[class_rank]
        quantile += step * _QUANTILE if ratio > quantile else step * (_QUANTILE - 1.0)
        self.p95_ratio[class_rank] = max(1.0, quantile)

    def margin_s(self, class_rank: int, estimate_s: float) -> float:
        """What the estimate needs on top to hold 19 times of 20."""
        return (self.p95_ratio[class_rank] - 1.0) * estimate_s
