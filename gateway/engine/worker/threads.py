"""How many threads should run a small model: measured, since more may well be slower.

Between two operators all threads meet. For a model of a few million parameters the meeting may
cost more than the help is worth, which depends on the cores, their caches and who else uses them.
A large model gains from every core and is not tried several times: loading it takes too long.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.engine.worker.port import RunnableModel

SMALL_BYTES = 64 << 20
"""Graph files up to this size are tried; the shipped one, of 6 MB, takes 0.2 s for each trial."""

_PROMPT_TOKENS = 64
_ROUNDS = 5


class Speed(NamedTuple):
    """Seconds that runs of one model took, at their best."""

    prefill_s: float
    one_row_s: float
    all_rows_s: float


def candidates(*, spare_cores: int, is_small: bool) -> tuple[int, ...]:
    """Numbers of threads worth trying when so many cores are left to others."""
    most = max(1, (os.cpu_count() or 1) - spare_cores)
    return tuple(sorted({1, max(1, most // 2), most})) if is_small else (most,)


def fastest_model(
    load: Callable[[int], RunnableModel], choices: Iterable[int], *, num_slots: int
) -> RunnableModel:
    """The model loaded with that number of threads which is fastest overall.

    One number has nothing to be compared with and is not measured. Raises what `load` raises, and
    EngineFault.
    """
    first, *others = choices
    model = load(first)
    speed = measured(model, num_slots) if others else None
    for num_threads in others:
        other = load(num_threads)
        other_speed = measured(other, num_slots)
        if speed is None or is_faster(other_speed, speed):
            model, speed = other, other_speed
        del other  # before the next one takes as much memory
    return model


def is_faster(one: Speed, other: Speed) -> bool:
    """Whether one gains more than it loses; what is three times as fast outweighs three times as
    slow, whatever takes longest."""
    gain = 1.0
    for one_s, other_s in zip(one, other, strict=True):
        gain *= other_s / one_s
    return gain > 1.0


def measured(model: RunnableModel, num_slots: int) -> Speed:
    """The best of a few runs of each kind; the first ones also warm the model up."""
    num_tokens = min(_PROMPT_TOKENS, model.max_context_tokens - 1)
    ids = [0] * num_tokens
    return Speed(
        _best_s(lambda: model.prefill(0, ids, 0)),
        _best_s(lambda: model.decode([0], [num_tokens])),
        _best_s(lambda: model.decode([0] * num_slots, [num_tokens] * num_slots)),
    )


def _best_s(run: Callable[[], object]) -> float:
    best_s = float("inf")
    for _ in range(_ROUNDS):
        began_s = time.perf_counter()
        run()
        best_s = min(best_s, time.perf_counter() - began_s)
    return best_s
