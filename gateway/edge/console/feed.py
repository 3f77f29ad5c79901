"""`/v1/grid/events`: the glance of every second, as server-sent events, and one site's details.

However many consoles are open, a second's glance is made and encoded once; while none is, nothing
is. A console that does not keep up misses glances and gets the newest. Reads only.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.errors import ClientStalled, SiteNotKnown, TooManyReaders, Unauthenticated
from gateway.edge.console.glance import Glance, TurnRow, glance_of, turn_row
from gateway.edge.console.recent import Point, RecentLatency
from gateway.edge.console.sight import SUMMARY
from gateway.edge.deciding_headers import refuse_repeated
from gateway.edge.grid_view import (
    PeerView,
    ServiceTold,
    ServiceView,
    peer_view,
    service_view,
    sites_seen,
)
from gateway.edge.http_exchange import Exchange
from gateway.edge.site_source import SiteState
from gateway.edge.slo_view import SloView, slo_view
from gateway.edge.sse import SSE_HEADERS, sse_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from gateway.edge.console.sight import Sight
    from gateway.edge.site_source import SiteSource

_INTERVAL_S: Final = 1.0
_MAX_NUM_READERS: Final = 64
"""Of those with and of those without a key, each for themselves."""
_MAX_NEW_TURNS: Final = 50
_STALL_LIMIT_S: Final = 10.0
_MAX_BODY_BYTES: Final = 1024


class TalkPage(msgspec.Struct, frozen=True):
    """Where the public port serves it, whichever port a console came by."""

    scheme: str
    port: int


class _Event(msgspec.Struct, frozen=True):
    """One second."""

    sight: str
    talk: TalkPage
    glance: msgspec.Raw
    turns: list[TurnRow]
    """That missed since the event before, the newest first."""
    recent: list[tuple[Point, ...]] | UnsetType = UNSET
    """In a stream's first event: P50 and P99 of the last minutes, every five seconds."""


class SiteDetail(msgspec.Struct, frozen=True):
    """One site: `peer` of another, the rest of this one."""

    state: SiteState | None = None
    service: ServiceView | None = None
    slo: SloView | None = None
    peer: PeerView | None = None


class GridFeed:
    """A site's consoles, on all of its ports."""

    def __init__(
        self,
        source: SiteSource,
        *,
        talk: TalkPage,
        interval_s: float = _INTERVAL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._talk = talk
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._num_readers = {True: 0, False: 0}
        self._making = asyncio.Lock()
        self._made_of = -1
        self._whole = self._summary = msgspec.Raw()
        self._over = asyncio.Event()
        self.recent = RecentLatency(source)
        """Somebody has to have it kept."""

    def close(self) -> None:
        """End all streams: the site ends."""
        self._over.set()

    def routes(self, sight: Callable[[str | None], Sight]) -> list[Route]:
        """For a port on which `sight` says what an `Authorization` value opens.

        It may raise Unauthenticated.
        """
        return [
            Route("/v1/grid/events", _Stream(self, sight), methods=["GET"]),
            Route("/v1/grid/sites/{site}", self._detail_behind(sight)),
        ]

    async def follow(self, exchange: Exchange, sight: Sight) -> None:
        """Send a glance at once and with every tick, until the site ends. Raises ClientStalled."""
        num_seen, recent = 0, list(self.recent.points)
        while not self._over.is_set():
            glance = await self._glance(sight)
            turns, num_seen = self._new_turns(num_seen, sight)
            event = _Event(sight.name, self._talk, glance, turns, recent or UNSET)
            await exchange.write(sse_event(msgspec.json.encode(event)), more=True)
            recent = []
            await self._next_tick()
        await exchange.write(b"", more=False)

    @contextmanager
    def reader(self, sight: Sight) -> Iterator[None]:
        """Take a place. Raises TooManyReaders."""
        is_known = sight is not SUMMARY
        if self._num_readers[is_known] >= _MAX_NUM_READERS:
            raise TooManyReaders(max_num_readers=_MAX_NUM_READERS)
        self._num_readers[is_known] += 1
        try:
            yield
        finally:
            self._num_readers[is_known] -= 1

    async def _glance(self, sight: Sight) -> msgspec.Raw:
        tick = int(self._monotonic() / self._interval_s)
        async with self._making:
            if self._made_of != tick:
                glance = await glance_of(self._source)
                self._whole, self._summary = _encoded(glance), _encoded(glance.for_everybody())
                self._made_of = tick
        return self._summary if sight is SUMMARY else self._whole

    def _new_turns(self, num_seen: int, sight: Sight) -> tuple[list[TurnRow], int]:
        missed = self._source.telemetry.missed
        if sight is SUMMARY:
            return [], 0
        turns = missed.after(num_seen, tenant=sight.tenant, limit=_MAX_NEW_TURNS)
        return [turn_row(turn) for turn in turns], missed.num_seen

    async def _next_tick(self) -> None:
        """All readers wake at the same instants, so that one glance serves them all."""
        wait_s = self._interval_s - self._monotonic() % self._interval_s
        try:
            async with asyncio.timeout(wait_s):
                await self._over.wait()
        except TimeoutError:
            return

    def _detail_behind(
        self, sight: Callable[[str | None], Sight]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def detail(request: Request) -> Response:
            refuse_repeated(request.headers.keys())
            if sight(request.headers.get("authorization")) is SUMMARY:
                raise Unauthenticated("this site shows its grid's sites to those with a key only")
            body = msgspec.json.encode(self._detail(request.path_params["site"]))
            return Response(body, media_type="application/json")

        return detail

    def _detail(self, site: str) -> SiteDetail:
        source = self._source
        if site == source.identity.site:
            told = ServiceTold("this site", 0.0, source.service())
            objectives = slo_view(site, source.telemetry.slo.states())
            return SiteDetail(source.state(), service_view(told), objectives)
        figures = source.grid()
        for one in sites_seen(figures):
            if one.link.site == site:
                return SiteDetail(peer=peer_view(one, figures))
        raise SiteNotKnown(site)


class _Stream:
    """`GET /v1/grid/events`."""

    def __init__(self, feed: GridFeed, sight: Callable[[str | None], Sight]) -> None:
        self._feed = feed
        self._sight = sight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, stall_limit_s=_STALL_LIMIT_S)
        refuse_repeated(name.decode("latin-1") for name, _ in scope["headers"])
        sight = self._sight(exchange.header(b"authorization"))
        with self._feed.reader(sight):
            if await exchange.read_body(_MAX_BODY_BYTES) is None:
                return
            try:
                await exchange.start(200, SSE_HEADERS)
                if scope["method"] == "HEAD":
                    await exchange.write(b"", more=False)
                    return
                await exchange.while_connected(self._feed.follow(exchange, sight))
            except ClientStalled:
                exchange.abort()


def _encoded(glance: Glance) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(glance))
