"""Links to some of the sites that the fabric shows, beside the configured ones.

How near a site is, is how long a TCP connection to its peer port takes to stand: one round trip of
the network, without any work of the peer. It is only where to look first: whether a site is what it
says it is, its link shows.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from gateway.core.neighbours import Candidate, choose_neighbours
from gateway.peers.link import PeerSite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from gateway.core.membership import Member, Membership, SiteCard
    from gateway.peers.links import PeerLinks

_logger = logging.getLogger(__name__)

_ROUND_S = 0.25
"""How often it is looked whether other links would be better."""
_MEASURE_EVERY_S = 60.0
_MEASURE_LIMIT_S = 1.0
_MAX_NUM_MEASURED_AT_ONCE = 8
_NUM_SAMPLES = 3
_FAILS_AFTER_S = 10.0
"""A link that was not up for so long was tried in vain,"""
_SHUNNED_S = 60.0
"""and others come first for a while."""


@dataclass(slots=True)
class _Known:
    """A site that could be linked to."""

    address: str
    region: str
    rtt_s: float | None = None
    measure_at_s: float = -inf
    is_linked: bool = False
    up_s: float = 0.0
    """When its link was last seen up, or begun."""
    shunned_until_s: float = -inf


async def connect_time_s(address: str) -> float | None:
    """The shortest of a few connections to `host:port`; None when none stands in time."""
    host, _, port = address.rpartition(":")
    times_s: list[float] = []
    for _ in range(_NUM_SAMPLES):
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(_MEASURE_LIMIT_S):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except (OSError, TimeoutError, OverflowError, UnicodeError):  # what an address may cause
            return min(times_s, default=None)
        times_s.append(time.monotonic() - began_s)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return min(times_s)


class Neighbourhood:
    """A `FabricObserver` that opens and closes links. `run` must run, in an owned task.

    `configured` sites keep their links whatever the fabric says, and take none of the
    `max_num_neighbours` places.
    """

    def __init__(
        self,
        links: PeerLinks,
        card: SiteCard,
        *,
        configured: Iterable[str],
        max_num_neighbours: int,
        measure: Callable[[str], Awaitable[float | None]] = connect_time_s,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._links = links
        self._card = card
        self._configured = frozenset(configured)
        self._max_num_neighbours = max_num_neighbours
        self._measure = measure
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}

    def joined(self, member: Member) -> None:
        """Linked to when its report has come."""

    def left(self, member: Member) -> None:
        """Its link must say that it lives, before it gets another turn."""
        self._links.doubt(member.site)

    def rtt_s(self, site: str) -> float | None:
        """How near the site was when last measured, in seconds."""
        known = self._known.get(site)
        return None if known is None else known.rtt_s

    async def run(self, membership: Membership) -> None:
        """Keep links to the nearest of the members until cancelled."""
        while True:
            self._look(membership)
            if len(self._known) > self._max_num_neighbours:
                await self._measure_some()  # while all have a place it is no matter who is near
            self._relink()
            await asyncio.sleep(_ROUND_S)

    def _look(self, membership: Membership) -> None:
        """Know the sites that could serve our turns, remembered ones too."""
        cards: dict[str, SiteCard] = {}
        for member in membership:
            if member.report is not None and self._is_eligible(member.report.card):
                cards[member.site] = member.report.card
        usable = self._links.usable()
        for site, known in list(self._known.items()):
            card = cards.get(site)
            if card is None and site in usable:
                continue  # the fabric was away for long; what answers does not need it
            if (card is None or card.peer_address != known.address) and self._unlink(site):
                del self._known[site]
        for site, card in cards.items():
            self._known.setdefault(site, _Known(card.peer_address, card.region))

    def _is_eligible(self, card: SiteCard) -> bool:
        serves_ours = not set(self._card.models).isdisjoint(card.models)
        return serves_ours and card.site not in self._configured

    async def _measure_some(self) -> None:
        now_s = self._monotonic()
        due = [known for known in self._known.values() if known.measure_at_s <= now_s]
        async with asyncio.TaskGroup() as tasks:
            for known in due[:_MAX_NUM_MEASURED_AT_ONCE]:
                tasks.create_task(self._measure_one(known))

    async def _measure_one(self, known: _Known) -> None:
        known.rtt_s = await self._measure(known.address)
        # Sites that started together must not all measure together.
        known.measure_at_s = self._monotonic() + _MEASURE_EVERY_S * random.uniform(0.5, 1.5)

    def _relink(self) -> None:
        candidates = [self._candidate(site, known) for site, known in self._known.items()]
        chosen = choose_neighbours(candidates, self._max_num_neighbours, region=self._card.region)
        for site in self._known.keys() - set(chosen):
            self._unlink(site)
        for site in chosen:
            known = self._known[site]
            if not known.is_linked:
                _logger.info("linking to %s at %s", site, known.address)
                self._links.add(PeerSite(site, known.address))
                known.is_linked, known.up_s = True, self._monotonic()

    def _unlink(self, site: str) -> bool:
        """Whether the site has no link now; a link with turns under way is ended later."""
        known, figures = self._known[site], self._links.figures_of(site)
        if known.is_linked and (figures is None or figures.num_turns == 0):
            self._links.remove(site)
            known.is_linked = False
        return not known.is_linked

    def _candidate(self, site: str, known: _Known) -> Candidate:
        now_s, figures = self._monotonic(), self._links.figures_of(site)
        if figures is not None and figures.is_linked:
            known.up_s, known.shunned_until_s = now_s, -inf
        elif known.is_linked and now_s - known.up_s > _FAILS_AFTER_S:
            known.shunned_until_s = now_s + _SHUNNED_S
        is_failing = now_s < known.shunned_until_s
        return Candidate(
            site,
            known.rtt_s,
            is_linked=known.is_linked,
            is_failing=is_failing,
            region=known.region,
        )
