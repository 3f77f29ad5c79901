"""One direction of a link: what happens to a packet, decided when it enters.

Time comes in as an argument and chance from a seeded generator, so a test can replay any fate.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from loadtests.links.matrix import Link

MAX_QUEUE_S = 0.25
"""A line with a rate holds this much unsent; what comes on top is dropped, as a router would."""
MAX_NUM_IN_FLIGHT = 20_000

_BIN_S = 10e-6
_NUM_BINS = 5_000  # up to 50 ms; later still counts in the last one


class LineCounters(msgspec.Struct, frozen=True):
    """What one direction did."""

    src: str
    dst: str
    num_packets: int
    num_bytes: int
    num_lost: int
    """By the link's loss."""
    num_dropped: int
    """For want of room."""
    late_counts: dict[int, int]
    """How many packets went out so many bins after their instant."""

    def since(self, before: LineCounters) -> LineCounters:
        """What it did after `before` was counted."""
        earlier = before.late_counts
        return LineCounters(
            self.src,
            self.dst,
            self.num_packets - before.num_packets,
            self.num_bytes - before.num_bytes,
            self.num_lost - before.num_lost,
            self.num_dropped - before.num_dropped,
            {at: count - earlier.get(at, 0) for at, count in self.late_counts.items()},
        )

    @property
    def late_p99_s(self) -> float:
        """The upper edge of the bin that holds it; 0 before the first packet."""
        left = sum(self.late_counts.values()) * 0.99
        for place, count in sorted(self.late_counts.items()):
            left -= count
            if count and left <= 0:
                return (place + 1) * _BIN_S
        return 0.0


@dataclass(slots=True)
class DelayLine:
    """The state of one direction. `enter` and `leave` are called once for each packet."""

    link: Link
    seed: int
    num_packets: int = 0
    num_bytes: int = 0
    num_lost: int = 0
    num_dropped: int = 0
    num_in_flight: int = 0
    _free_s: float = 0.0
    _last_due_s: float = 0.0
    _late_counts: Counter[int] = field(default_factory=Counter)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Seed the chance of this line alone."""
        self._random = random.Random(self.seed)

    def enter(self, now_s: float, num_bytes: int) -> float | None:
        """When a packet that enters now comes out; None when it never does.

        Packets come out in the order in which they enter.
        """
        link = self.link
        self.num_packets += 1
        self.num_bytes += num_bytes
        if link.loss_ratio and self._random.random() < link.loss_ratio:
            self.num_lost += 1
            return None
        sent_s = now_s
        if link.rate_bit_per_s:
            if self._free_s - now_s > MAX_QUEUE_S:
                self.num_dropped += 1
                return None
            sent_s = max(now_s, self._free_s) + 8 * num_bytes / link.rate_bit_per_s
            self._free_s = sent_s
        elif self.num_in_flight >= MAX_NUM_IN_FLIGHT:
            self.num_dropped += 1
            return None
        due_s = sent_s + link.rtt_s / 2
        if link.jitter_s:
            due_s += link.jitter_s * (2 * self._random.random() - 1)
        self._last_due_s = due_s = max(due_s, self._last_due_s)
        self.num_in_flight += 1
        return due_s

    def leave(self, late_s: float) -> None:
        """A packet came out, so much later than it should have."""
        self.num_in_flight -= 1
        self._late_counts[min(int(late_s / _BIN_S), _NUM_BINS - 1)] += 1

    def counters(self, src: str, dst: str) -> LineCounters:
        """So far."""
        return LineCounters(
            src,
            dst,
            self.num_packets,
            self.num_bytes,
            self.num_lost,
            self.num_dropped,
            dict(self._late_counts),
        )
