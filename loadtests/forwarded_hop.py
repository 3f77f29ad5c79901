"""What handing a turn to a peer costs, against a bare gRPC stream that does nothing else.

Three arms take turns in one process: `local`, the router over an engine that produces tokens on a
fixed beat; `forwarded`, the same router and engine in another process behind a peer link; `bare`,
the same engine in that process behind one grpc.aio stream that multiplexes turns as MessagePack,
with nothing around it. What the forwarded and the bare arm need beyond the local one is the cost
of the hop.

    python -m loadtests.forwarded_hop
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import subprocess
import sys
import time
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
import uvloop

from gateway.core.budget import Budget
from gateway.core.generation import (
    EngineLoad,
    FinishReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    TokenFrame,
)
from gateway.core.load_report import Credits, SiteState
from gateway.core.route_choice import Here
from gateway.core.stages import StageClock, TurnTrail
from gateway.edge.peer_grpc import PeerServer
from gateway.edge.peer_link import PeerContract
from gateway.peers.link import PeerSite
from gateway.peers.links import PeerLinks
from gateway.peers.reporter import LoadReporter
from gateway.router.router import Router
from gateway.runtime.garbage import settle_garbage
from gateway.runtime.inbox import Inbox
from gateway.runtime.outbox import Outbox
from gateway.wire.peer_frames import PROTOCOL, Hello
from loadtests.command_line import parser_for
from loadtests.facts import percentile, save, summary_ms

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

ANSWER_TOKENS = 32
STEP_S = 0.005
NUM_CONCURRENT = 4
NUM_ROUNDS = 300
ARMS = ("local", "forwarded", "bare")
TARGETS = {"hop_ratio": 1.5, "added_p50_ms": 1.0, "lost_tokens_per_s_ratio": 0.05}

_BARE = "/firsthop.bench/Bare"
_VOCAB_SIZE = 32_000
_PROMPT = tuple(range(200))
_MODEL = b"\x01" * 8


class BeatEngine:
    """A token every `STEP_S`, the first after one step; any number of turns at once."""

    max_context_tokens = 8192

    def load(self) -> EngineLoad:
        """Idle, always."""
        return EngineLoad(time.monotonic(), 1024, 0, 1e-6, STEP_S, 32.0, 32.0)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """See `TextEngine`."""
        due_s = time.monotonic()
        for index in range(request.max_tokens):
            due_s += STEP_S
            await asyncio.sleep(due_s - time.monotonic())
            yield TokenFrame(index, (index,))
        yield GenerationEnd(FinishReason.LENGTH, len(request.prompt), request.max_tokens)


def _hello(site: str) -> Hello:
    return Hello(PROTOCOL, site, epoch=1, models=(_MODEL,))


async def serve() -> None:
    """The other process: a peer port and a bare stream over the same engine, until stdin ends."""
    engine = BeatEngine()
    here = Here("edge-b", max_num_queued=64)
    reporter = LoadReporter(engine.load, here=here, epoch=1, models=(_MODEL,), credits=Credits())
    contract = PeerContract(
        _hello("edge-b"),
        vocab_size=_VOCAB_SIZE,
        max_context_tokens=engine.max_context_tokens,
        report=reporter.report,
        receive=reporter.receive,
    )
    router = Router(here, engine)
    peers = PeerServer(router, contract)
    await peers.start("127.0.0.1", 0, None)
    bare = grpc.aio.server()
    service, name = _BARE.strip("/").split("/")
    handler = grpc.stream_stream_rpc_method_handler(partial(_serve_bare, engine))
    bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    bare_port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    settle_garbage()
    print(peers.port, bare_port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await peers.stop(grace_s=0.0)
    await bare.stop(0)


async def _serve_bare(engine: BeatEngine, _: object, context: Any) -> None:
    outbox: Outbox[tuple[int, GenerationEvent]] = Outbox(max_num_items=1 << 20)

    async def turn(key: int, request: GenerationRequest) -> None:
        async for event in engine.generate(request):
            outbox.put((key, event))

    async def write() -> None:
        while True:
            await context.write(msgspec.msgpack.encode(await outbox.take()))

    decoder = msgspec.msgpack.Decoder(tuple[int, GenerationRequest])
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write())
        while isinstance(message := await context.read(), bytes):
            tasks.create_task(turn(*decoder.decode(message)))
        writing.cancel()


class BareClient:
    """The calling side of the bare stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        untyped: Any = channel
        self._call = untyped.stream_stream(_BARE)()
        self._writing = asyncio.Lock()
        self._keys = itertools.count()
        self._turns: dict[int, Inbox[GenerationEvent]] = {}

    async def read(self) -> None:
        """Hand events to their turns, until cancelled."""
        decoder = msgspec.msgpack.Decoder(list[tuple[int, GenerationEvent]])
        while isinstance(message := await self._call.read(), bytes):
            for key, event in decoder.decode(message):
                self._turns[key].put(event)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """One turn on the stream."""
        key = next(self._keys)
        inbox = self._turns[key] = Inbox()
        async with self._writing:
            await self._call.write(msgspec.msgpack.encode((key, request)))
        while not isinstance(event := await inbox.next(), GenerationEnd):
            yield event
        yield event
        del self._turns[key]


