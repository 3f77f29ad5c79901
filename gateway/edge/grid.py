"""What connects a site to its peers, both ways: its links, its peer port, its reports."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.core.budget import TurnClass
from gateway.core.generation import CLASS_RANK
from gateway.core.load_report import Credits, SiteState, model_key
from gateway.core.membership import SiteCard
from gateway.core.route_choice import Here
from gateway.core.session_snapshot import GridKey
from gateway.edge.capacity_file import follow_capacity_file
from gateway.edge.grid_view import GridFigures
from gateway.edge.http_server import bind_listener
from gateway.edge.peer_grpc import PeerServer
from gateway.edge.peer_link import PeerContract
from gateway.peers.fabric import Fabric
from gateway.peers.link import PeerSite
from gateway.peers.links import PeerLinks
from gateway.peers.neighbourhood import Neighbourhood
from gateway.peers.reporter import LoadReporter
from gateway.peers.tls import PeerTls
from gateway.peers.zenoh_fabric import ZenohFabric, ZenohPlace, ZenohTls
from gateway.router.router import Router
from gateway.runtime.tasks import first_cause
from gateway.session.surviving import SurvivingSessions
from gateway.wire.peer_frames import PROTOCOL, Hello

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from gateway.config.site import SiteConfig
    from gateway.core.service_report import ServiceReport
    from gateway.core.stages import TurnRecord, TurnSink
    from gateway.core.turn import ModelInfo
    from gateway.engine.client import EngineClient

_log = logging.getLogger(__name__)

_PACE_INTERVAL_S = 0.25
_EVERYBODY = ""
"""No site's name: who hears it has sent nothing."""


class _Parts:
    """Whoever keeps records comes later than the links that make them."""

    sink: TurnSink | None = None

    def keep(self, record: TurnRecord) -> None:
        """Keep it if somebody does."""
        if self.sink is not None:
            self.sink.record(record)


