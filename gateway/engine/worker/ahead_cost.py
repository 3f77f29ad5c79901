"""Finds out what it costs to run several tokens of one row at once, on this machine."""

from __future__ import annotations

import statistics
import time
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from gateway.engine.worker.port import NUM_AHEAD

if TYPE_CHECKING:
    from gateway.engine.worker.port import RunnableModel

_TRIED_TOKENS = 33
_TRIED_ROUNDS = 15
_LEAST_COST = 1.25
"""Guesses that hardly ever hold are not worth a try, whatever was measured beside busy threads."""


def ahead_cost(model: RunnableModel) -> float:
    """How long a run of NUM_AHEAD tokens takes, in runs of one token.

    Infinite where there is no such run or where it gives other bits. KV row 0 loses its content.
    Raises EngineFault.
    """
    ahead = model.ahead
    num_tokens = min(_TRIED_TOKENS, model.max_context_tokens - NUM_AHEAD)
    if ahead is None or num_tokens < 1:
        return inf
    model.prefill(0, [0] * num_tokens, 0)
    ids = list(range(NUM_AHEAD))
    one_by_one = [model.decode([id_], [num_tokens + id_])[0].copy() for id_ in ids]
    expected = [*one_by_one, *model.kv.read(0, num_tokens + NUM_AHEAD)]
    logits, _ = ahead.decode(ids, num_tokens)
    found = [*(logits[nth].copy() for nth in ids), *model.kv.read(0, num_tokens + NUM_AHEAD)]
    if not all(map(np.array_equal, found, expected)):
        return inf
    costs = []
    for _ in range(_TRIED_ROUNDS):
        # CPU time of this thread, which does its share of every operator: however busy the machine
        # is while the engine starts, it hardly shows in it.
        began_s = time.thread_time()
        model.decode([0], [num_tokens])
        between_s = time.thread_time()
        ahead.decode(ids, num_tokens)
        costs.append((time.thread_time() - between_s) / (between_s - began_s))
    return max(_LEAST_COST, statistics.median(costs))
