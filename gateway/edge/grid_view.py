"""The grid as this site sees it: what `/v1/grid` serves. Times are ms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import SERVICE_ORDER
from gateway.core.membership import Ignored
from gateway.edge.turn_view import ms, optional_ms
from gateway.peers.fabric import FabricFigures, MemberFigures
from gateway.peers.link import LinkFigures

if TYPE_CHECKING:
    from gateway.core.load_report import LoadReport


class GridFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the grid at one moment."""

    num_turns_for_peers: int = 0
    links: Sequence[LinkFigures] = ()
    configured: frozenset[str] = frozenset()
    """Peers that the configuration names."""
    fabric: FabricFigures | None = None
    connect_time_s: Callable[[str], float | None] = lambda _: None
    """Of a site's peer port, if it was measured."""


class ReportView(msgspec.Struct, frozen=True):
    """What the peer last said of itself."""

    source: str
    age_ms: float
    """How old the figures are: on arrival, and since."""
    state: str
    epoch: int
    seq: int
    capacity_ratio: float
    num_slots: int
    num_free: int
    wait_ms: dict[TurnClass, float]
    credit_ms: dict[TurnClass, float]
    prefill_ms_per_token: float


class PeerView(msgspec.Struct, frozen=True):
    """One peer. What is counted here, over all its links, has age 0."""

    site: str
    address: str
    known_from: str
    """`configured` or `fabric`."""
    state: str
    """`usable`, `ejected` (no turns for a while: it failed, refused or was late too often),
    `linked` (no turns: it drains, serves another model, or must first deny that it is gone),
    `unlinked`, or `seen`: on the fabric, and no link is kept to it."""
    slow: bool
    """By its own report it is far slower than it used to be, or degraded."""
    ejected_for_ms: float | None
    num_ejections: int
    """Lately: good answers take them back."""
    last_error: str
    retry_in_ms: float | None
    source: str
    """Of the round trip: our own `beats on the link`, or the `connect time` of its port."""
    age_ms: float | None
    """Since the peer was last heard on its link."""
    rtt_ms: float | None
    """The shortest of the last 10 s, or of a few connections within minutes."""
    num_turns: int
    num_offered: int
    num_accepted: int
    num_refused: int
    num_lost: int
    addresses: tuple[str, ...]
    report: ReportView | None
    fabric: PresenceView | None
    """What the fabric says of it; None when it never did."""


class PresenceView(msgspec.Struct, frozen=True):
    """Whether a site is on the fabric. New turns do not depend on it while its link answers."""

    source: str
    there: bool
    age_ms: float
    """Since when it is so."""
    report_age_ms: float | None
    """Since its last report there."""


class FabricView(msgspec.Struct, frozen=True):
    """The fabric itself, as of now."""

    joined: bool
    num_ignored: Mapping[Ignored, int]
    """What came over it and did not count, by reason."""


class GridView(msgspec.Struct, frozen=True):
    """All peers, and the turns this site does for them."""

    site: str
    num_turns_for_peers: int
    fabric: FabricView | None
    """None: this site is configured without one."""
    peers: list[PeerView]


def grid_view(site: str, figures: GridFigures) -> GridView:
    """The grid, from the figures of this moment."""
    fabric = figures.fabric
    members = {} if fabric is None else {member.site: member for member in fabric.members}
    peers = [_peer(link, members.pop(link.site, None), figures) for link in figures.links]
    for member in members.values():
        address = member.card.peer_address if member.card else ""
        unlinked = LinkFigures(
            site=member.site, address=address, is_linked=False, is_usable=False, last_error=""
        )
        peers.append(_peer(unlinked, member, figures, is_kept=False))
    return GridView(
        site,
        figures.num_turns_for_peers,
        None if fabric is None else FabricView(fabric.is_joined, fabric.num_ignored),
        peers,
    )


def _peer(
    link: LinkFigures, member: MemberFigures | None, figures: GridFigures, *, is_kept: bool = True
) -> PeerView:
    state = "usable" if link.is_usable else "linked" if link.is_linked else "unlinked"
    if state == "usable" and link.ejected_for_s is not None:
        state = "ejected"
    connect_time_s = figures.connect_time_s(link.site) if link.rtt_s is None else None
    return PeerView(
        site=link.site,
        address=link.address,
        known_from="configured" if link.site in figures.configured else "fabric",
        state=state if is_kept else "seen",
        slow=link.is_slow,
        ejected_for_ms=optional_ms(link.ejected_for_s),
        num_ejections=link.num_ejections,
        last_error=link.last_error,
        retry_in_ms=optional_ms(link.retry_in_s),
        source="beats on the link" if connect_time_s is None else "connect time",
        age_ms=optional_ms(link.heard_age_s),
        rtt_ms=optional_ms(link.rtt_s if connect_time_s is None else connect_time_s),
        num_turns=link.num_turns,
        num_offered=link.num_offered,
        num_accepted=link.num_accepted,
        num_refused=link.num_refused,
        num_lost=link.num_lost,
        addresses=link.addresses or (member.card.addresses if member and member.card else ()),
        report=_newest_report(link, member),
        fabric=None if member is None else _presence(member),
    )


def _newest_report(link: LinkFigures, member: MemberFigures | None) -> ReportView | None:
    """A linked peer's is what it said on the link, whatever the fabric says."""
    if link.report is not None:
        return _report("the peer's report on its link", link.report, link.report_age_s or 0.0)
    if link.is_linked or member is None or member.load is None:
        return None
    return _report("fabric", member.load, member.report_age_s or 0.0)


def _presence(member: MemberFigures) -> PresenceView:
    return PresenceView(
        source="fabric",
        there=member.is_there,
        age_ms=ms(member.changed_age_s),
        report_age_ms=optional_ms(member.report_age_s),
    )


def _report(source: str, report: LoadReport, age_s: float) -> ReportView:
    return ReportView(
        source=source,
        age_ms=ms(age_s + report.age_us / 1e6),
        state=report.state.name.lower(),
        epoch=report.epoch,
        seq=report.seq,
        capacity_ratio=report.capacity_permille / 1e3,
        num_slots=report.num_slots,
        num_free=report.num_free,
        wait_ms=_by_class(report.wait_us),
        credit_ms=_by_class(report.credit_us),
        prefill_ms_per_token=report.prefill_ns_per_token / 1e6,
    )


def _by_class(figures_us: tuple[int, int, int]) -> dict[TurnClass, float]:
    return {one: us / 1e3 for one, us in zip(SERVICE_ORDER, figures_us, strict=True)}
