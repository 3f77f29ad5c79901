"""How load reports travel: published by a site, seen by another when they have arrived."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from loadtests.sim.links import Links
    from loadtests.sim.policy import Report


class Reporting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How sites tell each other of their load. Raises ValueError out of range."""

    interval_s: float = 1.0
    delay_s: float = 0.0
    """What collecting and publishing takes, on top of the link."""
    piggy_back: bool = True
    """Every answer and refusal carries a report."""
    loss_ratio: float = 0.0
    """Of the periodic reports, lost for good, beside what the link loses."""
    num_peers: int = 8
    """Nearest sites that a site reports to."""

    def __post_init__(self) -> None:
        """Hold every field to its range."""
        if not 0.001 <= self.interval_s <= 3600.0 or not 0.0 <= self.delay_s <= 3600.0:
            raise ValueError("`interval_s` must be in 0.001..3600 and `delay_s` in 0..3600")
        if not 0.0 <= self.loss_ratio < 1.0:
            raise ValueError("`loss_ratio` must be at least 0 and below 1")
        if self.num_peers < 1:
            raise ValueError("`num_peers` must be at least 1")


class Mailboxes:
    """Reports under way and received, between every pair that ever looked.

    Nothing is an event: a reader is shown the newest report that would have arrived by now.
    """

    def __init__(self, reporting: Reporting, links: Links, rng: random.Random) -> None:
        self._reporting = reporting
        self._links = links
        self._rng = rng
        self._published: dict[int, deque[tuple[int, Report]]] = {}
        self._num_published: dict[int, int] = {}
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._due: dict[int, _Due] = {}
        self._readers: dict[int, set[int]] = {}
        """Of each site, who waits for it in `_due`."""

    def publish(self, site: int, report: Report) -> None:
        """A site's periodic report goes to everybody."""
        number = self._num_published.get(site, 0) + 1
        self._num_published[site] = number
        self._published.setdefault(site, deque(maxlen=self._num_kept())).append((number, report))
        for reader in self._readers.get(site, ()):
            arrives_s = report.at_s + self._pair(reader, site).delay_s
            heappush(self._due[reader].arrivals, (arrives_s, site))

    def piggy_back(self, reader: int, site: int, report: Report, arrives_s: float) -> None:
        """A report rides on a message to `reader`."""
        if self._reporting.piggy_back:
            self._pair(reader, site).under_way.append((arrives_s, report))
            if reader in self._readers.get(site, ()):
                heappush(self._due[reader].arrivals, (arrives_s, site))

    def watch(self, reader: int, sites: Iterable[int]) -> None:
        """From now on `arrived` says which of these have something new; at first, all."""
        self._due[reader] = _Due(set(sites))
        for site in sites:
            self._readers.setdefault(site, set()).add(reader)

    def arrived(self, reader: int, now_s: float) -> set[int]:
        """The watched sites of which `newest` may say something new since the last call."""
        due = self._due[reader]
        while due.arrivals and due.arrivals[0][0] <= now_s:
            due.sites.add(heappop(due.arrivals)[1])
        if not due.sites:
            return due.sites
        sites = due.sites
        # Behind a partition what has arrived waits for its end.
        due.sites = {site for site in sites if not self._links.are_joined(site, reader)}
        return sites

    def newest(self, reader: int, site: int, now_s: float) -> Report | None:
        """The newest report of `site` that has reached `reader`."""
        pair = self._pair(reader, site)
        if not self._links.are_joined(site, reader):
            return pair.newest
        under_way = pair.under_way
        while under_way and under_way[0][0] <= now_s:
            pair.take(under_way.popleft()[1])
        delay_s, num_seen = pair.delay_s, pair.num_seen
        for number, report in reversed(self._published.get(site, ())):
            if number <= num_seen:
                break
            if report.at_s + delay_s <= now_s:
                pair.num_seen = max(pair.num_seen, number)
                if not self._is_lost(site, reader):
                    pair.take(report)
                    break
        return pair.newest

    def _is_lost(self, site: int, reader: int) -> bool:
        ratio = self._reporting.loss_ratio
        if ratio and self._rng.random() < ratio:
            return True
        return self._links.is_lost(site, reader, self._rng)

    def _pair(self, reader: int, site: int) -> _Pair:
        pair = self._pairs.get((reader, site))
        if pair is None:
            delay_s = self._links.delay_s(site, reader) + self._reporting.delay_s
            pair = self._pairs[reader, site] = _Pair(delay_s)
        return pair

    def _num_kept(self) -> int:
        """Enough that what has arrived is never pushed out by what is still under way."""
        return 2 + int((self._reporting.delay_s + 10.0) / self._reporting.interval_s)


class _Due:
    """What a reader has not looked at: sites, and when more of them are due."""

    __slots__ = ("arrivals", "sites")

    def __init__(self, sites: set[int]) -> None:
        self.sites = sites
        self.arrivals: list[tuple[float, int]] = []


class _Pair:
    __slots__ = ("delay_s", "newest", "num_seen", "under_way")

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s  # of a periodic report
        self.newest: Report | None = None
        self.num_seen = 0
        self.under_way: deque[tuple[float, Report]] = deque()

    def take(self, report: Report) -> None:
        if self.newest is None or report.at_s >= self.newest.at_s:
            self.newest = report
