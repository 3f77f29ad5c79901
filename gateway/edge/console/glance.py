"""The grid at a glance: what consoles are sent once a second. Small, because it is sent so often.

Times are ms. What a name would repeat for every site is an array whose order is stated.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.load_report import SiteState
from gateway.core.service_report import added_up
from gateway.edge.grid_view import MAX_SERVICE_AGE_S, ServiceTold, sites_seen
from gateway.edge.turn_view import ms, optional_ms, rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.service_report import ClassService, ServiceReport
    from gateway.edge.grid_view import GridFigures, SiteSeen
    from gateway.edge.site_source import SiteSource
    from gateway.telemetry.records import KeptTurn

_SITES_AT_A_TIME: Final = 20
"""A site takes some 30 µs, and calls go on between two stretches of so many."""


class ClassCell(msgspec.Struct, frozen=True, array_like=True):
    """Turns of one class over the last minute."""

    num_turns: int
    """With a budget."""
    attainment_ratio: float | None
    burn_rate_10s: float | None
    burn_rate_1m: float | None
    p50_ms: float | None
    p99_ms: float | None


class ServiceCells(msgspec.Struct, frozen=True):
    """How a site, or all of them, served their own callers."""

    source: str
    age_ms: float
    """Of the oldest figure in it."""
    tokens_per_s: float
    num_sessions: int
    num_by_fate: tuple[int, ...]
    """In the order of `Fate`."""
    classes: tuple[ClassCell | None, ...]
    """In the order of `SERVICE_ORDER`; None: no turn."""


class SiteRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One site."""

    site: str
    state: str
    """As in `PeerView`; `here` is this site, `draining` one that takes nothing new, and `slow` a
    usable one that is far slower than it used to be, by its own report."""
    region: str = ""
    models: tuple[str, ...] = ()
    """Keys made from digest and precision: equal ones draw the same tokens."""
    rtt_ms: float | None = None
    num_free: int | None = None
    num_slots: int | None = None
    load_age_ms: float | None = None
    """Of the two before."""
    service: ServiceCells | None = None


class OwnNow(msgspec.Struct, frozen=True):
    """The site that serves the page, at this instant."""

    version: str
    uptime_s: float
    num_turns_active: int
    num_turns_for_peers: int
    fabric_joined: bool | None
    """None: configured without one."""
    burning: dict[str, tuple[str, ...]]
    """Names of the rules that fire, by class."""


class Glance(msgspec.Struct, frozen=True):
    """The whole picture, or without `own` and `sites` what everybody may see."""

    site: str
    region: str
    draining: bool
    objectives: tuple[float, ...]
    """In the order of `SERVICE_ORDER`."""
    total: ServiceCells
    num_sites: int
    num_sites_in_total: int
    own: OwnNow | None = None
    sites: tuple[SiteRow, ...] = ()

    def for_everybody(self) -> Glance:
        """What may be seen without a key."""
        return msgspec.structs.replace(self, own=None, sites=())


class TurnRow(msgspec.Struct, frozen=True, rename={"turn_class": "class"}):
    """A turn that was late, shed or failed."""

    request_id: str
    started_at: str
    turn_class: str
    outcome: str
    error: str
    reason: str
    """Of the last decision; "" where none was made."""
    path: tuple[str, ...]
    budget_ms: float | None
    ttft_ms: float | None
    duration_ms: float


async def glance_of(source: SiteSource) -> Glance:
    """The grid now. Gives way to other tasks now and then, however many sites there are."""
    figures, own = source.grid(), source.service()
    seen, rows = sites_seen(figures), [_own_row(source, figures, own)]
    for first in range(0, len(seen), _SITES_AT_A_TIME):
        rows += (_row(one, figures) for one in seen[first : first + _SITES_AT_A_TIME])
        await asyncio.sleep(0)
    told, num_fresh = await all_sites(own, seen)
    total = told.report
    return Glance(
        site=source.identity.site,
        region=source.identity.region,
        draining=source.desk.draining,
        objectives=tuple(one.objective_ratio for one in total.by_class),
        total=_cells(told),
        num_sites=len(rows),
        num_sites_in_total=1 + num_fresh,
        own=_own_now(source, figures),
        sites=tuple(rows),
    )


