"""All sites on one virtual clock, and what policies see of them."""

from __future__ import annotations

import random
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.generation import NO_BACKLOG, add_backlogs
from gateway.core.load_report import Credits
from loadtests.sim.events import Events
from loadtests.sim.policy import Report
from loadtests.sim.reports import Mailboxes
from loadtests.sim.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gateway.core.load_report import ByClass
    from gateway.core.step_time import StepTimes
    from loadtests.sim.links import Links
    from loadtests.sim.reports import Reporting
    from loadtests.sim.site import SiteSpec

_CREDITS = Credits()


class Node:
    """A site with what has befallen it."""

    __slots__ = (
        "coming",
        "frozen_since_s",
        "held",
        "is_alive",
        "num_starts",
        "planned_s",
        "received",
        "site",
    )

    def __init__(self, site: Site) -> None:
        self.site = site
        self.is_alive = True
        self.frozen_since_s: float | None = None
        self.held: list[tuple[Callable[[Any], None], Any]] = []
        """Calls that wait for a frozen site to go on."""
        self.planned_s = inf
        self.coming = NO_BACKLOG
        """Offers on their way here."""
        self.num_starts = 0
        self.received: Mapping[int, ByClass] = {}
        """Offers that have come from other sites since the start. Replaced, never changed: it is in
        reports."""


class SitesInView:
    """The `View` that policies see."""

    def __init__(
        self,
        sites: Sequence[tuple[SiteSpec, StepTimes]],
        links: Links,
        reporting: Reporting,
        seed: int,
    ) -> None:
        self.events = Events()
        self.nodes = [Node(Site(spec, times)) for spec, times in sites]
        self.links = links
        self.rng = random.Random(f"{seed} policy")
        self._reporting = reporting
        self._mailboxes = Mailboxes(reporting, links, random.Random(f"{seed} reports"))
        self._peers: dict[int, tuple[int, ...]] = {}

    @property
    def now_s(self) -> float:
        """Virtual time."""
        return self.events.now_s

    @property
    def num_sites(self) -> int:
        """Sites are 0..n-1."""
        return len(self.nodes)

    def peers(self, site: int) -> tuple[int, ...]:
        """The sites a site exchanges reports with: its nearest."""
        peers = self._peers.get(site)
        if peers is None:
            peers = self._peers[site] = self.links.nearest_to(site, self._reporting.num_peers)
        return peers

    def report(self, site: int, peer: int) -> Report | None:
        """The newest report of `peer` that has reached `site`."""
        return self._mailboxes.newest(site, peer, self.events.now_s)

    def watch(self, site: int, peers: Sequence[int]) -> None:
        """From now on `arrived` says of which of these `site` has something new."""
        self._mailboxes.watch(site, peers)

    def arrived(self, site: int) -> Collection[int]:
        """The watched peers of which `report` may say something new since the last call."""
        return self._mailboxes.arrived(site, self.events.now_s)

    def beating_until_s(self, site: int, peer: int) -> float:
        """Until when the heartbeats of `peer` have been sent that reach `site`."""
        node = self.nodes[peer]
        if not node.is_alive or not self.links.are_joined(peer, site):
            return -inf
        return self.events.now_s if node.frozen_since_s is None else node.frozen_since_s

    def num_starts(self, site: int) -> int:
        """How often a site has been started again."""
        return self.nodes[site].num_starts

    def max_num_queued(self, site: int) -> int:
        """What may wait at a site."""
        return self.nodes[site].site.engine.max_num_queued

    def rtt_s(self, a: int, b: int) -> float:
        """The round trip between two sites, without jitter and loss."""
        return self.links.rtt_s(a, b)

    def own(self, site: int) -> Report:
        """What a site knows of its load."""
        node, now_s = self.nodes[site], self.events.now_s
        return Report(node.site.engine.load(now_s), now_s, node.site.is_draining)

    def reported(self, site: int) -> Report:
        """What a site tells others of itself."""
        node, now_s = self.nodes[site], self.events.now_s
        return Report(
            node.site.engine.load(now_s),
            now_s,
            node.site.is_draining,
            node.num_starts,
            node.received,
            _CREDITS.granted(node.site.brake, now_s),
        )

    def exact(self, site: int) -> Report | None:
        """The true state of a site now, offers on their way included; None if it is down."""
        node = self.nodes[site]
        if not node.is_alive or node.frozen_since_s is not None:
            return None
        now_s = self.events.now_s
        load = node.site.engine.load(now_s)
        if node.coming != NO_BACKLOG:
            backlog = add_backlogs(load.backlog, node.coming)
            load = msgspec.structs.replace(load, backlog=backlog)
        return Report(load, now_s, node.site.is_draining)
