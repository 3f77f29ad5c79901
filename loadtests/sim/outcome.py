"""What became of every request of a run."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtests.sim.workload import Workload


class Fate(IntEnum):
    """How a request ended."""

    UNFINISHED = 0
    """Still under way, or stuck, when the run ended."""
    DONE = 1
    SHED = 2
    """Refused at once or expired in a queue."""
    FAILED = 3
    """Lost with a site or a link."""


@dataclass(slots=True)
class Outcome:
    """Raw samples of one run, a row per request of its workload; seconds from the intended send,
    at the client.
    """

    workload: Workload
    first_token_s: array[float] = field(init=False)
    """NaN where none came."""
    last_token_s: array[float] = field(init=False)
    fate: bytearray = field(init=False)
    served_by: array[int] = field(init=False)
    """The site that gave the first token; -1 for none."""
    reasons: Counter[str] = field(init=False, default_factory=Counter)
    """Why requests were shed or failed."""
    num_forwarded: int = field(init=False, default=0)
    """Offers sent to another site."""

    def __post_init__(self) -> None:
        """Nothing has happened yet."""
        count = len(self.workload)
        self.first_token_s = array("d", [math.nan]) * count
        self.last_token_s = array("d", [math.nan]) * count
        self.fate = bytearray(count)
        self.served_by = array("q", [-1]) * count

    def attained(self) -> NDArray[np.bool_]:
        """Per request, whether its SLO was kept. A comparison with NaN does not hold."""
        first_limit, last_limit = self.workload.limits_s()
        first = np.frombuffer(self.first_token_s)
        last = np.frombuffer(self.last_token_s)
        done = np.frombuffer(self.fate, np.uint8) == Fate.DONE
        kept: NDArray[np.bool_] = done & (first <= first_limit) & (last <= last_limit)
        return kept

    def summary(self) -> dict[str, Any]:
        """Counts and percentiles. Requests shed or failed count as misses."""
        fates = Counter(self.fate)
        attained = self.attained()
        first = np.frombuffer(self.first_token_s)
        first = first[~np.isnan(first)]
        tokens = np.frombuffer(self.workload.output_tokens, np.int64)
        count = len(self.workload)
        return {
            "offered": count,
            "attained": round(float(attained.mean()), 6) if count else None,
            "done": fates[Fate.DONE],
            "shed": fates[Fate.SHED],
            "failed": fates[Fate.FAILED],
            "unfinished": fates[Fate.UNFINISHED],
            "reasons": dict(sorted(self.reasons.items())),
            "forward_ratio": round(self.num_forwarded / count, 6) if count else None,
            "ttft_ms": percentiles_ms(first),
            "goodput_tokens": int(tokens[attained].sum()),
        }


def percentiles_ms(samples_s: NDArray[np.float64]) -> dict[str, Any]:
    """n and the nearest-rank p50, p90, p99, p99.9 in ms; None where there is no sample."""
    summary: dict[str, Any] = {"n": len(samples_s)}
    for quantile in (0.5, 0.9, 0.99, 0.999):
        name = f"p{100 * quantile:g}"
        summary[name] = (
            round(float(np.quantile(samples_s, quantile, method="inverted_cdf")) * 1e3, 3)
            if len(samples_s)
            else None
        )
    return summary