async def all_sites(own: ServiceReport, seen: Sequence[SiteSeen]) -> tuple[ServiceTold, int]:
    """What this and all other sites have told lately, added up; of how many others it is."""
    total, num_fresh, oldest_s = own, 0, 0.0
    for first in range(0, len(seen), _SITES_AT_A_TIME):
        told = (told for one in seen[first : first + _SITES_AT_A_TIME] if (told := one.service))
        fresh = [one for one in told if one.age_s <= MAX_SERVICE_AGE_S]
        total = added_up([total, *(one.report for one in fresh)]) or own
        num_fresh += len(fresh)
        oldest_s = max([oldest_s, *(one.age_s for one in fresh)])
        await asyncio.sleep(0)
    return ServiceTold("all sites", oldest_s, total), num_fresh


def turn_row(turn: KeptTurn) -> TurnRow:
    """A line of the list; the whole record is at `/v1/requests/{id}`."""
    record = turn.record
    return TurnRow(
        request_id=record.request_id,
        started_at=rfc3339(turn.started_ns),
        turn_class=record.turn_class.value,
        outcome=record.outcome.value,
        error=record.error,
        reason=record.decisions[-1].reason if record.decisions else "",
        path=record.path,
        budget_ms=optional_ms(record.budget_s),
        ttft_ms=optional_ms(record.ttft_s),
        duration_ms=ms(record.duration_s),
    )


def _own_now(source: SiteSource, figures: GridFigures) -> OwnNow:
    state = source.state()
    states = source.telemetry.slo.states()
    return OwnNow(
        version=state.version,
        uptime_s=state.now.uptime_s,
        num_turns_active=state.now.num_turns_active,
        num_turns_for_peers=figures.num_turns_for_peers,
        fabric_joined=figures.fabric.is_joined if figures.fabric else None,
        burning={one.turn_class.value: one.burning for one in states if one.burning},
    )


def _own_row(source: SiteSource, figures: GridFigures, own: ServiceReport) -> SiteRow:
    state = source.state()
    engine = state.engine
    return SiteRow(
        site=state.site,
        state="draining" if state.now.draining else "here",
        region=state.region,
        models=tuple(key.hex() for key in figures.models),
        num_free=None if engine is None else engine.num_slots - engine.num_active,
        num_slots=None if engine is None else engine.num_slots,
        load_age_ms=None if engine is None else engine.age_ms,
        service=_cells(ServiceTold("this site", 0.0, own)),
    )


def _row(seen: SiteSeen, figures: GridFigures) -> SiteRow:
    link, load, told = seen.link, seen.load, seen.service
    rtt_s = figures.connect_time_s(link.site) if link.rtt_s is None else link.rtt_s
    card = seen.member.card if seen.member else None
    row = SiteRow(
        site=link.site,
        state="slow" if link.is_slow and seen.state == "usable" else seen.state,
        region=card.region if card else "",
        models=tuple(key.hex() for key in card.models) if card else (),
        rtt_ms=optional_ms(rtt_s),
        service=None if told is None else _cells(told),
    )
    if load is None:
        return row
    _, report, age_s = load
    return msgspec.structs.replace(
        row,
        state="draining" if report.state is SiteState.DRAINING else row.state,
        models=tuple(key.hex() for key in report.models) or row.models,
        num_free=report.num_free,
        num_slots=report.num_slots,
        load_age_ms=ms(age_s + report.age_us / 1e6),
    )


def _cells(told: ServiceTold) -> ServiceCells:
    report = told.report
    return ServiceCells(
        source=told.source,
        age_ms=ms(told.age_s),
        tokens_per_s=round(report.answer_tokens_per_s, 1),
        num_sessions=report.num_sessions,
        num_by_fate=report.num_by_fate,
        classes=tuple(_cell(one) for one in report.by_class),
    )


def _cell(service: ClassService) -> ClassCell | None:
    latencies, objective_ratio = service.first_content, service.objective_ratio
    num_turns = sum(service.long)
    if not num_turns and not latencies.num_values:
        return None
    return ClassCell(
        num_turns=num_turns,
        attainment_ratio=_rounded(service.long.attainment),
        burn_rate_10s=_rounded(service.short.burn_rate(objective_ratio)),
        burn_rate_1m=_rounded(service.long.burn_rate(objective_ratio)),
        p50_ms=optional_ms(latencies.quantile_s(0.5)),
        p99_ms=optional_ms(latencies.quantile_s(0.99)),
    )


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)
