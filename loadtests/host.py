"""Whether the host had time for a run: a machine that is too busy measures its own scheduling.

Watched are the processor, the event loops of clients and sites, and the forwarder of the links.
Past the bounds a run does not count, and its result says why.
"""

from __future__ import annotations

import asyncio
import threading
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

WINDOW_S = 1.0
NUM_WORST = 5
"""A host that was busy for so many windows has spoilt the run, however idle it was before."""

_LAG_METRIC = "firsthop_loop_lag_seconds"


class HostGuard:
    """Watches one run, from its making or the last `start` on.

    `sites` are functions that return the text of a site's `/metrics`, by its name, and nothing once
    the site is gone; `forwarder` returns what the links have counted since they stand; what counts
    is what came on top.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, Callable[[], str]] | None = None,
        forwarder: Callable[[], Sequence[LineCounters]] | None = None,
    ) -> None:
        self._sites = sites or {}
        self._forwarder = forwarder
        self._over = threading.Event()
        self._watch: threading.Thread | None = None
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        self._end_watch()
        self._late_p99_s: dict[str, float] = {}
        self._lags = {name: lag_counts(read()) for name, read in self._sites.items()}
        self._lines = list(self._forwarder()) if self._forwarder is not None else []
        self._busy = BusyWindows()
        self._over = threading.Event()
        self._watch = threading.Thread(
            target=self._watch_busy, args=(self._busy, self._over), daemon=True
        )
        self._watch.start()

    @staticmethod
    def _watch_busy(busy: BusyWindows, over: threading.Event) -> None:
        while not over.wait(WINDOW_S):
            busy.read()

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
        self._end_watch()
        self._busy.read()
        for name, read in self._sites.items():
            if not (text := read()):
                continue
            lags = lag_counts(text)
            lags.subtract(self._lags[name])
            self._late_p99_s[f"loop of {name}"] = lag_p99_s(lags)
        if self._forwarder is not None and (lines := self._forwarder()):
            during = [now.since(then) for now, then in zip(lines, self._lines, strict=True)]
            self._late_p99_s["forwarder"] = max(line.late_p99_s for line in during)

    def _end_watch(self) -> None:
        self._over.set()
        if self._watch is not None:
            self._watch.join()

    def faults(self) -> list[str]:
        """What speaks against counting the run."""
        found = [
            f"{who}: {late_s * 1e3:.1f} ms late at p99; at most {MAX_LATE_S * 1e3:g} ms count"
            for who, late_s in self._late_p99_s.items()
            if late_s > MAX_LATE_S
        ]
        for ratio, when in (
            (self._busy.ratio(), "over the run"),
            (self._busy.worst_ratio(), f"over its busiest {NUM_WORST * WINDOW_S:g} s"),
        ):
            if ratio > MAX_BUSY_RATIO:
                found.append(
                    f"the host was {ratio:.0%} busy {when}; at most {MAX_BUSY_RATIO:.0%} count"
                )
        return found

    def row(self) -> dict[str, Any]:
        """The host's entry in a result."""
        late_ms = {who: round(late_s * 1e3, 3) for who, late_s in self._late_p99_s.items()}
        return {
            "busy_ratio": self._busy.ratio(),
            "busiest_5_s_ratio": self._busy.worst_ratio(),
            "late_p99_ms": late_ms,
        }


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


class BusyWindows:
    """How busy the host was from the making of this to its last reading, window by window."""

    def __init__(self) -> None:
        self._readings = [_ticks()]

    def read(self) -> None:
        """A window ends."""
        self._readings.append(_ticks())

    def ratio(self) -> float:
        """Over all of it, 0 to 1."""
        return _busy_ratio(self._readings[0], self._readings[-1])

    def worst_ratio(self) -> float:
        """Over the busiest NUM_WORST windows in a row, or over all of it if it has fewer."""
        if len(self._readings) <= NUM_WORST:
            return self.ratio()
        ends = zip(self._readings, self._readings[NUM_WORST:], strict=False)
        return max(_busy_ratio(first, last) for first, last in ends)


class HostMeter:
    """The share of all cores' time that was not idle since `start`."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        self._began = _ticks()

    def busy_ratio(self) -> float:
        """0 to 1."""
        return _busy_ratio(self._began, _ticks())


def _busy_ratio(first: tuple[int, int], last: tuple[int, int]) -> float:
    return round((last[0] - first[0]) / max(1, last[1] - first[1]), 3)


def _ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)
