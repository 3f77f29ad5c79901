"""How the requests of a measurement ended, and whether they may be counted."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from loadtests.facts import percentile
from loadtests.host import MAX_LATE_S


class Fate(NamedTuple):
    """How one request ended: `ANSWERED` or what went wrong, and the time to its first content."""

    status: str
    ttft_s: float = math.nan


ANSWERED = "answered"
NO_CONTENT = "no content"


@dataclass(slots=True)
class Sample:
    """The requests of one path under one load."""

    taken_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    """How long after its schedule each request was sent."""
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, fate: Fate, late_s: float = 0.0) -> None:
        """Count one; the wait for its sending is the request's."""
        self.statuses[fate.status] += 1
        self.late_s.append(late_s)
        if fate.status == ANSWERED:
            self.taken_s.append(fate.ttft_s + late_s)

    def faults(self, name: str) -> list[str]:
        """What speaks against counting the sample."""
        found = [
            f"{name}: {count} requests ended with: {status}"
            for status, count in sorted(self.statuses.items())
            if status != ANSWERED
        ]
        if not self.taken_s:
            found.append(f"{name}: nothing was answered")
        if self.late_s and (late_s := percentile(self.late_s, 0.99)) > MAX_LATE_S:
            found.append(f"{name}: requests were sent {late_s * 1e3:.1f} ms late at p99")
        return found
