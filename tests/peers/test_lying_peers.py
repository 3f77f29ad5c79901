"""What a site makes of a peer that says what no honest one would, or nothing at all."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
import pytest

from gateway.core.budget import TurnClass
from gateway.core.generation import FinishReason, GenerationEnd, TokenFrame, TokenLogprob
from gateway.core.hops import Admitted, Hops
from gateway.core.load_report import Credits, report_load
from gateway.core.peer_errors import PeerError, PeerLost, PeerRefused
from gateway.core.stages import StageClock, TurnTrail
from gateway.peers import offered_turn
from gateway.peers.link import PeerLink, PeerSite
from gateway.peers.port import HandedTurn
from gateway.wire.peer_frames import (
    METHOD,
    PROTOCOL,
    WINDOW_TOKENS,
    Accept,
    Beat,
    Cancel,
    End,
    Hello,
    Offer,
    Refuse,
    Report,
    Tokens,
    caller_frames,
    encode,
)
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import IDLE, MODEL, VOCAB_SIZE, hello_of, request_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from gateway.core.generation import GenerationEvent
    from gateway.wire.peer_frames import CallerFrame, ServerFrame

pytestmark = pytest.mark.flow


class LyingPeer:
    """Says hello as `hello`, answers beats and then whatever the test puts."""

    def __init__(self, hello: Hello) -> None:
        self._hello = hello
        self.says: asyncio.Queue[bytes] = asyncio.Queue()
        self.heard: asyncio.Queue[CallerFrame] = asyncio.Queue()
        self.is_silent = False
        self.num_links = 0

    async def link(self, _: object, context: Any) -> None:
        self.num_links += 1
        async with asyncio.TaskGroup() as tasks:
            talking = tasks.create_task(self._talk(context))
            reader = caller_frames()
            self.say(self._hello)
            while isinstance(message := await context.read(), bytes):
                for frame in reader.read(message):
                    if not isinstance(frame, Beat):
                        self.heard.put_nowait(frame)
                    elif not self.is_silent:
                        self.say(frame)
            talking.cancel()

    async def _talk(self, context: Any) -> None:
        while True:
            await context.write(await self.says.get())

    def say(self, *frames: ServerFrame) -> None:
        self.says.put_nowait(encode(frames))

    async def offered(self) -> Offer:
        while not isinstance(frame := await self.heard.get(), Offer):
            pass
        return frame


class Bench:
    """A link to a lying peer."""

    def __init__(self, link: PeerLink, peer: LyingPeer) -> None:
        self.link = link
        self.peer = peer
        self.trail = TurnTrail("r", StageClock(time.monotonic()))

    def generate(self, max_tokens: int = 8) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        return self.link.generate(
            HandedTurn(request_of(max_tokens), Hops(("edge-a",), 1), self.trail)
        )

    async def hear(self, *frames: ServerFrame, max_tokens: int = 8) -> list[object]:
        """What a turn yields when the peer answers its offer so; its error last."""
        items: list[object] = []
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(self._answer(frames))
            try:
                async with aclosing(self.generate(max_tokens)) as events:
                    async for event in events:
                        items.append(event)  # noqa: PERF401 - those before an error count too
            except PeerError as error:
                items.append(error)
            await answering
        return items

    async def _answer(self, frames: tuple[ServerFrame, ...]) -> None:
        await self.peer.offered()
        self.peer.say(*frames)

    @property
    def complaint(self) -> str:
        return self.link.figures().last_error


@asynccontextmanager
async def linked(hello: Hello | None = None, *, wait: bool = True) -> AsyncIterator[Bench]:
    peer = LyingPeer(hello or hello_of("edge-b"))
    server = grpc.aio.server()
    service, name = METHOD.strip("/").split("/")
    handler = grpc.stream_stream_rpc_method_handler(peer.link)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {name: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    site = PeerSite("edge-b", f"127.0.0.1:{port}")
    link = PeerLink(site, hello_of("edge-a"), vocab_size=VOCAB_SIZE)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(link.run())
        if wait:
            await until(lambda: link.is_usable)
        yield Bench(link, peer)
        running.cancel()
        await server.stop(0)


END = GenerationEnd(FinishReason.STOP, -5, 10**9, cached_tokens=10**9)


@on_uvloop
async def test_counts_are_our_own() -> None:
    async with linked() as bench:
        items = await bench.hear(
            Accept(1, ("edge-b",)), Tokens(1, TokenFrame(0, (7, 8))), End(1, END)
        )
    assert items[:2] == [Admitted(("edge-b",)), TokenFrame(0, (7, 8))]
    assert items[2] == GenerationEnd(FinishReason.STOP, 3, 2, cached_tokens=3)


ACCEPT = Accept(1, ("edge-b",))
WIDE = TokenFrame(0, tuple(range(WINDOW_TOKENS)))


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ((Tokens(1, TokenFrame(0, (7,))),), "before there was room"),
        ((ACCEPT, Tokens(1, TokenFrame(1, (7,)))), "tokens came from 1, not 0"),
        ((ACCEPT, Tokens(1, TokenFrame(0, (7,))), Tokens(1, TokenFrame(0, (7,)))), "from 0, not 1"),
        ((ACCEPT, Tokens(1, TokenFrame(0, ()))), "tokens came"),
        ((ACCEPT, Tokens(1, TokenFrame(0, (VOCAB_SIZE,)))), "none of the model's"),
        ((ACCEPT, Tokens(1, TokenFrame(0, (-1,)))), "none of the model's"),
        (
            (ACCEPT, Tokens(1, TokenFrame(0, (1, 2), (TokenLogprob(1, -0.5),)))),
            "for every token or for none",
        ),
        (
            (ACCEPT, Tokens(1, TokenFrame(0, (1,), (TokenLogprob(10**6, -0.5),)))),
            "none of the model's",
        ),
        ((ACCEPT, Tokens(1, TokenFrame(0, tuple(range(9))))), "more than the 8 tokens"),
        ((End(1, END),), "not begun"),
        ((ACCEPT, ACCEPT), "accepted once"),
        ((Accept(1, ("edge-c",)),), "says that edge-c took"),
        ((hello_of("edge-b"),), "hello once"),
        ((Beat(99),), "was not sent"),
    ],
)
def test_a_lie_costs_the_peer_its_link(frames: tuple[ServerFrame, ...], complaint: str) -> None:
    @on_uvloop
    async def scenario() -> None:
        async with linked() as bench:
            items = await bench.hear(*frames)
            assert isinstance(items[-1], PeerLost)
            await until(lambda: not bench.link.is_usable)
            assert complaint in bench.complaint
            assert bench.peer.num_links == 1

    scenario()


@on_uvloop
async def test_more_than_there_is_room_for_is_a_lie() -> None:
    async with linked() as bench:
        more = TokenFrame(WINDOW_TOKENS, (1,))
        items = bench.generate(10_000)
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(anext(items))
            await bench.peer.offered()
            bench.peer.say(ACCEPT, Tokens(1, WIDE), Tokens(1, more))
            await first
        await until(lambda: bool(bench.complaint))
        assert "before there was room" in bench.complaint
        await items.aclose()


@pytest.mark.parametrize(
    ("hello", "complaint"),
    [
        (hello_of("edge-c"), "it says it is edge-c"),
        (Hello(9, "edge-b", 1, (MODEL,)), "protocol 9"),
    ],
)
def test_another_site_or_version_is_not_linked_to(hello: Hello, complaint: str) -> None:
    @on_uvloop
    async def scenario() -> None:
        async with linked(hello, wait=False) as bench:
            await until(lambda: bool(bench.complaint))
            assert complaint in bench.complaint
            assert not bench.link.is_usable

    scenario()


@on_uvloop
async def test_garbage_ends_the_link_and_the_peer_is_left_alone() -> None:
    async with linked() as bench:
        bench.peer.says.put_nowait(b"\x0a\x03\xff\xff\xff")
        await until(lambda: not bench.link.is_usable)
        assert "cannot be read" in bench.complaint
        with pytest.raises(PeerLost, match="not linked"):
            await anext(bench.generate())
        await until(lambda: bench.link.figures().retry_in_s is not None)
        assert (bench.link.figures().retry_in_s or 0.0) > 4.0


@on_uvloop
async def test_a_peer_that_falls_silent_is_given_up_with_its_turns() -> None:
    async with linked() as bench:
        bench.peer.is_silent = True
        items = await bench.hear(ACCEPT, Tokens(1, TokenFrame(0, (7,))))
        assert isinstance(items[-1], PeerLost)
        assert "silent" in bench.complaint


@on_uvloop
async def test_a_turn_leaves_a_peer_that_takes_it_and_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(offered_turn._PATIENCE_S, TurnClass.AGENT, 0.5)
    async with linked() as bench:
        items = await bench.hear(ACCEPT, Tokens(1, TokenFrame(0, (7,))))
        assert isinstance(lost := items[-1], PeerLost)
        assert not lost.is_over
        while not isinstance(await bench.peer.heard.get(), Cancel):
            pass
        assert bench.link.is_usable


@on_uvloop
async def test_the_way_there_and_back_is_taken_off_what_is_left() -> None:
    async with linked() as bench:
        connection = bench.link._connection
        assert connection is not None
        connection._round_trips_s.clear()
        connection._round_trips_s.append(0.3)
        due = msgspec.structs.replace(request_of(), first_token_deadline_s=time.monotonic() + 0.5)
        items = bench.link.generate(HandedTurn(due, Hops(("edge-a",), 1), bench.trail))
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(anext(items))
            offer = await bench.peer.offered()
            bench.peer.say(ACCEPT)
            await asking
        assert offer.remaining_ms is not None
        assert offer.remaining_ms <= 200.0
        await items.aclose()


@on_uvloop
async def test_one_that_serves_another_model_gets_no_turns() -> None:
    async with linked(Hello(PROTOCOL, "edge-b", 1, (b"\x02" * 8,)), wait=False) as bench:
        await until(lambda: bench.link.figures().is_linked)
        assert not bench.link.is_usable


@on_uvloop
async def test_a_refusal_has_its_reason_and_the_link_lives() -> None:
    async with linked() as bench:
        items = await bench.hear(Refuse(1, "queue_full", 250.0))
        refused = items[-1]
        assert isinstance(refused, PeerRefused)
        assert (refused.reason, refused.estimate_s) == ("queue_full", 0.25)
        items = await bench.hear(Accept(2, ("edge-b",)), Refuse(2, "draining"))
        assert isinstance(items[-1], PeerRefused)
        assert bench.link.is_usable


@on_uvloop
async def test_a_peer_said_to_be_gone_gets_no_turn_until_it_denies_it() -> None:
    async with linked() as bench:
        bench.peer.is_silent = True
        bench.link.doubt()
        assert not bench.link.is_usable
        report = report_load(IDLE, now_s=0.0, epoch=1, seq=1, max_num_queued=1, credits=Credits())
        bench.peer.say(Report(report))  # a sign of life, and no answer
        await until(lambda: bench.link.figures().report is not None)
        with pytest.raises(PeerLost):
            await anext(bench.generate())
        bench.peer.is_silent = False
        await until(lambda: bench.link.is_usable)
        assert bench.peer.num_links == 1
