"""The composition root: builds a site from its configuration, starts it, drains it.

May import every room; only the command line imports it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop

from gateway import __version__
from gateway.backend import core_tier, engine_backend, upstream_backend
from gateway.config.checks import is_loopback
from gateway.core.errors import ConfigError, SetupError
from gateway.edge import grpc_server, http_server
from gateway.edge.access import KeyGatekeeper, OpenGatekeeper
from gateway.edge.admin import build_admin_app
from gateway.edge.connection_shares import connection_shares
from gateway.edge.console.feed import GridFeed, TalkPage
from gateway.edge.console.sight import ADMIN, public_sight
from gateway.edge.desk import Desk
from gateway.edge.grid_view import GridFigures
from gateway.edge.http_app import build_http_app
from gateway.edge.own_turns import own_turn_route
from gateway.edge.realtime.live_session import SessionLimits
from gateway.edge.realtime.site import RealtimeSite
from gateway.edge.realtime.voices import voices_beside
from gateway.edge.realtime.websocket import REALTIME_PATH
from gateway.edge.site_source import SiteIdentity, SiteSource
from gateway.runtime.garbage import settle_garbage
from gateway.runtime.interpreter import share_interpreter
from gateway.runtime.loop_lag import watch_loop_lag
from gateway.runtime.signals import signals
from gateway.runtime.tasks import first_cause
from gateway.session.core_tier import TieredRunner
from gateway.telemetry.decision_log import DecisionLog
from gateway.telemetry.logs import configure_logging
from gateway.telemetry.metrics import SiteFigures
from gateway.telemetry.record_store import RecordStore
from gateway.telemetry.segment_log import LogBounds
from gateway.telemetry.site_telemetry import SiteTelemetry
from gateway.telemetry.voice_metrics import VoiceWorkerFigures

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from gateway.backend import Backend
    from gateway.config.site import SiteConfig
    from gateway.config.telemetry import Telemetry
    from gateway.edge.connection_shares import ConnectionShares
    from gateway.edge.realtime.voices import Lines, Voices
    from gateway.runtime.signals import Signals
    from gateway.session.core_tier import CoreTier
    from gateway.session.surviving import SurvivingSessions

    Announce = Callable[[SiteConfig], None]

_log = logging.getLogger(__name__)

_CUT_OFF_S = 1.0
"""After the drain time, what is left is cut and given this long to unwind."""
_ADMIN_CONNECTIONS = 64


def run_site(config: SiteConfig, announce: Announce) -> None:
    """Serve one site until SIGTERM or SIGINT, then drain it.

    `announce` is called once, when the site takes requests, with the ports that were bound.
    Raises SetupError when the site cannot start.
    """
    configure_logging(config.site.id, config.telemetry.log_format)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, announce))


async def _serve(config: SiteConfig, announce: Announce) -> None:
    with signals() as asked:
        try:
            with first_cause():
                await _live(config, announce, asked)
        except SetupError:
            # A signal to the whole group ends an engine that does not ignore it yet.
            if not asked.end.is_set():
                raise


async def _live(config: SiteConfig, announce: Announce, asked: Signals) -> None:
    async with AsyncExitStack() as stack:
        connections = connection_shares(config.limits.max_connections)
        listeners = _bind(config, stack)
        core = core_tier(config, stack)
        start = upstream_backend if config.upstream.url else engine_backend
        backend = await start(config, core, stack)
        voices = await stack.enter_async_context(voices_beside(config))
        site = _Site(config, backend, core, voices)
        stack.push_async_callback(site.telemetry.close)
        await site.serve(listeners, connections, asked, announce, stack)


def _bind(config: SiteConfig, stack: AsyncExitStack) -> dict[str, socket.socket]:
    """Take the HTTP ports first: a port in use is the commonest reason not to start."""
    listeners = {}
    for name, at in (("http", config.http), ("admin", config.admin)):
        listeners[name] = http_server.bind_listener(at.host, at.port)
        stack.callback(listeners[name].close)
    return listeners


class _Site:
    """A started site, before its ports are open."""

    def __init__(
        self, config: SiteConfig, backend: Backend, core: CoreTier | None, voices: Voices
    ) -> None:
        self._config = config
        self._backend = backend
        self._voices = voices
        self.telemetry = SiteTelemetry(
            site=config.site.id,
            version=__version__,
            figures=self._figures,
            objectives=config.slo.objectives(),
            records_kept=config.telemetry.records_kept,
            store=_record_store(config),
            decisions=_decision_log(config),
            otlp_endpoint=config.telemetry.otlp_endpoint,
            otlp_protocol=config.telemetry.otlp_protocol,
        )
        if backend.grid is not None:
            backend.grid.router.evidence = self.telemetry.decisions
        keys_file = config.auth.keys_file
        self.gatekeeper = KeyGatekeeper(Path(keys_file)) if keys_file else OpenGatekeeper()
        self.desk = Desk(
            runner=backend.runner if core is None else TieredRunner(backend.runner, core),
            gatekeeper=self.gatekeeper,
            sink=self.telemetry.sink,
            defaults=config.budgets.defaults(),
            region=config.site.region,
            alternates=backend.grid.alternates if backend.grid else tuple,
            pseudonym=self.telemetry.pseudonyms.of,
        )
        limits, realtime = config.limits, config.realtime
        self.realtime = RealtimeSite(
            self.desk,
            voices=voices,
            limits=SessionLimits(
                limits.session_idle_limit_s, realtime.session_limit_s, config.voice.grace_s
            ),
            max_sessions=realtime.max_sessions,
            max_starts_per_s=realtime.max_starts_per_s,
            stall_limit_s=limits.stall_limit_s,
            surviving=None if backend.grid is None else backend.grid.sessions,
        )
        self.source = SiteSource(
            SiteIdentity(config.site.id, config.site.region, __version__, time.monotonic()),
            self.desk,
            backend.engine,
            GridFigures if backend.grid is None else backend.grid.figures,
            self.telemetry,
        )
        if backend.grid is not None:
            backend.grid.tell_of(self.source.service)
            backend.grid.keep_parts(self.telemetry.parts)

    async def serve(
        self,
        listeners: dict[str, socket.socket],
        connections: ConnectionShares,
        asked: Signals,
        announce: Announce,
        stack: AsyncExitStack,
    ) -> None:
        """Open the ports, serve until asked to end, drain. `stack` closes what stays open."""
        tls, grid = self._config.tls, self._backend.grid
        talk = TalkPage("https" if tls.enabled else "http", listeners["http"].getsockname()[1])
        feed = GridFeed(self.source, talk=talk)
        tls_files = http_server.TlsFiles(tls.cert, tls.key) if tls.enabled else None
        public = self._public(listeners["http"], connections.http, tls_files, feed)
        admin = self._admin(listeners["admin"], asked, feed)
        agents = await self._agents(connections.grpc, tls_files)
        stack.push_async_callback(agents.stop, grace_s=0.0)
        peer_port = 0
        if grid is not None:
            stack.push_async_callback(grid.server.stop, grace_s=0.0)
            peer_port = await grid.listen(max_connections=connections.grpc)
        async with asyncio.TaskGroup() as serving:
            serving.create_task(public.serve())
            serving.create_task(admin.serve())
            await public.wait_started()
            await admin.wait_started()
            settle_garbage()
            share_interpreter()
            announce(_with_ports(self._config, public.port, agents.port, peer_port, admin.port))
            running = [serving.create_task(one) for one in self._besides(asked, feed)]
            await asked.end.wait()
            await self._drain(public, agents, asked.cut)
            for one in running:
                one.cancel()
            feed.close()
            public.stop()
            admin.stop()

    @property
    def _surviving(self) -> SurvivingSessions | None:
        """The sessions that other sites keep, too."""
        return None if self._backend.grid is None else self._backend.grid.sessions

    def _public(
        self,
        listener: socket.socket,
        max_connections: int,
        tls: http_server.TlsFiles | None,
        feed: GridFeed,
    ) -> http_server.HttpServer:
        limits = self._config.limits
        app = build_http_app(
            self.desk,
            readiness=self._backend.is_available,
            max_body_bytes=limits.max_body_bytes,
            stall_limit_s=limits.stall_limit_s,
            routes=[
                own_turn_route(self.desk, self.telemetry.ring),
                *feed.routes(public_sight(self.gatekeeper)),
                *self.realtime.routes,
            ],
            answers_this_machine_only=not self._config.auth.keys_file,
            surviving=self._surviving,
        )
        return http_server.HttpServer(
            app,
            listener,
            tls=tls,
            drain_timeout_s=_CUT_OFF_S,
            max_connections=max_connections,
            websocket_paths=frozenset({REALTIME_PATH.encode()}),
            max_message_bytes=limits.max_body_bytes,
        )

    def _admin(
        self, listener: socket.socket, asked: Signals, feed: GridFeed
    ) -> http_server.HttpServer:
        app = build_admin_app(
            self.source,
            end=asked.end.set,
            routes=feed.routes(lambda _: ADMIN),
            answers_this_machine_only=is_loopback(self._config.admin.host),
        )
        return http_server.HttpServer(
            app, listener, drain_timeout_s=_CUT_OFF_S, max_connections=_ADMIN_CONNECTIONS
        )

    async def _agents(
        self, max_connections: int, tls: http_server.TlsFiles | None
    ) -> grpc_server.GrpcServer:
        at, limits = self._config.grpc, self._config.limits
        return await grpc_server.start_grpc_server(
            self.desk,
            host=at.host,
            port=at.port,
            tls=tls,
            stall_limit_s=limits.stall_limit_s,
            session_idle_limit_s=limits.session_idle_limit_s,
            max_message_bytes=limits.max_body_bytes,
            max_connections=max_connections,
            surviving=self._surviving,
        )

    def _besides(self, asked: Signals, feed: GridFeed) -> list[Coroutine[object, object, None]]:
        """What goes on beside the ports until the site drains."""
        grid = self._backend.grid
        return [
            self._reload_keys(asked.reload),
            watch_loop_lag(self.telemetry.observe_loop_lag),
            self.realtime.calls.run(),
            feed.recent.keep(),
            *([] if grid is None else [grid.meet(), grid.follow_capacity(), grid.keep_pace()]),
        ]

    async def _drain(
        self,
        public: http_server.HttpServer,
        agents: grpc_server.GrpcServer,
        cut: asyncio.Event,
    ) -> None:
        """Refuse new turns, let the running ones end, then cut what is left."""
        timeout_s = self._config.limits.drain_timeout_s
        if self.desk.num_active:
            words = "draining %d turns; Ctrl-C again to cut them off"
            _log.info(words, self.desk.num_active, extra={"timeout_s": timeout_s})
        grid = self._backend.grid
        self.desk.drain()
        self.realtime.drain()
        public.drain()
        if grid is not None:
            grid.drain()
        await agents.drain()
        async with asyncio.TaskGroup() as waiting:
            idle = waiting.create_task(self.desk.wait_idle())
            hurry = waiting.create_task(cut.wait())
            await asyncio.wait(
                (idle, hurry), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            idle.cancel()
            hurry.cancel()
        if self.desk.num_active:
            _log.warning("cut off", extra={"turns": self.desk.num_active})
            self.desk.cut_off()
        async with asyncio.TaskGroup() as stopping:
            stopping.create_task(agents.stop(grace_s=_CUT_OFF_S))
            if grid is not None:
                stopping.create_task(grid.server.stop(grace_s=_CUT_OFF_S))

    async def _reload_keys(self, asked: asyncio.Event) -> None:
        """Read the keys file again when asked; on an error the keys in force stay."""
        while True:
            await asked.wait()
            asked.clear()
            try:
                self.gatekeeper.reload()
            except ConfigError as error:
                _log.error("keys not reloaded: %s", error)
            else:
                _log.info("keys reloaded")

    def _figures(self) -> SiteFigures:
        engine = self._backend.engine
        lines = None if self._voices.missing else self._voices.lines
        load = engine.load()
        return SiteFigures(
            num_turns_active=self.desk.num_active,
            num_engine_active=load.num_active,
            num_engine_queued=load.num_queued,
            num_engine_restarts=engine.num_restarts(),
            voice_workers={} if lines is None else _voice_figures(lines),
            num_voice_restarts=0 if lines is None else lines.num_restarts,
        )


def _voice_figures(lines: Lines) -> dict[int, VoiceWorkerFigures]:
    return {
        place: msgspec.convert(stats, VoiceWorkerFigures, from_attributes=True)
        for place, stats in lines.stats.items()
    }


def _record_store(config: SiteConfig) -> RecordStore | None:
    told = config.telemetry
    if not told.records_directory:
        return None
    return RecordStore(_records(config), LogBounds(told.records_max_mib << 20, _kept_s(told)))


def _decision_log(config: SiteConfig) -> DecisionLog | None:
    told = config.telemetry
    if not told.records_directory or not told.decisions_ratio:
        return None
    bounds = LogBounds(told.decisions_max_mib << 20, _kept_s(told))
    directory = _records(config) / "decisions"
    return DecisionLog(directory, bounds, kept_ratio=told.decisions_ratio)


def _records(config: SiteConfig) -> Path:
    return Path(config.telemetry.records_directory) / config.site.id


def _kept_s(told: Telemetry) -> float:
    return told.records_days * 86_400.0


def _with_ports(config: SiteConfig, http: int, grpc: int, peer: int, admin: int) -> SiteConfig:
    change = msgspec.structs.replace
    return change(
        config,
        http=change(config.http, port=http),
        grpc=change(config.grpc, port=grpc),
        peer=change(config.peer, port=peer),
        admin=change(config.admin, port=admin),
    )