class Samples:
    """Of one arm: seconds to the first token, tokens per second of each whole answer."""

    def __init__(self) -> None:
        self.first_s: list[float] = []
        self.tokens_per_s: list[float] = []

    async def add(self, events: AsyncGenerator[GenerationEvent, None]) -> None:
        """Read one answer."""
        began_s, num_tokens = time.monotonic(), 0
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TokenFrame):
                    if not num_tokens:
                        self.first_s.append(time.monotonic() - began_s)
                    num_tokens += len(event.ids)
        if num_tokens != ANSWER_TOKENS:
            raise SystemExit(f"an answer has {num_tokens} tokens, not {ANSWER_TOKENS}")
        self.tokens_per_s.append(num_tokens / (time.monotonic() - began_s))


async def measure(peer_port: int, bare_port: int, num_rounds: int) -> dict[str, Samples]:
    """All arms in turn, `num_rounds` times."""
    engine = BeatEngine()
    links = PeerLinks(
        [PeerSite("edge-b", f"127.0.0.1:{peer_port}")], _hello("edge-a"), vocab_size=_VOCAB_SIZE
    )

    def routed(site: str) -> Callable[[], AsyncGenerator[GenerationEvent, None]]:
        here = Here("edge-a", max_num_queued=64)
        if site != here.name:
            here.state = SiteState.DRAINING  # begins nothing itself
        router = Router(here, engine, model=_MODEL, peers=links)

        def ask() -> AsyncGenerator[GenerationEvent, None]:
            now_s = time.monotonic()
            return router.generate(
                _request(), Budget(now_s, 5.0), TurnTrail("r", StageClock(now_s))
            )

        return ask

    samples = {arm: Samples() for arm in ARMS}
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{bare_port}") as channel,
        links,
        asyncio.TaskGroup() as tasks,
    ):
        client = BareClient(channel)
        reading = tasks.create_task(client.read())
        while all(view.health(time.monotonic()) for view in links.known):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        arms: dict[str, Callable[[], AsyncGenerator[GenerationEvent, None]]] = {
            "local": routed("edge-a"),
            "forwarded": routed("edge-b"),
            "bare": lambda: client.generate(_request()),
        }
        settle_garbage()
        for number in range(-num_rounds // 10, num_rounds):
            for arm in _order(number):
                kept = samples[arm] if number >= 0 else Samples()
                async with asyncio.TaskGroup() as turns:
                    for _ in range(NUM_CONCURRENT):
                        turns.create_task(kept.add(arms[arm]()))
        reading.cancel()
    return samples


def _order(number: int) -> Iterator[str]:
    """Each arm once, none always after the same one."""
    orders = tuple(itertools.permutations(ARMS))
    return iter(orders[number % len(orders)])


def _request() -> GenerationRequest:
    return GenerationRequest("r", _PROMPT, ANSWER_TOKENS)


def result_of(samples: dict[str, Samples]) -> dict[str, Any]:
    """The result, with what it is held to."""
    first_s = {arm: percentile(kept.first_s, 0.5) for arm, kept in samples.items()}
    rates = {arm: percentile(kept.tokens_per_s, 0.5) for arm, kept in samples.items()}
    reached = {
        "hop_ratio": (first_s["forwarded"] - first_s["local"])
        / (first_s["bare"] - first_s["local"]),
        "added_p50_ms": (first_s["forwarded"] - first_s["local"]) * 1e3,
        "lost_tokens_per_s_ratio": 1.0 - rates["forwarded"] / rates["local"],
    }
    return {
        "answer_tokens": ANSWER_TOKENS,
        "step_ms": STEP_S * 1e3,
        "concurrent": NUM_CONCURRENT,
        "ttft_ms": {arm: summary_ms(kept.first_s, seed=1) for arm, kept in samples.items()},
        "tokens_per_s_p50": {arm: round(rate, 2) for arm, rate in rates.items()},
        "reached": {
            name: {"value": round(value, 4), "target": TARGETS[name], "met": value <= TARGETS[name]}
            for name, value in reached.items()
        },
    }


def main() -> None:
    """Run it and save the result."""
    parser = parser_for("forwarded_hop", __doc__)
    parser.add_argument("--rounds", type=int, default=NUM_ROUNDS, help="of each arm")
    parser.add_argument("--dry", action="store_true", help="print the result, do not save it")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if arguments.serve:
            runner.run(serve())
            return
        command = [sys.executable, "-m", "loadtests.forwarded_hop", "--serve"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            if other.stdout is None or other.stdin is None:
                raise SystemExit("the other process has no pipes")
            peer_port, bare_port = map(int, other.stdout.readline().split())
            samples = runner.run(measure(peer_port, bare_port, arguments.rounds))
            other.stdin.close()
    result = result_of(samples)
    if arguments.dry:
        print(msgspec.json.format(msgspec.json.encode(result)).decode())
    else:
        save("forwarded_hop", None, result)


if __name__ == "__main__":
    main()
