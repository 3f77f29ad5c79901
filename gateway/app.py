"""The composition root: builds a site from its configuration, starts it, drains it.

May import every room; only the command line imports it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import uvloop

from gateway import __version__
from gateway.config.checks import is_loopback
from gateway.core.errors import ConfigError, EngineUnavailable, SetupError
from gateway.core.escalation import EscalationPolicy
from gateway.core.turn import ModelInfo
from gateway.edge import grpc_server, http_server
from gateway.edge.access import KeyGatekeeper, OpenGatekeeper
from gateway.edge.admin import EngineSource, SiteIdentity, build_admin_app
from gateway.edge.desk import Desk
from gateway.edge.grid import Grid
from gateway.edge.grid_view import GridFigures
from gateway.edge.http_app import build_http_app
from gateway.edge.own_turns import own_turn_route
from gateway.engine.bundle import load_bundle
from gateway.engine.client import EngineClient
from gateway.engine.frames import Start
from gateway.engine.step_profiles import PREFIX, load_profile
from gateway.engine.text_model import TextModel
from gateway.engine.upstream.http_post import Origin
from gateway.engine.upstream.server import UpstreamServer
from gateway.engine.upstream.target import UpstreamTarget
from gateway.runtime.descriptors import raise_descriptor_limit
from gateway.runtime.garbage import settle_garbage
from gateway.runtime.loop_lag import watch_loop_lag
from gateway.runtime.signals import signals
from gateway.runtime.tasks import first_cause
from gateway.session.account import AccountStore
from gateway.session.agent import Agent
from gateway.session.care import CARE_TOOLS
from gateway.session.core_tier import CORE_SITE, CoreTier, TieredRunner
from gateway.session.relay import Relay
from gateway.session.server_tools import ServerTools
from gateway.telemetry.logs import configure_logging
from gateway.telemetry.metrics import SiteFigures
from gateway.telemetry.site_telemetry import SiteTelemetry

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gateway.config.site import SiteConfig, UpstreamModel
    from gateway.engine.bundle_facts import Bundle
    from gateway.runtime.signals import Signals
    from gateway.session.port import TurnRunner

    Announce = Callable[[SiteConfig], None]

_log = logging.getLogger(__name__)

_CUT_OFF_S = 1.0
"""After the drain time, what is left is cut and given this long to unwind."""
_ADMIN_CONNECTIONS = 64
_RESERVED_FILES = 256
"""Open files for all but HTTP and gRPC connections: the admin port, the engine and its next start,
the account, what Python loads."""
_DEFAULT_CONNECTIONS = 8192


def run_site(config: SiteConfig, announce: Announce) -> None:
    """Serve one site until SIGTERM or SIGINT, then drain it.

    `announce` is called once, when the site takes requests, with the ports that were bound.
    Raises SetupError when the site cannot start.
    """
    configure_logging(config.telemetry.log_format)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, announce))


async def _serve(config: SiteConfig, announce: Announce) -> None:
    with first_cause(), signals() as asked:
        async with AsyncExitStack() as stack:
            max_connections = _max_connections(config.limits.max_connections)
            listeners = _bind(config, stack)
            core = _core_tier(config, stack)
            start = _upstream_backend if config.upstream.url else _engine_backend
            backend = await start(config, core, stack)
            site = _Site(config, backend, core)
            stack.push_async_callback(site.telemetry.close)
            await site.serve(listeners, max_connections, asked, announce)


def _bind(config: SiteConfig, stack: AsyncExitStack) -> dict[str, socket.socket]:
    """Take the HTTP ports first: a port in use is the commonest reason not to start."""
    listeners = {}
    for name, at in (("http", config.http), ("admin", config.admin)):
        listeners[name] = http_server.bind_listener(at.host, at.port)
        stack.callback(listeners[name].close)
    return listeners


class _Backend(NamedTuple):
    """What answers a site's turns: an engine of its own, or another server."""

    runner: TurnRunner
    engine: EngineSource
    is_available: Callable[[], bool]
    grid: Grid | None = None
    """A server that is not ours has no peers: they hand on token ids."""


