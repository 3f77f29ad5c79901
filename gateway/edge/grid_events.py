"""The public summary of the grid as server-sent events: `GET /v1/grid/events`.

It says how well callers of every site are served, and nothing of addresses, loads or turns.
"""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.routing import Route

from gateway.core.errors import ClientStalled
from gateway.edge.grid_view import GridView, ServiceView
from gateway.edge.http_errors import route_error_body
from gateway.edge.http_exchange import Exchange
from gateway.edge.sse import SSE_HEADERS, sse_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

INTERVAL_S: Final = 1.0
MAX_NUM_READERS: Final = 64
_RETRY_AFTER_S: Final = 10


class SiteSummary(msgspec.Struct, frozen=True):
    """One site, as anybody may see it."""

    site: str
    state: str
    """`here`, or as in `/v1/grid`."""
    service: ServiceView | None


class GridSummary(msgspec.Struct, frozen=True):
    """The grid, as anybody may see it."""

    site: str
    """Who says so."""
    total: ServiceView
    num_sites_in_total: int
    sites: list[SiteSummary]


def summary_of(grid: GridView) -> GridSummary:
    """What anybody may see of it."""
    return GridSummary(
        grid.site,
        grid.total,
        grid.num_sites_in_total,
        [
            SiteSummary(grid.site, "here", grid.own),
            *(SiteSummary(peer.site, peer.state, peer.service) for peer in grid.peers),
        ],
    )


def grid_events_route(
    grid: Callable[[], GridView],
    *,
    is_ending: Callable[[], bool],
    stall_limit_s: float,
    interval_s: float = INTERVAL_S,
) -> Route:
    """The route: the summary of `grid` at once and every `interval_s`, until `is_ending`.

    However many read, it is made once an interval. A reader that is too slow is cut off.
    """
    events = _GridEvents(grid, is_ending, stall_limit_s=stall_limit_s, interval_s=interval_s)
    return Route("/v1/grid/events", events, methods=["GET"])


class _GridEvents:
    """The endpoint, an ASGI application."""

    def __init__(
        self,
        grid: Callable[[], GridView],
        is_ending: Callable[[], bool],
        *,
        stall_limit_s: float,
        interval_s: float,
    ) -> None:
        self._grid = grid
        self._is_ending = is_ending
        self._stall_limit_s = stall_limit_s
        self._interval_s = interval_s
        self._event = b""
        self._made_s = -inf
        self._num_readers = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one reader until it leaves or the site ends."""
        exchange = Exchange(scope, receive, send, stall_limit_s=self._stall_limit_s)
        if self._num_readers >= MAX_NUM_READERS:
            await _refuse(exchange)
            return
        self._num_readers += 1
        try:
            await exchange.while_connected(self._tell(exchange, once=scope["method"] == "HEAD"))
        except ClientStalled:
            exchange.abort()
        finally:
            self._num_readers -= 1

    async def _tell(self, exchange: Exchange, *, once: bool) -> None:
        await exchange.start(200, SSE_HEADERS)
        while not (once or self._is_ending()):
            await exchange.write(self._newest(), more=True)
            await asyncio.sleep(self._interval_s)
        await exchange.write(b"", more=False)

    def _newest(self) -> bytes:
        now_s = time.monotonic()
        if now_s - self._made_s >= 0.9 * self._interval_s:
            self._event = sse_event(msgspec.json.encode(summary_of(self._grid())))
            self._made_s = now_s
        return self._event


async def _refuse(exchange: Exchange) -> None:
    body = route_error_body(f"{MAX_NUM_READERS} readers are here already", "too_many_readers")
    headers = ((b"content-type", b"application/json"), (b"retry-after", b"%d" % _RETRY_AFTER_S))
    await exchange.start(503, headers)
    await exchange.write(body, more=False)
