"""The grid as this site sees it: what `/v1/grid` serves. Times are ms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import SERVICE_ORDER
from gateway.core.load_report import ModelKey
from gateway.core.membership import Ignored
from gateway.core.service_report import Fate, added_up
from gateway.edge.turn_view import ms, optional_ms
from gateway.peers.fabric import FabricFigures, MemberFigures
from gateway.peers.link import LinkFigures

if TYPE_CHECKING:
    from gateway.core.load_report import LoadReport
    from gateway.core.service_report import ClassService, ServiceReport


_ON_LINK, _ON_FABRIC = "the peer's report on its link", "fabric"
MAX_SERVICE_AGE_S = 10.0
"""Older figures are shown with their age, and no longer added up."""


class ServiceTold(NamedTuple):
    """A report, who it is from and how old it is."""

    source: str
    age_s: float
    report: ServiceReport


class GridFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the grid at one moment."""

    num_turns_for_peers: int = 0
    links: Sequence[LinkFigures] = ()
    configured: frozenset[str] = frozenset()
    """Peers that the configuration names."""
    fabric: FabricFigures | None = None
    connect_time_s: Callable[[str], float | None] = lambda _: None
    """Of a site's peer port, if it was measured."""
    models: tuple[ModelKey, ...] = ()
    """What this site serves."""


class SiteSeen(NamedTuple):
    """What is known of one other site."""

    link: LinkFigures
    member: MemberFigures | None
    """None: the fabric never said anything of it."""
    is_kept: bool = True
    """Whether a link is kept to it."""

    @property
    def state(self) -> str:
        """As in `PeerView`."""
        link = self.link
        if not self.is_kept:
            return "seen"
        if link.is_usable:
            return "usable" if link.ejected_for_s is None else "ejected"
        return "linked" if link.is_linked else "unlinked"

    @property
    def load(self) -> tuple[str, LoadReport, float] | None:
        """Source, report, and seconds since it arrived.

        A linked peer's is what it said on the link, whatever the fabric says.
        """
        link, member = self.link, self.member
        if link.report is not None:
            return _ON_LINK, link.report, link.report_age_s or 0.0
        if link.is_linked or member is None or member.load is None:
            return None
        return _ON_FABRIC, member.load, member.report_age_s or 0.0

    @property
    def service(self) -> ServiceTold | None:
        """Likewise."""
        link, member = self.link, self.member
        if link.service is not None:
            return ServiceTold(_ON_LINK, link.service_age_s or 0.0, link.service)
        if link.is_linked or member is None or member.service is None:
            return None
        return ServiceTold(_ON_FABRIC, member.report_age_s or 0.0, member.service)


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


class ClassServiceView(msgspec.Struct, frozen=True):
    """Turns of one class over the last minute."""

    objective_ratio: float
    num_met: int
    num_missed: int
    """Late, shed and failed ones; of turns that had a budget."""
    attainment_ratio: float | None
    """None while there were none."""
    burn_rate_10s: float | None
    burn_rate_1m: float | None
    num_first_contents: int
    p50_ms: float | None
    """Time to the first content of the turns that had any, to 2.2 %."""
    p99_ms: float | None


class ServiceView(msgspec.Struct, frozen=True):
    """How a site, or all of them, served their own callers."""

    source: str
    age_ms: float
    answer_tokens_per_s: float
    num_sessions: int
    num_by_fate: dict[Fate, int]
    """What became of the turns that ended in the last minute."""
    classes: dict[TurnClass, ClassServiceView]


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
    service: ServiceView | None
    """How it has served its own callers, as it says itself."""


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
    """All peers, the turns this site does for them, and how all serve their callers."""

    site: str
    num_turns_for_peers: int
    fabric: FabricView | None
    """None: this site is configured without one."""
    own: ServiceView
    """How this site has served its own callers."""
    total: ServiceView
    """All sites whose figures are younger than `MAX_SERVICE_AGE_S`, their latencies merged."""
    num_sites_in_total: int
    peers: list[PeerView]


def sites_seen(figures: GridFigures) -> list[SiteSeen]:
    """All other sites: those that are linked to, then those that only the fabric knows."""
    fabric = figures.fabric
    members = {} if fabric is None else {member.site: member for member in fabric.members}
    seen = [SiteSeen(link, members.pop(link.site, None)) for link in figures.links]
    for member in members.values():
        address = member.card.peer_address if member.card else ""
        unlinked = LinkFigures(
            site=member.site, address=address, is_linked=False, is_usable=False, last_error=""
        )
        seen.append(SiteSeen(unlinked, member, is_kept=False))
    return seen


def grid_view(site: str, figures: GridFigures, own: ServiceReport) -> GridView:
    """The grid, from the figures of this moment and this site's `own`."""
    fabric, seen = figures.fabric, sites_seen(figures)
    told = [told for one in seen if (told := one.service)]
    fresh = [one for one in told if one.age_s <= MAX_SERVICE_AGE_S]
    total = added_up([own, *(one.report for one in fresh)]) or own
    return GridView(
        site,
        figures.num_turns_for_peers,
        None if fabric is None else FabricView(fabric.is_joined, fabric.num_ignored),
        service_view(ServiceTold("this site", 0.0, own)),
        service_view(
            ServiceTold("all sites", max((one.age_s for one in fresh), default=0.0), total)
        ),
        1 + len(fresh),
        [peer_view(one, figures) for one in seen],
    )


def peer_view(seen: SiteSeen, figures: GridFigures) -> PeerView:
    """One other site, with all that is known of it."""
    link, member = seen.link, seen.member
    connect_time_s = figures.connect_time_s(link.site) if link.rtt_s is None else None
    load, told = seen.load, seen.service
    return PeerView(
        site=link.site,
        address=link.address,
        known_from="configured" if link.site in figures.configured else "fabric",
        state=seen.state,
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
        report=None if load is None else _report(*load),
        fabric=None if member is None else _presence(member),
        service=None if told is None else service_view(told),
    )


def service_view(told: ServiceTold) -> ServiceView:
    """A report, as people read it."""
    by_class = zip(SERVICE_ORDER, told.report.by_class, strict=True)
    return ServiceView(
        source=told.source,
        age_ms=ms(told.age_s),
        answer_tokens_per_s=round(told.report.answer_tokens_per_s, 1),
        num_sessions=told.report.num_sessions,
        num_by_fate=dict(zip(Fate, told.report.num_by_fate, strict=True)),
        classes={one: _class_service(service) for one, service in by_class},
    )


def _class_service(service: ClassService) -> ClassServiceView:
    latencies, objective = service.first_content, service.objective_ratio
    return ClassServiceView(
        objective_ratio=objective,
        num_met=service.long.met,
        num_missed=service.long.missed,
        attainment_ratio=_rounded(service.long.attainment),
        burn_rate_10s=_rounded(service.short.burn_rate(objective)),
        burn_rate_1m=_rounded(service.long.burn_rate(objective)),
        num_first_contents=latencies.num_values,
        p50_ms=optional_ms(latencies.quantile_s(0.5)),
        p99_ms=optional_ms(latencies.quantile_s(0.99)),
    )


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)


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
