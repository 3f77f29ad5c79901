"""What one arm of a run measured, a row per request: the same for live and simulated runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtests.sim.outcome import Fate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtests.sim.outcome import Outcome
    from loadtests.sim.workload import Slo

NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests as columns, by intended send time; seconds at the client, from that instant."""

    slos: tuple[Slo, ...]
    duration_s: float
    """How long requests were sent."""
    sent_s: NDArray[np.float64]
    slo: NDArray[np.int64]
    """Index into `slos`."""
    home: NDArray[np.int64]
    """The site whose client sent it."""
    served_by: NDArray[np.int64]
    """The site that gave the first token, in a pool its engine; NOWHERE for none."""
    fate: NDArray[np.uint8]
    """`sim.outcome.Fate`."""
    output_tokens: NDArray[np.int64]
    first_token_s: NDArray[np.float64]
    """First token, of calls the first sound; NaN where none came."""
    last_token_s: NDArray[np.float64]
    num_forwarded: int = 0
    """Offers from one site to another."""
    schedule_delay_s: NDArray[np.float64] | None = None
    """How late each request was sent; None in virtual time, where none can be."""

    @classmethod
    def of(cls, outcome: Outcome, duration_s: float) -> Measured:
        """A simulated run's."""
        workload = outcome.workload
        return cls(
            slos=workload.slos,
            duration_s=duration_s,
            sent_s=np.frombuffer(workload.sent_s),
            slo=np.frombuffer(workload.slo, np.int64),
            home=np.frombuffer(workload.home, np.int64),
            served_by=np.frombuffer(outcome.served_by, np.int64),
            fate=np.frombuffer(outcome.fate, np.uint8),
            output_tokens=np.frombuffer(workload.output_tokens, np.int64),
            first_token_s=np.frombuffer(outcome.first_token_s),
            last_token_s=np.frombuffer(outcome.last_token_s),
            num_forwarded=outcome.num_forwarded,
        )

    def __len__(self) -> int:
        return len(self.sent_s)

    def first_limit_s(self) -> NDArray[np.float64]:
        """Per request, the limit on its first token; inf where there is none."""
        return np.array([slo.first_token_s or np.inf for slo in self.slos])[self.slo]

    def attained(self) -> NDArray[np.bool_]:
        """Per request, whether its SLO was kept; shed and failed ones did not."""
        first = self.first_limit_s()
        interval = np.array([slo.token_interval_s or np.inf for slo in self.slos])[self.slo]
        further = np.maximum(0, self.output_tokens - 1)
        last = np.full(len(self), np.inf)
        limited = np.isfinite(interval)
        last[limited] = first[limited] + interval[limited] * further[limited]
        kept: NDArray[np.bool_] = (
            (self.fate == Fate.DONE) & (self.first_token_s <= first) & (self.last_token_s <= last)
        )
        return kept