class Grid:
    """What connects the site to its peers, both ways."""

    def __init__(
        self,
        config: SiteConfig,
        hello: Hello,
        router: Router,
        links: PeerLinks,
        server: PeerServer,
        reporter: LoadReporter,
        tls: PeerTls | None,
        sessions: SurvivingSessions | None,
        engine: EngineClient,
        parts: _Parts,
    ) -> None:
        self.router = router
        self._parts = parts
        self._engine = engine
        self.links = links
        self.server = server
        self._config = config
        self._hello = hello
        self.sessions = sessions
        self._tls = tls
        self._reporter = reporter
        self._fabric: Fabric | None = None
        self._neighbourhood: Neighbourhood | None = None

    @classmethod
    async def join(
        cls, config: SiteConfig, info: ModelInfo, engine: EngineClient, stack: AsyncExitStack
    ) -> Grid:
        """Begin to link to the peers; the site's own port is opened later."""
        hello, tls = _hello(config, info), _peer_tls(config)
        vocab_size = engine.facts.vocab_size
        links = PeerLinks(
            (PeerSite(*one.split("=", 1)) for one in config.grid.peers),
            hello,
            vocab_size=vocab_size,
            credentials=tls.for_caller() if tls else None,
        )
        await stack.enter_async_context(links)
        sessions = await _surviving(config, links, stack)
        here = Here(
            config.site.id,
            max_num_queued=config.limits.max_queued,
            region=config.site.region,
            objectives=config.slo.objectives(),
        )
        rules = config.routing.rules()
        router = Router(here, engine, model=hello.models[0], peers=links, rules=rules)
        defaults = config.budgets.defaults()
        reporter = LoadReporter(
            engine.load,
            here=here,
            epoch=hello.epoch,
            models=hello.models,
            credits=Credits(voice_s=defaults.voice_s, agent_s=defaults.agent_s),
        )
        parts = _Parts()
        contract = PeerContract(
            hello,
            vocab_size=vocab_size,
            max_context_tokens=engine.max_context_tokens,
            report=reporter.report,
            receive=reporter.receive,
            service=lambda: reporter.service(),
            sessions=sessions,
            record=lambda record: parts.keep(record),
        )
        server = PeerServer(router, contract)
        return cls(config, hello, router, links, server, reporter, tls, sessions, engine, parts)

    async def listen(self, *, max_connections: int) -> int:
        """Open the peer port; which it is. Raises PortInUse, SetupError."""
        for endpoint in self._config.fabric.listen:
            # The fabric itself would only find out when the site has said that it is ready.
            host, _, port = endpoint.partition("/")[2].rpartition(":")
            bind_listener(host.strip("[]"), int(port)).close()
        at = self._config.peer
        await self.server.start(at.host, at.port, self._tls, max_connections=max_connections)
        return self.server.port

    async def meet(self) -> None:
        """Be on the fabric, if there is one, until cancelled; the peer port must be open.

        Raises SetupError.
        """
        place = self._config.fabric
        if not place.enabled:
            return
        card = self._card()
        neighbourhood = Neighbourhood(
            self.links,
            card,
            configured=(one.partition("=")[0] for one in self._config.grid.peers),
            max_num_neighbours=place.max_num_neighbours,
        )
        fabric = Fabric(
            ZenohFabric(_zenoh_place(self._config)),
            card,
            lambda: self._reporter.report(_EVERYBODY),
            observer=neighbourhood,
            report_interval_s=place.report_interval_ms / 1e3,
            service=lambda: self._reporter.service(),
        )
        self._fabric, self._neighbourhood = fabric, neighbourhood
        with first_cause():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fabric.run())
                tasks.create_task(neighbourhood.run(fabric.membership))

    def alternates(self) -> tuple[str, ...]:
        """Addresses of other sites, the best for an agent's turn first."""
        return self.links.alternates(CLASS_RANK[TurnClass.AGENT])

    def tell_of(self, service: Callable[[], ServiceReport]) -> None:
        """Have other sites know how this one serves its callers."""
        self._reporter.service = service

    def keep_parts(self, sink: TurnSink) -> None:
        """Have records kept of what this site does of peers' turns."""
        self._parts.sink = sink

    async def keep_pace(self) -> None:
        """Until cancelled, have voice leave while this site is too slow for it."""
        max_token_s = self._config.budgets.voice_token_ms / 1e3
        while True:
            await asyncio.sleep(_PACE_INTERVAL_S)
            if num_moved := self.router.move_stuttering(max_token_s):
                _log.warning("too slow for voice, %d turns moved away", num_moved)

    async def follow_capacity(self) -> None:
        """Do what the capacity file says, if there is one, until cancelled."""
        path = self._config.limits.capacity_file
        if path:
            await follow_capacity_file(Path(path), self.set_capacity)

    def set_capacity(self, ratio: float) -> int:
        """Leave the site this part of its capacity, 0 to 1; how many running turns it moved away.

        The engine rests for the remainder of the time. Estimates and credits follow from that;
        of what runs, the part that was cut goes on at peers that have room.
        """
        here = self.router.here
        lost = 1.0 - ratio / here.capacity_ratio if ratio < here.capacity_ratio else 0.0
        here.capacity_ratio = ratio
        self._engine.set_capacity(ratio)
        num_moved = self.router.move_away(lost)
        _log.warning("capacity %g, %d turns moved away", ratio, num_moved)
        if self._fabric is not None:
            self._fabric.tell()
        return num_moved

    def drain(self) -> None:
        """Take no more turns of peers, tell them, and begin nothing here."""
        self.router.here.state = SiteState.DRAINING
        self.server.drain()
        if self._fabric is not None:
            self._fabric.tell()

    def figures(self) -> GridFigures:
        """For the admin port."""
        fabric, neighbourhood = self._fabric, self._neighbourhood
        return GridFigures(
            num_turns_for_peers=self.server.num_turns,
            links=self.links.figures(),
            configured=frozenset(one.partition("=")[0] for one in self._config.grid.peers),
            fabric=None if fabric is None else fabric.figures(),
            connect_time_s=(lambda _: None) if neighbourhood is None else neighbourhood.rtt_s,
            models=self._hello.models,
        )

    def _card(self) -> SiteCard:
        config, hello = self._config, self._hello
        host = config.peer.host
        return SiteCard(
            site=hello.site,
            epoch=hello.epoch,
            peer_address=config.fabric.peer_address
            or f"{f'[{host}]' if ':' in host else host}:{self.server.port}",
            models=hello.models,
            region=config.site.region,
            addresses=hello.addresses,
        )


def _hello(config: SiteConfig, info: ModelInfo) -> Hello:
    """Who this site is to its peers.

    Their model is ours when it would draw the same tokens: same artefact, same way of running it.
    """
    artefact = hashlib.sha256(f"{info.digest} {info.precision}".encode()).hexdigest()
    scheme = "https" if config.tls.enabled else "http"
    return Hello(
        PROTOCOL,
        config.site.id,
        epoch=time.time_ns() // 1_000_000,
        models=(model_key(artefact),),
        addresses=(f"{scheme}://{config.http.host}:{config.http.port}",),
        region=config.site.region,
        agents=f"{config.grpc.host}:{config.grpc.port}",
        cost_ms=config.routing.cost_ms,
    )


async def _surviving(
    config: SiteConfig, links: PeerLinks, stack: AsyncExitStack
) -> SurvivingSessions | None:
    """Without the grid's key nobody could be believed a session."""
    if not config.grid.key:
        return None
    sessions = SurvivingSessions(GridKey(config.grid.key), config.site.id, links)
    links.on_session_taken = sessions.taken
    return await stack.enter_async_context(sessions)


def _peer_tls(config: SiteConfig) -> PeerTls | None:
    authority = config.peer.authority
    return PeerTls.read(config.tls.cert, config.tls.key, authority) if authority else None


def _zenoh_place(config: SiteConfig) -> ZenohPlace:
    fabric, authority = config.fabric, config.peer.authority
    return ZenohPlace(
        grid=fabric.grid,
        listen=fabric.listen,
        connect=fabric.connect,
        lease_s=fabric.lease_ms / 1e3,
        finds_others=fabric.scouting,
        tls=ZenohTls(config.tls.cert, config.tls.key, authority) if authority else None,
    )
