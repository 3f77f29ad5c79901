"""Who is on the fabric: what sites say of themselves there, and which of it counts.

A start of a site, its *incarnation*, is its name and epoch. The fabric says when one is there and
when it is gone; whatever else arrives is a claim. A name belongs to the incarnation that was there
first for as long as that one is there, so that a second site cannot take it over, and a restarted
one has it as soon as its old incarnation is gone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from gateway.core.hops import SiteName
from gateway.core.load_report import MAX_NUM_MODELS, LoadReport, ModelKey, Total
from gateway.core.service_report import ServiceReport

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NUM_SITES = 2048
"""Of a grid; what more there are is not seen."""
REMEMBERED_S = 600.0
"""A site that is gone, or seems so because the fabric is, may still be reached for so long."""

Address = Annotated[
    str, Meta(max_length=256, pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}\Z")
]
_Url = Annotated[str, Meta(max_length=256, pattern=r"^[!-~]*\Z")]


class SiteCard(msgspec.Struct, frozen=True, array_like=True):
    """What a site is, for as long as it runs."""

    site: SiteName
    epoch: Total
    peer_address: Address
    """`host:port` where other sites hand turns to it."""
    models: Annotated[tuple[ModelKey, ...], Meta(max_length=MAX_NUM_MODELS)] = ()
    region: Annotated[str, Meta(max_length=64)] = ""
    addresses: Annotated[tuple[_Url, ...], Meta(max_length=8)] = ()
    """Where clients reach it."""


class SiteReport(msgspec.Struct, frozen=True, array_like=True):
    """What a site says on the fabric."""

    card: SiteCard
    seq: Total
    """Grows with each report of an epoch."""
    load: LoadReport | None = None
    """None while its engine is not there."""
    service: ServiceReport | None = None
    """How it has served its own callers."""


class Ignored(StrEnum):
    """Why something that came over the fabric does not count."""

    UNREADABLE = "unreadable"
    WRONG_NAME = "wrong_name"
    """A report that names another incarnation than the place it was found at."""
    OWN_NAME = "own_name"
    """Somebody else says it is this site."""
    NAME_TAKEN = "name_taken"
    NOT_THERE = "not_there"
    """A report of an incarnation that is not on the fabric."""
    STALE = "stale"
    TOO_MANY = "too_many"


@dataclass(slots=True)
class Member:
    """A site that is or was on the fabric."""

    site: str
    epoch: int
    is_there: bool
    changed_s: float
    """Since when it is there, or gone."""
    report: SiteReport | None = None
    reported_s: float = -inf
    rival: int | None = None
    """The newest other incarnation that claims the name."""


class Membership:
    """What one site knows of all others, from what the fabric brings, in any order.

    Instants are the reader's monotonic clock. What does not count is counted in `ignored`.
    """

    def __init__(self, site: str, epoch: int, *, max_num_sites: int = MAX_NUM_SITES) -> None:
        self._site = site
        self._epoch = epoch
        self._max_num_sites = max_num_sites
        self._members: dict[str, Member] = {}
        self.is_joined = False
        """Whether the fabric shows this site to itself."""
        self.ignored: Counter[Ignored] = Counter()

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def get(self, site: str) -> Member | None:
        """The site of this name, there or remembered."""
        return self._members.get(site)

    def appeared(self, site: str, epoch: int, now_s: float) -> Member | None:
        """An incarnation is there; the member if it now holds its name."""
        if site == self._site:
            self._saw_own_name(epoch, is_there=True)
            return None
        member = self._members.get(site)
        if member is None:
            if not self._has_room():
                self.ignored[Ignored.TOO_MANY] += 1
                return None
            member = self._members[site] = Member(site, epoch, is_there=True, changed_s=now_s)
            return member
        if not member.is_there:
            self._hand_over(member, epoch, now_s)
            return member
        if epoch != member.epoch:
            self.ignored[Ignored.NAME_TAKEN] += 1
            member.rival = max(epoch, member.rival or 0)
        return None

    def vanished(self, site: str, epoch: int, now_s: float) -> Member | None:
        """An incarnation is gone; the member if it held its name.

        It may be there again at once: then its name went to the incarnation that waited.
        """
        if site == self._site:
            self._saw_own_name(epoch, is_there=False)
            return None
        member = self._members.get(site)
        if member is None or not member.is_there:
            return None
        if epoch != member.epoch:
            if epoch == member.rival:
                member.rival = None
            return None
        if member.rival is not None:
            self._hand_over(member, member.rival, now_s)
        else:
            member.is_there, member.changed_s = False, now_s
        return member

    def reported(self, site: str, epoch: int, report: SiteReport, now_s: float) -> Member | None:
        """A report was found at the place of an incarnation; the member if it counts."""
        reason = self._reason_against(site, epoch, report)
        if reason is not None:
            self.ignored[reason] += 1
            return None
        member = self._members[site]
        member.report, member.reported_s = report, now_s
        return member

    def forget(self, now_s: float) -> None:
        """Drop what has been gone for long."""
        for member in list(self._members.values()):
            if not member.is_there and now_s - member.changed_s > REMEMBERED_S:
                del self._members[member.site]

    def _has_room(self) -> bool:
        """Whether one more site can be known; who is gone for longest makes room."""
        if len(self._members) < self._max_num_sites:
            return True
        gone = [member for member in self if not member.is_there]
        if gone:
            del self._members[min(gone, key=lambda member: member.changed_s).site]
        return bool(gone)

    def _reason_against(self, site: str, epoch: int, report: SiteReport) -> Ignored | None:
        card, load = report.card, report.load
        if (card.site, card.epoch) != (site, epoch) or (load and load.epoch != epoch):
            return Ignored.WRONG_NAME
        if site == self._site:
            return Ignored.OWN_NAME
        member = self._members.get(site)
        if member is None or not member.is_there:
            return Ignored.NOT_THERE
        if member.epoch != epoch:
            return Ignored.NAME_TAKEN
        if member.report is not None and report.seq <= member.report.seq:
            return Ignored.STALE
        return None

    def _saw_own_name(self, epoch: int, *, is_there: bool) -> None:
        if epoch == self._epoch:
            self.is_joined = is_there
        elif is_there:
            self.ignored[Ignored.OWN_NAME] += 1

    def _hand_over(self, member: Member, epoch: int, now_s: float) -> None:
        """The name goes to an incarnation; what another one said is no longer true."""
        if epoch != member.epoch:
            member.report, member.reported_s = None, -inf
        member.epoch, member.is_there, member.changed_s = epoch, True, now_s
        member.rival = None
