"""Whether the host had time for a run: a machine that is too busy measures its own scheduling.

Watched are the processor, the event loops of clients and sites, and the forwarder of the links.
Past the bounds a run does not count, and its result says why.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from gateway.runtime.loop_lag import watch_loop_lag
from loadtests.facts import percentile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from loadtests.links.delay_line import LineCounters

MAX_BUSY_RATIO = 0.7
MAX_LATE_S = 2e-3
"""At the 99th percentile: what is due (a send, a timer of a loop, a packet) may wait so long."""

_LAG_METRIC = "firsthop_loop_lag_seconds"


class HostGuard:
    """Watches one run, from its making or the last `start` on.

    `sites` are functions that return the text of a site's `/metrics`, by its name; `forwarder`
    returns what the links have counted since they stand.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, Callable[[], str]] | None = None,
        forwarder: Callable[[], Sequence[LineCounters]] | None = None,
    ) -> None:
        self._sites = sites or {}
        self._forwarder = forwarder
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        self._late_p99_s: dict[str, float] = {}
        self._lags = {name: lag_counts(read()) for name, read in self._sites.items()}
        self._meter = HostMeter()

    def note(self, who: str, late_s: Sequence[float]) -> None:
        """How late each thing was that `who` had to do: the lag of its loop, or of its thread."""
        if late_s:
            self._late_p99_s[who] = percentile(late_s, 0.99)

    @asynccontextmanager
    async def watching_loop(self, who: str) -> AsyncIterator[None]:
        """Note the lag of this process's own loop while the context lasts."""
        late_s: list[float] = []
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch_loop_lag(late_s.append))
            try:
                yield
            finally:
                watching.cancel()
        self.note(who, late_s)

    def stop(self) -> None:
        """The run is over: take the last readings."""
        self._busy_ratio = self._meter.busy_ratio()
        for name, read in self._sites.items():
            during = lag_counts(read())
            during.subtract(self._lags[name])
            self._late_p99_s[f"loop of {name}"] = lag_p99_s(during)
        if self._forwarder is not None and (lines := self._forwarder()):
            self._late_p99_s["forwarder"] = max(line.late_p99_s for line in lines)

    def faults(self) -> list[str]:
        """What speaks against counting the run."""
        found = [
            f"{who}: {late_s * 1e3:.1f} ms late at p99; at most {MAX_LATE_S * 1e3:g} ms count"
            for who, late_s in self._late_p99_s.items()
            if late_s > MAX_LATE_S
        ]
        if self._busy_ratio > MAX_BUSY_RATIO:
            found.append(
                f"the host was {self._busy_ratio:.0%} busy; at most {MAX_BUSY_RATIO:.0%} count"
            )
        return found

    def row(self) -> dict[str, Any]:
        """The host's entry in a result."""
        late_ms = {who: round(late_s * 1e3, 3) for who, late_s in self._late_p99_s.items()}
        return {"busy_ratio": self._busy_ratio, "late_p99_ms": late_ms}


def lag_counts(exposition: str) -> Counter[float]:
    """How often a site's loop lagged up to each bound, from its `/metrics`."""
    counts: Counter[float] = Counter()
    for family in text_string_to_metric_families(exposition):
        if family.name == _LAG_METRIC:
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    counts[float(sample.labels["le"])] += int(sample.value)
    return counts


def lag_p99_s(counts: Counter[float]) -> float:
    """The smallest bound of the bucket that holds it; infinite when nothing was counted."""
    total = counts[inf]
    return min((le for le, count in counts.items() if total and count >= 0.99 * total), default=inf)


class HostMeter:
    """The share of all cores' time that was not idle since `start`."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        self._busy, self._total = _ticks()

    def busy_ratio(self) -> float:
        """0 to 1."""
        busy, total = _ticks()
        return round((busy - self._busy) / max(1, total - self._total), 3)


def _ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)