class _Site:
    """A started site, before its ports are open."""

    def __init__(self, config: SiteConfig, backend: _Backend, core: CoreTier | None) -> None:
        self._config = config
        self._backend = backend
        self._started_s = time.monotonic()
        self.telemetry = SiteTelemetry(
            site=config.site.id,
            version=__version__,
            figures=self._figures,
            records_kept=config.telemetry.records_kept,
            otlp_endpoint=config.telemetry.otlp_endpoint,
        )
        keys_file = config.auth.keys_file
        self.gatekeeper = KeyGatekeeper(Path(keys_file)) if keys_file else OpenGatekeeper()
        self.desk = Desk(
            runner=backend.runner if core is None else TieredRunner(backend.runner, core),
            gatekeeper=self.gatekeeper,
            sink=self.telemetry.sink,
            defaults=config.budgets.defaults(),
            region=config.site.region,
            alternates=backend.grid.alternates if backend.grid else tuple,
        )

    async def serve(
        self,
        listeners: dict[str, socket.socket],
        max_connections: int,
        asked: Signals,
        announce: Announce,
    ) -> None:
        """Open the ports, serve until asked to end, drain."""
        config, limits, tls = self._config, self._config.limits, self._config.tls
        grid = self._backend.grid
        tls_files = http_server.TlsFiles(tls.cert, tls.key) if tls.enabled else None
        public = http_server.HttpServer(
            build_http_app(
                self.desk,
                readiness=self._backend.is_available,
                max_body_bytes=limits.max_body_bytes,
                stall_limit_s=limits.stall_limit_s,
                routes=[own_turn_route(self.desk, self.telemetry.ring)],
                answers_this_machine_only=not config.auth.keys_file,
            ),
            listeners["http"],
            tls=tls_files,
            drain_timeout_s=_CUT_OFF_S,
            max_connections=max_connections,
        )
        admin = http_server.HttpServer(
            build_admin_app(
                identity=self._identity(),
                desk=self.desk,
                engine=self._backend.engine,
                grid=GridFigures if grid is None else grid.figures,
                telemetry=self.telemetry,
                end=asked.end.set,
                answers_this_machine_only=is_loopback(config.admin.host),
            ),
            listeners["admin"],
            drain_timeout_s=_CUT_OFF_S,
            max_connections=_ADMIN_CONNECTIONS,
        )
        agents = await grpc_server.start_grpc_server(
            self.desk,
            host=config.grpc.host,
            port=config.grpc.port,
            tls=tls_files,
            stall_limit_s=limits.stall_limit_s,
            session_idle_limit_s=limits.session_idle_limit_s,
            max_message_bytes=limits.max_body_bytes,
        )
        peer_port = 0 if grid is None else await grid.listen()
        async with asyncio.TaskGroup() as serving:
            serving.create_task(public.serve())
            serving.create_task(admin.serve())
            await public.wait_started()
            await admin.wait_started()
            settle_garbage()
            announce(_with_ports(config, public.port, agents.port, peer_port, admin.port))
            besides = [
                self._reload_keys(asked.reload),
                watch_loop_lag(self.telemetry.observe_loop_lag),
                *([] if grid is None else [grid.meet()]),
            ]
            running = [serving.create_task(one) for one in besides]
            await asked.end.wait()
            await self._drain(public, agents, asked.cut)
            for one in running:
                one.cancel()
            public.stop()
            admin.stop()

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

    def _identity(self) -> SiteIdentity:
        site = self._config.site
        return SiteIdentity(site.id, site.region, __version__, self._started_s)

    def _figures(self) -> SiteFigures:
        engine = self._backend.engine
        load = engine.load()
        return SiteFigures(
            num_turns_active=self.desk.num_active,
            num_engine_active=load.num_active,
            num_engine_queued=load.num_queued,
            num_engine_restarts=engine.num_restarts(),
        )


