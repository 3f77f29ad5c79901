"""The admin port: metrics, the site's state and its recent turns.

It asks for no key: only operators may reach it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import nan
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.budget import TurnClass
from gateway.core.errors import (
    AccessError,
    EngineUnavailable,
    GatewayError,
    InvalidRequest,
    RecordNotFound,
)
from gateway.core.generation import SERVICE_ORDER, EngineLoad
from gateway.core.turn import ModelInfo
from gateway.edge.grid_view import GridFigures, grid_view
from gateway.edge.http_app import answer_gateway_error, answer_route_error, for_this_machine
from gateway.edge.slo_view import slo_view
from gateway.edge.turn_view import TurnView, record_json, view_of
from gateway.edge.wanted_turns import WantedTurns

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from gateway.edge.desk import Desk
    from gateway.telemetry.site_telemetry import SiteTelemetry

_JSON = "application/json"


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


def build_admin_app(
    *,
    identity: SiteIdentity,
    desk: Desk,
    engine: EngineSource,
    grid: Callable[[], GridFigures],
    telemetry: SiteTelemetry,
    end: Callable[[], None],
    monotonic: Callable[[], float] = time.monotonic,
    answers_this_machine_only: bool = False,
) -> ASGIApp:
    """The application of the admin port; `end` drains and ends the site, as SIGTERM does.

    With `answers_this_machine_only`, requests in another host's name are refused.
    """
    admin = _Admin(identity, desk, engine, grid, telemetry, end, monotonic)
    app = Starlette(
        routes=[
            Route("/metrics", admin.metrics),
            Route("/v1/site", admin.site),
            Route("/v1/grid", admin.grid),
            Route("/v1/slo", admin.slo),
            Route("/v1/drain", admin.drain, methods=["POST"]),
            Route("/v1/capacity", admin.capacity, methods=["POST"]),
            Route("/v1/requests", admin.requests),
            Route("/v1/requests/{request_id:path}", admin.request),
            Route("/healthz", admin.healthz),
        ],
        exception_handlers={HTTPException: answer_route_error, GatewayError: answer_gateway_error},
    )
    app.router.redirect_slashes = False
    return for_this_machine(app) if answers_this_machine_only else app


class _EngineFigures(msgspec.Struct):
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


class _SiteFigures(msgspec.Struct):
    """What the site counts itself, at the instant of the answer."""

    source: str
    age_ms: float
    uptime_s: float
    draining: bool
    num_turns_active: int
    num_records_kept: int
    num_engine_restarts: int
    capacity_ratio: float
    """What the operator leaves of the site's capacity."""


class _SiteState(msgspec.Struct):
    site: str
    region: str
    version: str
    models: tuple[ModelInfo, ...]
    now: _SiteFigures
    engine: _EngineFigures | None
    """None while there is no engine."""


class _CapacityCut(msgspec.Struct, frozen=True):
    ratio: float
    num_moved: int
    """Running turns that go on at other sites."""


class _TurnList(msgspec.Struct):
    data: list[TurnView]
    object: str = "list"


class _Admin:
    """The port's endpoints."""

    def __init__(
        self,
        identity: SiteIdentity,
        desk: Desk,
        engine: EngineSource,
        grid: Callable[[], GridFigures],
        telemetry: SiteTelemetry,
        end: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._desk = desk
        self._engine = engine
        self._grid = grid
        self._telemetry = telemetry
        self._end = end
        self._monotonic = monotonic

    async def healthz(self, _: Request) -> Response:
        """The process answers."""
        return Response(b'{"status":"ok"}', media_type=_JSON)

    async def metrics(self, request: Request) -> Response:
        """Prometheus or OpenMetrics text, as the scraper asks for."""
        accept = request.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(self._telemetry.exposition, accept)
        return Response(body, headers={"content-type": content_type})

    async def site(self, _: Request) -> Response:
        """The site's state."""
        now_s = self._monotonic()
        identity = self._identity
        state = _SiteState(
            site=identity.site,
            region=identity.region,
            version=identity.version,
            models=self._desk.runner.models,
            now=_SiteFigures(
                source="this site",
                age_ms=0.0,
                uptime_s=round(now_s - identity.started_s, 3),
                draining=self._desk.draining,
                num_turns_active=self._desk.num_active,
                num_records_kept=len(self._telemetry.ring),
                num_engine_restarts=self._engine.num_restarts(),
                capacity_ratio=self._engine.capacity_ratio(),
            ),
            engine=self._engine_figures(now_s),
        )
        return Response(msgspec.json.encode(state), media_type=_JSON)

    async def grid(self, _: Request) -> Response:
        """The site's peers, and how all sites serve their callers."""
        view = grid_view(self._identity.site, self._grid(), self._telemetry.slo.report())
        return Response(msgspec.json.encode(view), media_type=_JSON)

    async def slo(self, _: Request) -> Response:
        """How this site keeps its objectives."""
        view = slo_view(self._identity.site, self._telemetry.slo.states())
        return Response(msgspec.json.encode(view), media_type=_JSON)

    async def capacity(self, request: Request) -> Response:
        """Cut the site's capacity, or give it back: `?ratio=0.5`.

        Raises AccessError for web pages, InvalidRequest.
        """
        _refuse_web_pages(request)
        set_capacity = self._engine.set_capacity
        if set_capacity is None:
            raise InvalidRequest("another server runs this site's model; cut its capacity there")
        ratio = _ratio(request.query_params.get("ratio", ""))
        cut = _CapacityCut(ratio, set_capacity(ratio))
        return Response(msgspec.json.encode(cut), media_type=_JSON)

    async def drain(self, request: Request) -> Response:
        """Drain the site and end it. Raises AccessError for web pages."""
        _refuse_web_pages(request)
        self._end()
        return Response(b'{"status":"draining"}', status_code=202, media_type=_JSON)

    async def requests(self, request: Request) -> Response:
        """The newest turns, of some kind or all. Raises InvalidRequest."""
        wanted = WantedTurns.of(request.query_params, self._telemetry.pseudonyms)
        turns = await self._telemetry.search(wanted.query, wanted.takes)
        views = [view_of(turn) for turn in turns]
        return Response(msgspec.json.encode(_TurnList(views)), media_type=_JSON)

    async def request(self, request: Request) -> Response:
        """One turn. Raises RecordNotFound."""
        request_id = request.path_params["request_id"]
        turn = await self._telemetry.find(request_id)
        if turn is None:
            raise RecordNotFound(request_id)
        return Response(record_json(turn), media_type=_JSON)

    def _engine_figures(self, now_s: float) -> _EngineFigures | None:
        try:
            load = self._engine.load()
        except EngineUnavailable:
            return None
        return _engine_figures(load, now_s)


def _refuse_web_pages(request: Request) -> None:
    """A page can post anywhere. Raises AccessError."""
    if "origin" in request.headers:
        raise AccessError("a web page may not command a site; use a command-line client")


def _ratio(given: str) -> float:
    try:
        ratio = float(given)
    except ValueError:
        ratio = nan
    if 0.0 <= ratio <= 1.0:
        return ratio
    raise InvalidRequest(f"ratio must be 0 to 1, as in `?ratio=0.5`, not {given!r}", param="ratio")


def _engine_figures(load: EngineLoad, now_s: float) -> _EngineFigures:
    return _EngineFigures(
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
