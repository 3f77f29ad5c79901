"""What a site knows of itself and of its grid, at the moment it is asked. Times are ms."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.errors import EngineUnavailable
from gateway.core.generation import SERVICE_ORDER, EngineLoad
from gateway.core.turn import ModelInfo

if TYPE_CHECKING:
    from gateway.core.service_report import ServiceReport
    from gateway.edge.desk import Desk
    from gateway.edge.grid_view import GridFigures
    from gateway.telemetry.site_telemetry import SiteTelemetry


class SiteIdentity(msgspec.Struct, frozen=True):
    """What does not change while a site runs."""

    site: str
    region: str
    version: str
    started_s: float
    """Monotonic clock of this host."""


class EngineSource(msgspec.Struct, frozen=True):
    """Where the figures of the engine come from."""

    load: Callable[[], EngineLoad]
    """May raise EngineUnavailable."""
    num_restarts: Callable[[], int]
    capacity_ratio: Callable[[], float] = lambda: 1.0
    """What the operator leaves of the site's capacity."""
    set_capacity: Callable[[float], int] | None = None
    """Leaves the site a part of its capacity, 0 to 1; how many turns moved away. None: it is not
    this site's to cut."""


class EngineFigures(msgspec.Struct, frozen=True):
    """The engine's last report; `age_ms` says how old it is."""

    source: str
    age_ms: float
    num_slots: int
    num_active: int
    num_queued: int
    queued_prompt_tokens: int
    prefill_ms_per_token: float
    decode_step_ms: float
    mean_remaining_tokens: float
    answer_tokens: float
    available_in_ms: float
    num_queued_by_class: dict[TurnClass, int]
    cached_ratio: float


class SiteFigures(msgspec.Struct, frozen=True):
    """What the site counts itself, at the instant of the answer."""

    source: str
    age_ms: float
    uptime_s: float
    draining: bool
    num_turns_active: int
    num_sessions: int
    num_records_kept: int
    num_engine_restarts: int
    capacity_ratio: float
    """What the operator leaves of the site's capacity."""


class SiteState(msgspec.Struct, frozen=True):
    """The site by itself."""

    site: str
    region: str
    version: str
    models: tuple[ModelInfo, ...]
    now: SiteFigures
    engine: EngineFigures | None
    """None while there is no engine."""


class SiteSource:
    """Asked by the admin port and the console."""

    def __init__(
        self,
        identity: SiteIdentity,
        desk: Desk,
        engine: EngineSource,
        grid: Callable[[], GridFigures],
        telemetry: SiteTelemetry,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identity = identity
        self.desk = desk
        self.telemetry = telemetry
        self.grid = grid
        """What is known of other sites."""
        self.engine = engine
        self._monotonic = monotonic

    def service(self) -> ServiceReport:
        """How the site serves its own callers."""
        report = self.telemetry.slo.report()
        return msgspec.structs.replace(report, num_sessions=self.desk.num_sessions)

    def state(self) -> SiteState:
        """The site by itself."""
        now_s = self._monotonic()
        identity, desk = self.identity, self.desk
        return SiteState(
            site=identity.site,
            region=identity.region,
            version=identity.version,
            models=desk.runner.models,
            now=SiteFigures(
                source="this site",
                age_ms=0.0,
                uptime_s=round(now_s - identity.started_s, 3),
                draining=desk.draining,
                num_turns_active=desk.num_active,
                num_sessions=desk.num_sessions,
                num_records_kept=len(self.telemetry.ring),
                num_engine_restarts=self.engine.num_restarts(),
                capacity_ratio=self.engine.capacity_ratio(),
            ),
            engine=self._engine_figures(now_s),
        )

    def _engine_figures(self, now_s: float) -> EngineFigures | None:
        try:
            load = self.engine.load()
        except EngineUnavailable:
            return None
        return _engine_figures(load, now_s)


def _engine_figures(load: EngineLoad, now_s: float) -> EngineFigures:
    return EngineFigures(
        source="engine report",
        age_ms=round(max(0.0, now_s - load.as_of_s) * 1e3, 3),
        num_slots=load.num_slots,
        num_active=load.num_active,
        num_queued=load.num_queued,
        queued_prompt_tokens=load.queued_prompt_tokens,
        prefill_ms_per_token=round(load.prefill_s_per_token * 1e3, 6),
        decode_step_ms=round(load.decode_step_s * 1e3, 6),
        mean_remaining_tokens=round(load.mean_remaining_tokens, 3),
        answer_tokens=round(load.answer_tokens, 3),
        available_in_ms=round(load.available_in_s * 1e3, 3),
        num_queued_by_class={
            turn_class: waiting.num_queued
            for turn_class, waiting in zip(SERVICE_ORDER, load.backlog, strict=True)
        },
        cached_ratio=round(load.cached_ratio, 4),
    )
