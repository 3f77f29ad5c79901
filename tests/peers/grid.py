"""Sites in one process: real routers, links and peer ports over engines that count."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import Budget
from gateway.core.errors import EngineUnavailable
from gateway.core.generation import (
    Backlog,
    EngineLoad,
    FinishReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    TokenFrame,
)
from gateway.core.latency_histogram import LatencyHistogram
from gateway.core.load_report import Credits, SiteState
from gateway.core.route_choice import Here
from gateway.core.service_report import ClassService, ServiceReport, Tally
from gateway.core.stages import StageClock, TurnRecord, TurnTrail
from gateway.edge.peer_grpc import PeerServer
from gateway.edge.peer_link import PeerContract
from gateway.peers.link import PeerSite
from gateway.peers.links import PeerLinks
from gateway.peers.reporter import LoadReporter
from gateway.router.router import Router
from gateway.wire.peer_frames import PROTOCOL, Hello

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from gateway.peers.tls import PeerTls

VOCAB_SIZE = 1000
MODEL = b"\x01" * 8
IDLE = EngineLoad(0.0, 4, 0, 0.001, 0.010, 20.0, 20.0)
BUSY = msgspec.structs.replace(IDLE, backlog=(Backlog(), Backlog(0, 5_000_000), Backlog()))
_CLASS = ClassService(0.99, Tally(9, 1), Tally(58, 2), LatencyHistogram((100, 60)))
SERVICE = ServiceReport((_CLASS, _CLASS, _CLASS), 12.5)
"""What every site here says of how it serves its callers."""
WAIT_S = 60.0
"""How long a test waits for what must happen; only a failing one waits that long."""


def token_at(prompt: tuple[int, ...], index: int) -> int:
    """What every engine here draws: any site must go on where another was."""
    return (sum(prompt) + 37 * index) % VOCAB_SIZE


def answer_to(request: GenerationRequest) -> list[int]:
    """The whole answer, what was delivered before included."""
    return [token_at(request.prompt, index) for index in range(request.max_tokens)]


class CountingEngine:
    """Answers in frames of `frame_tokens`; stands still after `hold_at` tokens until `go`."""

    max_context_tokens = 100_000

    def __init__(self) -> None:
        self.reported = IDLE
        self.frame_tokens = 4
        self.hold_at: int | None = None
        self.fail_at: int | None = None
        self.first_after_s = 0.0
        self.go = asyncio.Event()
        self.holding = asyncio.Event()
        self.requests: list[GenerationRequest] = []
        self.num_tokens = 0
        self.num_running = 0

    def load(self) -> EngineLoad:
        return msgspec.structs.replace(self.reported, as_of_s=time.monotonic())

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.requests.append(request)
        self.num_running += 1
        try:
            at = len(request.resume)
            await asyncio.sleep(self.first_after_s)
            while at < request.max_tokens:
                if self.hold_at is not None and at >= self.hold_at and not self.go.is_set():
                    self.holding.set()
                    await self.go.wait()
                if at == self.fail_at:
                    raise EngineUnavailable("it does not come back")
                until = min(at + self.frame_tokens, request.max_tokens)
                ids = tuple(token_at(request.prompt, index) for index in range(at, until))
                self.num_tokens += len(ids)
                yield TokenFrame(at, ids, queue_s=0.001, prefill_s=0.002)
                at = until
                await asyncio.sleep(0)
            yield GenerationEnd(FinishReason.LENGTH, len(request.prompt), request.max_tokens)
        finally:
            self.num_running -= 1


@dataclass
class Site:
    """One site of a test's grid."""

    name: str
    engine: CountingEngine
    links: PeerLinks
    router: Router
    server: PeerServer
    port: int
    trails: list[TurnTrail] = field(default_factory=list)
    parts: list[TurnRecord] = field(default_factory=list)
    """What it keeps of other sites' turns."""

    async def linked(self, *others: str) -> None:
        """Wait until these, and no others, can be offered turns."""
        await until(lambda: self.healthy_peers() == set(others))

    async def hears_of_room_at(self, other: str) -> None:
        """Wait for a report of that site by which it takes agent turns."""
        view = self.links.known.get(other)
        assert view is not None
        await until(lambda: view.credit_s[1] > 0.0)

    def drain(self) -> None:
        """As when the site is told to end."""
        self.router.here.state = SiteState.DRAINING
        self.server.drain()

    def healthy_peers(self) -> set[str]:
        now_s = time.monotonic()
        return {view.name for view in self.links.known if not view.health(now_s)}

    async def ask(
        self,
        request: GenerationRequest,
        budget_s: float = 5.0,
        regions: tuple[str, ...] | None = None,
    ) -> list[int]:
        """The answer's tokens."""
        ids: list[int] = []
        async with aclosing(self.stream(request, budget_s, regions)) as events:
            async for event in events:
                if isinstance(event, TokenFrame):
                    assert event.first_index == len(request.resume) + len(ids)
                    ids += event.ids
        return ids

    def stream(
        self,
        request: GenerationRequest,
        budget_s: float = 5.0,
        regions: tuple[str, ...] | None = None,
    ) -> AsyncGenerator[GenerationEvent, None]:
        now_s = time.monotonic()
        trail = TurnTrail(request.request_id, StageClock(now_s), allowed_regions=regions)
        self.trails.append(trail)
        request = msgspec.structs.replace(request, first_token_deadline_s=now_s + budget_s)
        return self.router.generate(request, Budget(now_s, budget_s), self.trails[-1])


