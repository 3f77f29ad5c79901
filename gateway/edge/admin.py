"""The admin port: metrics, the site's state and its recent turns.

It asks for no key: only operators may reach it.
"""

from __future__ import annotations

import asyncio
from math import nan
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.errors import AccessError, GatewayError, InvalidRequest, RecordNotFound
from gateway.edge.console.pages import page_routes
from gateway.edge.grid_view import grid_view
from gateway.edge.http_app import answer_gateway_error, answer_route_error, for_this_machine
from gateway.edge.slo_view import slo_view
from gateway.edge.turn_view import TurnView, record_json, view_of
from gateway.edge.wanted_turns import WantedTurns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from gateway.edge.site_source import SiteSource

_JSON = "application/json"


def build_admin_app(
    source: SiteSource,
    *,
    end: Callable[[], None],
    routes: Sequence[BaseRoute] = (),
    answers_this_machine_only: bool = False,
) -> ASGIApp:
    """The application of the admin port; `end` drains and ends the site, as SIGTERM does.

    `routes` come after our own. With `answers_this_machine_only`, requests in another host's name
    are refused.
    """
    admin = _Admin(source, end)
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
            *page_routes("/"),
            *routes,
        ],
        exception_handlers={HTTPException: answer_route_error, GatewayError: answer_gateway_error},
    )
    app.router.redirect_slashes = False
    return for_this_machine(app) if answers_this_machine_only else app


class _CapacityCut(msgspec.Struct, frozen=True):
    ratio: float
    num_moved: int
    """Running turns that go on at other sites."""


class _TurnList(msgspec.Struct):
    data: list[TurnView]
    object: str = "list"


class _Admin:
    """The port's endpoints."""

    def __init__(self, source: SiteSource, end: Callable[[], None]) -> None:
        self._source = source
        self._telemetry = source.telemetry
        self._end = end

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
        return Response(msgspec.json.encode(self._source.state()), media_type=_JSON)

    async def grid(self, _: Request) -> Response:
        """The site's peers, and how all sites serve their callers."""
        self._telemetry.settle()
        source = self._source
        view = grid_view(source.identity.site, source.grid(), source.service())
        return Response(msgspec.json.encode(view), media_type=_JSON)

    async def slo(self, _: Request) -> Response:
        """How this site keeps its objectives."""
        self._telemetry.settle()
        view = slo_view(self._source.identity.site, self._telemetry.slo.states())
        return Response(msgspec.json.encode(view), media_type=_JSON)

    async def capacity(self, request: Request) -> Response:
        """Cut the site's capacity, or give it back: `?ratio=0.5`.

        Raises AccessError for web pages, InvalidRequest.
        """
        _refuse_web_pages(request)
        set_capacity = self._source.engine.set_capacity
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