def _max_connections(given: int) -> int:
    """The limit of the HTTP listener; 0 takes half of what is free, gRPC has the other half.

    Raises ConfigError when this process may not open as many files.
    """
    num_files = raise_descriptor_limit()
    num_free = max(2, num_files - _RESERVED_FILES)
    if given > num_free:
        raise ConfigError(
            f"limits.max_connections: {given} connections and {_RESERVED_FILES} other files are "
            f"more than the {num_files} this process may open; lower it or raise `ulimit -n`"
        )
    return given or min(_DEFAULT_CONNECTIONS, num_free // 2)


async def _engine_backend(
    config: SiteConfig, core: CoreTier | None, stack: AsyncExitStack
) -> _Backend:
    """Start the engine and, while it loads its model, everything else."""
    bundle = load_bundle(config.model.path)
    engine = EngineClient(_engine_start(config, bundle))
    async with asyncio.TaskGroup() as starting:
        loading = starting.create_task(asyncio.to_thread(TextModel.from_bundle, bundle))
        try:
            await stack.enter_async_context(engine)
        except EngineUnavailable as error:
            raise SetupError(f"the engine does not start: {error}") from error
    model = loading.result()
    info = _model_info(config, bundle, engine.max_context_tokens)
    grid = await Grid.join(config, info, engine, stack)
    engine.on_resume = grid.router.count_resume
    agent = Agent(
        model=model,
        info=info,
        router=grid.router,
        server_tools=await _server_tools(config, model, stack),
        core=core,
    )
    if agent.usual_constraint is not None:
        engine.prepare(agent.usual_constraint)
    source = EngineSource(engine.load, lambda: engine.restarts)
    return _Backend(agent, source, lambda: engine.is_ready, grid)


async def _upstream_backend(
    config: SiteConfig, _: CoreTier | None, stack: AsyncExitStack
) -> _Backend:
    """Another server in the engine's place. It may come and go; the site is there."""
    server = _upstream_server(config.upstream, stack)
    relay = Relay(
        server,
        info=_upstream_info(config.upstream, config.model.aliases),
        site=config.site.id,
        max_num_queued=config.limits.max_queued,
    )
    return _Backend(relay, EngineSource(server.load, lambda: 0), lambda: server.is_available)


def _core_tier(config: SiteConfig, stack: AsyncExitStack) -> CoreTier | None:
    core = config.core
    if not core.url:
        return None
    relay = Relay(
        _upstream_server(core, stack),
        info=_upstream_info(core, ()),
        site=config.site.id,
        tier=CORE_SITE,
        max_num_queued=config.limits.max_queued,
    )
    policy = EscalationPolicy(core.escalate_above_chars, core.escalate_unsupported)
    return CoreTier(relay, policy=policy, first_token_s=core.budget_ms / 1e3, region=core.region)


def _upstream_server(given: UpstreamModel, stack: AsyncExitStack) -> UpstreamServer:
    """Raises ConfigError for an address or a key that cannot be used."""
    try:
        origin = Origin.of(given.url)
    except ValueError as error:
        raise ConfigError(f"{given.url}: {error}") from error
    target = UpstreamTarget(
        origin=origin,
        model=given.model,
        api_key=given.key(),
        max_concurrent=given.max_concurrent,
        silence_limit_s=given.silence_limit_s,
        answer_limit_s=given.answer_limit_s,
        limit_field=given.limit_field,
    )
    server = UpstreamServer(target)
    stack.callback(server.close)
    return server


def _upstream_info(given: UpstreamModel, aliases: tuple[str, ...]) -> ModelInfo:
    """What this site can say of a model that another server runs: its name."""
    return ModelInfo(
        model_id=given.model,
        version="",
        digest="",
        precision="",
        max_context_tokens=0,
        tools="any",
        aliases=aliases,
    )


def _engine_start(config: SiteConfig, bundle: Bundle) -> Start:
    accelerator = config.model.accelerator
    if accelerator.startswith(PREFIX):
        times = load_profile(accelerator.removeprefix(PREFIX))
        basis = "measured" if times.is_measured else "assumed"
        _log.warning("emulating %s (%s): answers are made up", times.name, basis)
    # The router refuses first, with an estimate; the engine's own limit is only the backstop.
    return Start(
        bundle_path=str(bundle.root),
        num_slots=config.model.num_slots,
        max_context_tokens=config.model.max_context_tokens,
        num_threads=config.model.threads,
        spare_cores=config.model.spare_cores,
        cache_bytes=config.model.cache_mib << 20,
        allow_spinning=config.model.spinning,
        max_num_queued=config.limits.max_queued + 1,
        accelerator=accelerator,
    )


async def _server_tools(
    config: SiteConfig, model: TextModel, stack: AsyncExitStack
) -> ServerTools | None:
    """The assistant's own tools, when the model knows the ones the account has."""
    if not CARE_TOOLS.keys() <= {tool.name for tool in model.fixed_tools}:
        return None
    store = AccountStore(Path(config.account.database))
    await store.open()
    stack.push_async_callback(store.close)
    return ServerTools(store, model.fixed_tools)


def _model_info(config: SiteConfig, bundle: Bundle, max_context_tokens: int) -> ModelInfo:
    return ModelInfo(
        model_id=bundle.name,
        version=bundle.version,
        digest=bundle.digest.removeprefix("sha256:"),
        precision=_precision(config, bundle),
        max_context_tokens=max_context_tokens,
        tools=bundle.tools,
        aliases=config.model.aliases,
    )


def _precision(config: SiteConfig, bundle: Bundle) -> str:
    """How the weights are stored, or that there are none."""
    accelerator = config.model.accelerator
    return accelerator if accelerator.startswith(PREFIX) else bundle.artifact("cpu").precision


def _with_ports(config: SiteConfig, http: int, grpc: int, peer: int, admin: int) -> SiteConfig:
    change = msgspec.structs.replace
    return change(
        config,
        http=change(config.http, port=http),
        grpc=change(config.grpc, port=grpc),
        peer=change(config.peer, port=peer),
        admin=change(config.admin, port=admin),
    )
