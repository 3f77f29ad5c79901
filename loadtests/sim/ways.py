"""What lies between a client and the place it is served from, drawn per request.

The same draws are scaled by every arm's own path, so that a request that is unlucky on one path is
as unlucky on another: a difference between arms is never a difference of luck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from loadtests.sim.links import MAX_NUM_LOSSES, RETRANSMIT_S, Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from loadtests.sim.workload import Workload


class Clients(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How clients reach their site. Raises ValueError out of range."""

    access_delay_s: float = 0.0
    """One way between a client and its home site,"""
    access_jitter_s: float = 0.0
    """with exponential jitter of this mean,"""
    access_loss_ratio: float = 0.0
    """and so many messages lost, hence late."""
    failover_s: float | None = None
    """After this long without an answer from a dead site a client turns to the nearest living
    one; None: it gives up."""

    def __post_init__(self) -> None:
        """Hold every field to its range."""
        if not 0.0 <= self.access_delay_s < 10.0 or not 0.0 <= self.access_jitter_s < 10.0:
            raise ValueError(
                "`access_delay_s` and `access_jitter_s` must be at least 0 and below 10 seconds"
            )
        if not 0.0 <= self.access_loss_ratio < 1.0:
            raise ValueError("`access_loss_ratio` must be at least 0 and below 1")
        if self.failover_s is not None and not 0.0 <= self.failover_s < 3600.0:
            raise ValueError("`failover_s` must be at least 0 and below an hour")

    @property
    def access(self) -> Link:
        """The way between a client and its home site."""
        return Link(self.access_delay_s, self.access_jitter_s, self.access_loss_ratio)


@dataclass(frozen=True, slots=True)
class Ways:
    """Seconds, a row per request."""

    delay_s: float
    """One way, as both ends know it: without jitter and loss."""
    asks_s: NDArray[np.float64]
    """From the intended send until the model is asked: the way there and what a call listens."""
    answers_s: NDArray[np.float64]
    """From the place to the client's ear or eye."""
    voice_s: NDArray[np.float64]
    """What of `answers_s` is spent on the voice, which a deadline takes off beforehand."""

    @classmethod
    def drawn(
        cls, workload: Workload, path: Sequence[Link], *, seed: int, playout_s: float = 0.0
    ) -> Ways:
        """Over the links of `path`, one after the other. `playout_s` holds back calls alone."""
        listening_s = np.frombuffer(workload.listening_s)
        voice_s = np.frombuffer(workload.voice_s)
        is_call = (listening_s > 0.0) | (voice_s > 0.0)
        there_s, back_s = drawn_ways(len(workload), path, seed=seed, is_repeated=~is_call)
        return cls(
            sum(link.delay_s for link in path),
            there_s + listening_s + playout_s * is_call,
            back_s + voice_s,
            voice_s,
        )


def drawn_ways(
    count: int, path: Sequence[Link], *, seed: int, is_repeated: NDArray[np.bool_] | bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """There and back. A lost packet of text is sent again (`is_repeated`), of a call concealed."""
    rng = np.random.default_rng([seed, 2])
    ways = np.zeros((2, count))
    for link in path:
        jitter = rng.exponential(1.0, (2, count))
        luck = 1.0 - rng.random((2, count))
        ways += link.delay_s + link.jitter_s * jitter
        if link.loss_ratio > 0.0:
            # Luck below the ratio to the n-th is n losses in a row.
            lost = np.floor(np.log(luck) / np.log(link.loss_ratio))
            lost = np.minimum(lost, MAX_NUM_LOSSES) * is_repeated
            ways += RETRANSMIT_S * (2.0**lost - 1.0)
    return ways[0], ways[1]
