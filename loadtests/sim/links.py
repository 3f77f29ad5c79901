"""The network between sites, and between clients and their sites."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

RETRANSMIT_S = 0.2  # Linux's smallest retransmission timeout; doubles with each loss (RFC 6298)
MAX_NUM_LOSSES = 6


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One direction of a path. Raises ValueError out of range.

    A message takes `delay_s` plus exponential jitter of mean `jitter_s`. A lost one is sent again
    after the retransmission timeout: streams are reliable, loss is late delivery.
    """

    delay_s: float
    jitter_s: float = 0.0
    loss_ratio: float = 0.0
    rate_bit_per_s: float = 0.0
    """For live links alone (0: any): the messages of a turn are too small to feel it."""

    def __post_init__(self) -> None:
        """Hold every field to its range."""
        if not 0.0 <= self.rate_bit_per_s <= 1e12:
            raise ValueError("`rate_bit_per_s` must be in 0..1e12")
        if not 0.0 <= self.delay_s < 10.0 or not 0.0 <= self.jitter_s < 10.0:
            raise ValueError("`delay_s` and `jitter_s` must be at least 0 and below 10 seconds")
        if not 0.0 <= self.loss_ratio < 1.0:
            raise ValueError("`loss_ratio` must be at least 0 and below 1")


class Links:
    """Every path between sites: by distance on a plane, unless set one by one.

    Two sites at distance d are `nearest.delay_s + d * s_per_distance` apart, with the jitter and
    loss of `nearest`. Nothing is stored per pair, so that any number of sites fits.
    """

    def __init__(
        self,
        positions: Iterable[tuple[float, float]],
        *,
        nearest: Link,
        s_per_distance: float = 0.0,
        single: dict[tuple[int, int], Link] | None = None,
    ) -> None:
        self.positions = tuple(positions)
        self._nearest = nearest
        self._s_per_distance = s_per_distance
        self._single = single or {}
        self._parts: dict[int, int] = {}

    @classmethod
    def scattered(cls, num_sites: int, *, nearest: Link, farthest_s: float, seed: int) -> Links:
        """Sites at random in a unit square; `farthest_s` is the one-way delay of its diagonal."""
        rng = random.Random(f"{seed} positions")
        positions = [(rng.random(), rng.random()) for _ in range(num_sites)]
        s_per_distance = max(0.0, farthest_s - nearest.delay_s) / math.sqrt(2.0)
        return cls(positions, nearest=nearest, s_per_distance=s_per_distance)

    def delay_s(self, src: int, dst: int) -> float:
        """The one-way delay without jitter and loss; 0 from a site to itself."""
        if src == dst:
            return 0.0
        if self._single and (link := self._single.get((src, dst))) is not None:
            return link.delay_s
        (x0, y0), (x1, y1) = self.positions[src], self.positions[dst]
        return self._nearest.delay_s + math.hypot(x1 - x0, y1 - y0) * self._s_per_distance

    def rtt_s(self, a: int, b: int) -> float:
        """There and back, without jitter and loss."""
        return self.delay_s(a, b) + self.delay_s(b, a)

    def sample_s(self, src: int, dst: int, rng: random.Random) -> float:
        """What one message of a stream takes."""
        link = self._single.get((src, dst), self._nearest) if self._single else self._nearest
        seconds = self.delay_s(src, dst)
        if src == dst:
            return seconds
        if link.jitter_s:
            seconds += rng.expovariate(1.0 / link.jitter_s)
        if link.loss_ratio:
            num_losses = 0
            while num_losses < MAX_NUM_LOSSES and rng.random() < link.loss_ratio:
                seconds += RETRANSMIT_S * 2.0**num_losses
                num_losses += 1
        return seconds

    def is_lost(self, src: int, dst: int, rng: random.Random) -> bool:
        """Whether one datagram (a load report) is lost. Draws only where there is loss."""
        link = self._single.get((src, dst), self._nearest) if self._single else self._nearest
        return link.loss_ratio > 0.0 and rng.random() < link.loss_ratio

    def split(self, parts: dict[int, int]) -> None:
        """Partition: only sites of the same part reach each other. Sites left out are part 0."""
        self._parts = parts

    def are_joined(self, a: int, b: int) -> bool:
        """Whether messages pass between two sites now."""
        return not self._parts or a == b or self._parts.get(a, 0) == self._parts.get(b, 0)

    def nearest_to(self, site: int, count: int) -> tuple[int, ...]:
        """The `count` other sites with the lowest round trip, nearest first."""
        others = (other for other in range(len(self.positions)) if other != site)
        return tuple(sorted(others, key=lambda other: (self.rtt_s(site, other), other))[:count])
