"""What the gateway adds to the time to first token, over calling the engine port directly.

The same prompts go to two engines with the same bundle and settings: one through `EngineClient`
in this process, one through a whole site over HTTP and SSE. Rounds alternate, so that both see the
same noise of the machine. A run in which a request failed, the host had no CPU left or the load
left late says so and does not count.

    python -m loadtests.gateway_overhead [--quick]
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from gateway.config.site import SHIPPED_MODEL, SiteConfig
from gateway.core.budget import TurnClass
from gateway.core.errors import GatewayError
from gateway.core.generation import GenerationRequest, Sampling, TokenFrame
from gateway.core.turn import Message, Role, ToolChoice
from gateway.engine.bundle import load_bundle
from gateway.engine.client import EngineClient
from gateway.engine.frames import Start
from gateway.engine.text_model import TextModel
from loadtests.command_line import parser_for
from loadtests.facts import percentile, save, summary_ms, verdict
from loadtests.host import HostGuard
from loadtests.local_site import running_site
from loadtests.sample import ANSWERED, NO_CONTENT, Fate, Sample
from loadtests.sse_client import SsePool, UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loadtests.local_site import SiteProcess

    Ask = Callable[[str], Awaitable[Fate]]
    """Asks once; whatever goes wrong is the request's fate, not an exception."""

SEED = 2
RATE_PER_S = 80.0
MAX_TOKENS = 8
SAID = (
    "hello",
    "good morning",
    "thank you very much",
    "what can you do for me",
    "are you a real person",
)
"""Small talk: the answer is text, so its first token is the first content on both paths."""


def engine_asker(engine: EngineClient, model: TextModel) -> Ask:
    """Straight to the port, with the prompt rendered beforehand."""
    constraint = model.constraint(model.fixed_tools, ToolChoice(), None)
    prompts = {said: model.render([Message(Role.USER, said)]) for said in SAID}

    async def ask(said: str) -> Fate:
        request = GenerationRequest(
            request_id="overhead",
            prompt=prompts[said],
            max_tokens=MAX_TOKENS,
            sampling=Sampling(temperature=0.0),
            constraint=constraint,
            turn_class=TurnClass.BATCH,
        )
        sent_s = time.monotonic()
        first_s: float | None = None
        try:
            async with aclosing(engine.generate(request)) as events:
                async for event in events:
                    if first_s is None and isinstance(event, TokenFrame):
                        first_s = time.monotonic() - sent_s
        except GatewayError as error:
            return Fate(error.code)
        return Fate(NO_CONTENT) if first_s is None else Fate(ANSWERED, first_s)

    return ask


def http_asker(port: int) -> Ask:
    """Streamed chat completions over kept-alive connections to a site."""
    pool = SsePool("127.0.0.1", port)

    async def ask(said: str) -> Fate:
        body = {
            "messages": [{"role": "user", "content": said}],
            "stream": True,
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
        }
        try:
            answer = await pool.chat(body, {"x-firsthop-class": "batch"})
        except (OSError, EOFError, UnreadableAnswer) as error:
            return Fate(type(error).__name__)
        if answer.status != HTTPStatus.OK:
            return Fate(f"HTTP {answer.status}")
        return Fate(NO_CONTENT) if answer.ttft_s is None else Fate(ANSWERED, answer.ttft_s)

    return ask


async def one_by_one(ask: Ask, count: int, rng: random.Random, into: Sample) -> None:
    """Closed loop at concurrency 1."""
    for _ in range(count):
        into.add(await ask(rng.choice(SAID)))


async def open_loop(ask: Ask, seconds: float, rng: random.Random, into: Sample) -> None:
    """Poisson arrivals at RATE_PER_S, timed from the intended send."""
    start_s = time.monotonic()
    at_s = 0.0

    async def one(due_s: float, said: str) -> None:
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        late_s = time.monotonic() - due_s
        into.add(await ask(said), late_s)

    async with asyncio.TaskGroup() as group:
        while (at_s := at_s + rng.expovariate(RATE_PER_S)) < seconds:
            group.create_task(one(start_s + at_s, rng.choice(SAID)))


async def compare(site: SiteProcess, *, rounds: int, count: int, seconds: float) -> dict[str, Any]:
    """Both paths, alternating."""
    config = SiteConfig()
    bundle = load_bundle(SHIPPED_MODEL)
    model = TextModel.from_bundle(bundle)
    single = {"engine": Sample(), "http": Sample()}
    loaded = {"engine": Sample(), "http": Sample()}
    async with EngineClient(
        Start(bundle_path=str(bundle.root), num_slots=config.model.num_slots)
    ) as engine:
        paths: dict[str, Ask] = {
            "engine": engine_asker(engine, model),
            "http": http_asker(site.port_base),
        }
        for ask in paths.values():
            await one_by_one(ask, 50, random.Random(SEED), Sample())
        for index in range(rounds):
            for name, ask in paths.items():
                rng = random.Random(SEED + index)
                await one_by_one(ask, count, rng, single[name])
        guard = HostGuard(sites={"site": site.metrics})
        async with guard.watching_loop("loop of the client"):
            for index in range(rounds):
                for name, ask in paths.items():
                    rng = random.Random(SEED + index)
                    await open_loop(ask, seconds, rng, loaded[name])
        guard.stop()
    return {
        **verdict([*_faults("concurrency 1", single), *_faults("80/s", loaded), *guard.faults()]),
        "model": f"{bundle.name} {bundle.version} {bundle.artifact('cpu').precision}",
        "max_tokens": MAX_TOKENS,
        "rounds": rounds,
        "concurrency_1_ms": _compared(single, 0.5, target_ms=1.5),
        "at_80_per_s_ms": _compared(loaded, 0.99, target_ms=5.0),
        "host_at_80_per_s": guard.row(),
    }


def _faults(load: str, samples: dict[str, Sample]) -> list[str]:
    return [fault for path, sample in samples.items() for fault in sample.faults(f"{path}, {load}")]


def _compared(samples: dict[str, Sample], quantile: float, target_ms: float) -> dict[str, Any]:
    """Both paths and what one adds; without answers on one of them there is nothing to add."""
    compared: dict[str, Any] = {
        path: {**summary_ms(sample.taken_s, SEED), "statuses": dict(sample.statuses)}
        for path, sample in samples.items()
    }
    engine, http = samples["engine"].taken_s, samples["http"].taken_s
    if engine and http:
        added_ms = (percentile(http, quantile) - percentile(engine, quantile)) * 1e3
        compared[f"overhead_p{quantile * 100:g}"] = round(added_ms, 3)
        compared["met"] = added_ms <= target_ms
    return {**compared, "target": target_ms}


def main() -> None:
    """Run it and save the result."""
    parser = parser_for("gateway_overhead", __doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, not saved")
    quick = parser.parse_args().quick
    with (
        tempfile.TemporaryDirectory() as folder,
        running_site(Path(folder)) as site,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        sizes = (2, 50, 2.0) if quick else (5, 300, 6.0)
        body = runner.run(compare(site, rounds=sizes[0], count=int(sizes[1]), seconds=sizes[2]))
    if quick:
        print(body)
    else:
        save("gateway_overhead", SEED, body)


if __name__ == "__main__":
    main()