def request_of(num_tokens: int = 32, prompt: tuple[int, ...] = (1, 2, 3)) -> GenerationRequest:
    return GenerationRequest("r", prompt, num_tokens)


def hello_of(site: str) -> Hello:
    return Hello(PROTOCOL, site, epoch=1, models=(MODEL,), addresses=(f"http://{site}",))


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds, that nobody signals."""
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def grid(
    *names: str, tls: dict[str, PeerTls] | None = None
) -> AsyncIterator[dict[str, Site]]:
    """Sites that are all linked to each other."""
    ports = {name: free_port() for name in names}
    async with AsyncExitStack() as stack:
        sites = {}
        for name in names:
            own = tls[name] if tls else None
            peers = [PeerSite(one, f"127.0.0.1:{ports[one]}") for one in names if one != name]
            links = PeerLinks(
                peers,
                hello_of(name),
                vocab_size=VOCAB_SIZE,
                credentials=own.for_caller() if own else None,
            )
            sites[name] = site = _site(name, links, ports[name])
            await site.server.start("127.0.0.1", site.port, own)
            stack.push_async_callback(site.server.stop, grace_s=0.0)
        for site in sites.values():
            await stack.enter_async_context(site.links)
        for name, site in sites.items():
            await site.linked(*(set(names) - {name}))
        yield sites


def _site(name: str, links: PeerLinks, port: int) -> Site:
    engine = CountingEngine()
    here = Here(name, max_num_queued=8)
    router = Router(here, engine, model=MODEL, peers=links)
    parts: list[TurnRecord] = []
    contract = msgspec.structs.replace(contract_of(here, engine), record=parts.append)
    server = PeerServer(router, contract)
    return Site(name, engine, links, router, server, port, parts=parts)


_epochs = itertools.count(1)


def contract_of(here: Here, engine: CountingEngine) -> PeerContract:
    reporter = LoadReporter(
        engine.load,
        here=here,
        epoch=next(_epochs),
        models=(MODEL,),
        credits=Credits(),
    )
    reporter.service = lambda: SERVICE
    return PeerContract(
        hello_of(here.name),
        vocab_size=VOCAB_SIZE,
        max_context_tokens=engine.max_context_tokens,
        report=reporter.report,
        receive=reporter.receive,
        service=lambda: reporter.service(),
    )
