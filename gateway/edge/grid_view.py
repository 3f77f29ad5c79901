"""The grid as this site sees it: what `/v1/grid` serves. Times are ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import SERVICE_ORDER
from gateway.edge.turn_view import ms, optional_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.load_report import LoadReport
    from gateway.peers.link import LinkFigures


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
    state: str
    """`usable`, `linked` (no turns: it drains, or serves another model) or `unlinked`."""
    last_error: str
    retry_in_ms: float | None
    source: str
    """Of the round trip: our own beats on the link."""
    age_ms: float | None
    """Since the peer was last heard."""
    rtt_ms: float | None
    """The shortest of the last 10 s."""
    num_turns: int
    num_offered: int
    num_accepted: int
    num_refused: int
    num_lost: int
    addresses: tuple[str, ...]
    report: ReportView | None


class GridView(msgspec.Struct, frozen=True):
    """All peers, and the turns this site does for them."""

    site: str
    num_turns_for_peers: int
    peers: list[PeerView]


def grid_view(site: str, num_turns_for_peers: int, links: Sequence[LinkFigures]) -> GridView:
    """The grid, from the figures of this moment."""
    return GridView(site, num_turns_for_peers, [_peer(link) for link in links])


def _peer(link: LinkFigures) -> PeerView:
    return PeerView(
        site=link.site,
        address=link.address,
        state="usable" if link.is_usable else "linked" if link.is_linked else "unlinked",
        last_error=link.last_error,
        retry_in_ms=optional_ms(link.retry_in_s),
        source="peer link",
        age_ms=optional_ms(link.heard_age_s),
        rtt_ms=optional_ms(link.rtt_s),
        num_turns=link.num_turns,
        num_offered=link.num_offered,
        num_accepted=link.num_accepted,
        num_refused=link.num_refused,
        num_lost=link.num_lost,
        addresses=link.addresses,
        report=None if link.report is None else _report(link.report, link.report_age_s or 0.0),
    )


def _report(report: LoadReport, age_s: float) -> ReportView:
    return ReportView(
        source="the peer's report",
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
