"""What connects a site to its peers, both ways: its links, its peer port, its reports."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from gateway.core.budget import TurnClass
from gateway.core.generation import CLASS_RANK
from gateway.core.load_report import Credits, SiteState, model_key
from gateway.core.routing import Here
from gateway.edge.admin import GridSource
from gateway.edge.peer_grpc import PeerServer
from gateway.edge.peer_link import PeerContract
from gateway.peers.link import PeerSite
from gateway.peers.links import PeerLinks
from gateway.peers.reporter import LoadReporter
from gateway.peers.tls import PeerTls
from gateway.router.router import Router
from gateway.wire.peer_frames import PROTOCOL, Hello

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from gateway.config.site import PeerListener, SiteConfig
    from gateway.core.turn import ModelInfo
    from gateway.engine.client import EngineClient


class Grid:
    """What connects the site to its peers, both ways."""

    def __init__(
        self,
        router: Router,
        links: PeerLinks,
        server: PeerServer,
        at: PeerListener,
        tls: PeerTls | None,
    ) -> None:
        self.router = router
        self.links = links
        self.server = server
        self._at = at
        self._tls = tls

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
        here = Here(
            config.site.id, max_num_queued=config.limits.max_queued, region=config.site.region
        )
        router = Router(here, engine, model=hello.models[0], peers=links)
        defaults = config.budgets.defaults()
        reporter = LoadReporter(
            engine.load,
            here=here,
            epoch=hello.epoch,
            models=hello.models,
            credits=Credits(voice_s=defaults.voice_s, agent_s=defaults.agent_s),
        )
        contract = PeerContract(
            hello,
            vocab_size=vocab_size,
            max_context_tokens=engine.max_context_tokens,
            report=reporter.report,
            receive=reporter.receive,
        )
        return cls(router, links, PeerServer(router, contract), config.peer, tls)

    async def listen(self) -> int:
        """Open the peer port; which it is. Raises PortInUse, SetupError."""
        await self.server.start(self._at.host, self._at.port, self._tls)
        return self.server.port

    def source(self) -> GridSource:
        """The grid's figures for the admin port."""
        return GridSource(self.links.figures, lambda: self.server.num_turns)

    def alternates(self) -> tuple[str, ...]:
        """Addresses of other sites, the best for an agent's turn first."""
        return self.links.alternates(CLASS_RANK[TurnClass.AGENT])

    def drain(self) -> None:
        """Take no more turns of peers, tell them, and begin nothing here."""
        self.router.here.state = SiteState.DRAINING
        self.server.drain()


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
    )


def _peer_tls(config: SiteConfig) -> PeerTls | None:
    authority = config.peer.authority
    return PeerTls.read(config.tls.cert, config.tls.key, authority) if authority else None
