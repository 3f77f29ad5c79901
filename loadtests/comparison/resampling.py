"""Intervals for runs whose requests depend on each other: a moving-block bootstrap over time.

Requests of one burst wait in one queue. Resampling them one by one would call the run more certain
than it is, so blocks of seconds are drawn whole (Künsch, Annals of Statistics 17, 1989).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

BLOCK_S = 5.0
"""Longer than a burst of 3 s and the queue it leaves."""
_ROUNDS = 200
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t at 97.5 % for 1 to 9 degrees of freedom."""
_NORMAL_975 = 1.96


def blocks(sent_s: NDArray[np.float64], block_s: float = BLOCK_S) -> list[NDArray[np.int64]]:
    """Rows of each block of time that has any. `sent_s` is sorted."""
    edges = np.searchsorted(sent_s, np.arange(block_s, sent_s[-1] + block_s, block_s))
    parts = np.split(np.arange(len(sent_s)), edges)
    return [part for part in parts if len(part)]


def interval(
    sent_s: NDArray[np.float64],
    statistic: Callable[[NDArray[np.int64]], float],
    *,
    seed: int,
    block_s: float = BLOCK_S,
) -> tuple[float, float] | None:
    """The 95 % interval of a statistic of rows; None for less than two blocks.

    Two arms that saw the same requests are compared by a statistic of both: their common luck
    cancels.
    """
    if not len(sent_s):
        return None
    parts = blocks(sent_s, block_s)
    if len(parts) < 2:
        return None
    rng = np.random.default_rng([seed, 3])
    drawn = [
        statistic(
            np.concatenate([parts[index] for index in rng.integers(0, len(parts), len(parts))])
        )
        for _ in range(_ROUNDS)
    ]
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean of runs of different seeds; None for less than two."""
    count = len(values)
    if count < 2:
        return None
    t = _T_975[count - 2] if count - 2 < len(_T_975) else _NORMAL_975
    half = t * float(np.std(values, ddof=1)) / count**0.5
    mean = float(np.mean(values))
    return mean - half, mean + half
