"""What answers a site's turns: an engine of its own or another server, and perhaps a core tier.

Built from the configuration, and ended by the exit stack that each function is given.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.errors import ConfigError, EngineUnavailable, SetupError
from gateway.core.escalation import EscalationPolicy
from gateway.core.turn import ModelInfo
from gateway.edge.grid import Grid
from gateway.edge.site_source import EngineSource
from gateway.engine.bundle import load_bundle
from gateway.engine.client import EngineClient
from gateway.engine.frames import Start
from gateway.engine.step_profiles import PREFIX, load_profile
from gateway.engine.text_model import TextModel
from gateway.engine.upstream.http_post import Origin
from gateway.engine.upstream.server import UpstreamServer
from gateway.engine.upstream.target import UpstreamTarget
from gateway.session.account import AccountStore
from gateway.session.agent import Agent
from gateway.session.care import CARE_TOOLS
from gateway.session.core_tier import CORE_SITE, CoreTier
from gateway.session.relay import Relay
from gateway.session.server_tools import ServerTools

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from gateway.config.site import SiteConfig, UpstreamModel
    from gateway.engine.bundle_facts import Bundle
    from gateway.engine.frames import Ready
    from gateway.session.port import TurnRunner

_log = logging.getLogger(__name__)


class Backend(NamedTuple):
    """What answers a site's turns: an engine of its own, or another server."""

    runner: TurnRunner
    engine: EngineSource
    is_available: Callable[[], bool]
    grid: Grid | None = None
    """A server that is not ours has no peers: they hand on token ids."""


async def engine_backend(
    config: SiteConfig, core: CoreTier | None, stack: AsyncExitStack
) -> Backend:
    """Start the engine and, while it loads its model, everything else.

    Raises SetupError for a model that is not served.
    """
    bundle = load_bundle(config.model.path)
    engine = EngineClient(_engine_start(config, bundle))
    async with asyncio.TaskGroup() as starting:
        loading = starting.create_task(asyncio.to_thread(TextModel.from_bundle, bundle))
        try:
            await stack.enter_async_context(engine)
        except EngineUnavailable as error:
            raise SetupError(f"the engine does not start: {error}") from error
    model = loading.result()
    if engine.facts.remark:
        _log.info("the model runs on the CPU: %s", engine.facts.remark)
    info = _model_info(config, bundle, engine.facts)
    grid = await Grid.join(config, info, engine, stack)
    engine.on_resume = grid.router.count_resume
    agent = Agent(
        model=model,
        info=info,
        router=grid.router,
        server_tools=await _server_tools(config, model, stack),
        core=core,
        keep_messages=config.routing.keep_messages,
    )
    if agent.usual_constraint is not None:
        engine.prepare(agent.usual_constraint)
    source = EngineSource(
        engine.load,
        lambda: engine.restarts,
        lambda: grid.router.here.capacity_ratio,
        grid.set_capacity,
    )
    return Backend(agent, source, lambda: engine.is_ready, grid)


async def upstream_backend(
    config: SiteConfig, _: CoreTier | None, stack: AsyncExitStack
) -> Backend:
    """Another server in the engine's place. It may come and go; the site is there.

    Raises ConfigError for an address or a key that cannot be used.
    """
    server = _upstream_server(config.upstream, stack)
    relay = Relay(
        server,
        info=_upstream_info(config.upstream, config.model.aliases),
        site=config.site.id,
        max_num_queued=config.limits.max_queued,
    )
    return Backend(relay, EngineSource(server.load, lambda: 0), lambda: server.is_available)


def core_tier(config: SiteConfig, stack: AsyncExitStack) -> CoreTier | None:
    """The server that hard turns are handed to, if one is configured. Raises ConfigError."""
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
        resumes_fast=config.model.resume == "fast",
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
    return ServerTools(store, model.fixed_tools, verifies_callers=config.account.verify_callers)


def _model_info(config: SiteConfig, bundle: Bundle, engine: Ready) -> ModelInfo:
    return ModelInfo(
        model_id=bundle.name,
        version=bundle.version,
        digest=bundle.digest.removeprefix("sha256:"),
        precision=_precision(engine.accelerator, bundle),
        max_context_tokens=engine.max_context_tokens,
        tools=bundle.tools,
        aliases=config.model.aliases,
    )


def _precision(accelerator: str, bundle: Bundle) -> str:
    """How the weights are stored, or that there are none."""
    if accelerator.startswith(PREFIX):
        # Sites may keep the same profile in different files.
        return PREFIX + Path(accelerator.removeprefix(PREFIX)).stem
    return bundle.artifact("cuda" if accelerator == "cuda" else "cpu").precision
