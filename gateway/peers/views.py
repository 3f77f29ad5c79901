"""What is believed of the linked peers: what their links say, kept as routing needs it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from gateway.core.peer_view import PeerView
from gateway.core.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.load_report import LoadReport
    from gateway.peers.link import LinkFigures
    from gateway.wire.peer_frames import Hello

_MAX_NUM_ALTERNATES = 3


class PeerViews:
    """The `PeerObserver` of a site's links: one `PeerView` for each peer that was ever linked."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.known = Peers()
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._monotonic = monotonic

    def alternates(self, class_rank: int) -> tuple[str, ...]:
        """See `PeerSites`: of the peers that take work, those with the shortest wait."""
        now_s = self._monotonic()
        healthy = [view for view in self.known if not view.health(now_s)]
        healthy.sort(key=lambda view: view.ahead_s[class_rank])
        addresses = (self._addresses[view.name][:1] for view in healthy[:_MAX_NUM_ALTERNATES])
        return tuple(address for first in addresses for address in first)

    def judged(self, link: LinkFigures) -> LinkFigures:
        """The same, with what the peer's turns and its own words have shown."""
        view, now_s = self.known.get(link.site), self._monotonic()
        if view is None:
            return link
        left_s = view.ejected_until_s - now_s
        return msgspec.structs.replace(
            link,
            ejected_for_s=left_s if left_s > 0.0 else None,
            num_ejections=view.num_ejections,
            is_slow=view.is_slow,
        )

    def linked(self, site: str, hello: Hello) -> None:
        """See `PeerObserver`."""
        view = self.known.get(site)
        if view is None:
            view = PeerView(site)
            self.known.add(view)
        view.region, view.cost_s = hello.region, hello.cost_ms / 1e3
        view.connected(hello.epoch, self._monotonic())
        self._addresses[site] = hello.addresses

    def timed(self, site: str, rtt_s: float) -> None:
        """See `PeerObserver`."""
        if view := self.known.get(site):
            # This machine may have slept meanwhile; longer than a minute says nothing more.
            view.timed(min(rtt_s, 60.0), self._monotonic())

    def reported(self, site: str, report: LoadReport) -> None:
        """See `PeerObserver`."""
        if view := self.known.get(site):
            view.take(report, self._monotonic())

    def forget(self, site: str) -> None:
        """The site is no peer any more."""
        if self.known.get(site):
            self.known.remove(site)
            del self._addresses[site]

    def lost(self, site: str, reason: str) -> None:
        """See `PeerObserver`."""
        if view := self.known.get(site):
            view.lost()
