"""The peer port against callers that break the rules of a link."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
import pytest

from gateway.core.errors import PortInUse, SetupError
from gateway.core.generation import FinishReason
from gateway.core.hops import Admitted, Hops
from gateway.core.route_choice import Here
from gateway.edge import peer_link
from gateway.edge.peer_grpc import PeerServer
from gateway.peers.tls import PeerTls
from gateway.router.router import Router
from gateway.wire.pb import peer_pb2
from gateway.wire.peer_frames import (
    METHOD,
    PROTOCOL,
    WINDOW_TOKENS,
    Accept,
    Beat,
    Cancel,
    Drain,
    End,
    Hello,
    Offer,
    Refuse,
    Report,
    Service,
    Tokens,
    Window,
    encode,
    server_frames,
)
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.certificates import write_certificates
from tests.peers.grid import (
    BUSY,
    MODEL,
    VOCAB_SIZE,
    CountingEngine,
    contract_of,
    grid,
    hello_of,
    request_of,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from gateway.core.budget import Budget
    from gateway.core.generation import GenerationEvent, GenerationRequest
    from gateway.core.stages import TurnTrail
    from gateway.wire.peer_frames import CallerFrame, ServerFrame

pytestmark = pytest.mark.flow

OFFER = Offer(1, request_of(), 5_000.0, Hops(("edge-a",), 1), MODEL, WINDOW_TOKENS)
change = msgspec.structs.replace


class Caller:
    """One call of `Link`, whose frames the test writes itself."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        untyped: Any = channel
        self.call = untyped.stream_stream(METHOD)()
        self._reader = server_frames()
        self._frames: list[ServerFrame] = []
        self.num_reports = 0

    async def say(self, *frames: CallerFrame) -> None:
        await self.call.write(encode(frames))

    async def hear(self) -> ServerFrame:
        """The next frame that is neither hello nor report of any kind."""
        while not self._frames:
            self._frames = self._reader.read(await self.call.read())
        frame = self._frames.pop(0)
        if isinstance(frame, Report):
            self.num_reports += 1
        return await self.hear() if isinstance(frame, Hello | Report | Service) else frame

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """How the site ends the link; the status comes after what was sent before."""
        with suppress(grpc.aio.AioRpcError):
            while isinstance(await self.call.read(), bytes):
                pass
        return await self.call.code(), await self.call.details()


class Served:
    """A site's peer port."""

    def __init__(self) -> None:
        self.engine = CountingEngine()
        here = Here("edge-b", max_num_queued=8)
        self.router = Router(here, self.engine)
        self.server = PeerServer(self.router, contract_of(here, self.engine))

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}")


@asynccontextmanager
async def called() -> AsyncIterator[tuple[Served, Caller]]:
    site = Served()
    await site.server.start("127.0.0.1", 0, None)
    async with site.channel() as channel:
        caller = Caller(channel)
        await caller.say(hello_of("edge-a"))
        yield site, caller
        caller.call.cancel()
    await site.server.stop(grace_s=0.0)


def of(**changes: Any) -> Offer:
    """The offer with parts of its request changed."""
    return change(OFFER, request=change(OFFER.request, **changes))


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ((OFFER, OFFER), "an offer came twice"),
        ((change(OFFER, key=9), change(OFFER, key=8)), "or out of order"),
        ((change(OFFER, hops=Hops((), 1)),), "as if from elsewhere"),
        ((change(OFFER, hops=Hops(("edge-c",), 1)),), "as if from elsewhere"),
        ((change(OFFER, hops=Hops(("edge-a", "edge-a", "edge-a"), 1)),), "cannot be read"),
        ((change(OFFER, hops=Hops(("edge-a",), 99)),), "cannot be read"),
        ((change(OFFER, remaining_ms=-1.0),), "cannot be read"),
        ((change(OFFER, remaining_ms=float("inf")),), "cannot be read"),
        ((change(OFFER, window_tokens=1 << 40),), "cannot be read"),
        ((change(OFFER, traceparent="0" * 65),), "cannot be read"),
        ((of(prompt=()),), "has a prompt"),
        ((of(prompt=(VOCAB_SIZE,)),), "none of the model's"),
        ((of(resume=(-1,)),), "none of the model's"),
        ((of(resume=(1,) * 32),), "lacks at least one token"),
        ((of(request_id="x" * 257),), "request id"),
        ((hello_of("edge-a"),), "hello once"),
        ((OFFER, *[Window(1, 1 << 16)] * 3), "a window is wider"),
    ],
)
def test_a_caller_that_breaks_the_rules_loses_its_link(
    frames: tuple[CallerFrame, ...], complaint: str
) -> None:
    @on_uvloop
    async def scenario() -> None:
        async with called() as (site, caller):
            site.engine.hold_at = 0
            await caller.say(*frames)
            code, details = await caller.refusal()
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert complaint in details
            await until(lambda: site.engine.num_running == site.server.num_turns == 0)

    scenario()


@pytest.mark.parametrize("message", [b"\xff", b"", b"\x0a\x01\xc1"])
def test_garbage_ends_the_link_and_not_the_site(message: bytes) -> None:
    @on_uvloop
    async def scenario() -> None:
        async with called() as (site, caller):
            await caller.call.write(message)
            code, details = await caller.refusal()
            assert (code, "cannot be read" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
            async with site.channel() as channel:
                honest = Caller(channel)
                await honest.say(hello_of("edge-a"), OFFER)
                assert isinstance(await honest.hear(), Accept)
                honest.call.cancel()

    scenario()


@on_uvloop
async def test_unknown_methods_and_deep_nesting_do_no_harm() -> None:
    async with called() as (site, caller):
        await caller.call.write(
            peer_pb2.PeerFrame(frames=b"\x91" * 100_000 + b"\xc0").SerializeToString()
        )
        code, _ = await caller.refusal()
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert site.server.num_turns == 0


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        (change(OFFER, model=b"\x02" * 8), "model_not_served"),
        (change(OFFER, hops=Hops(("edge-b", "edge-a"), 1)), "loop"),
        (of(max_tokens=1_000_000), "context_length_exceeded"),
        (change(OFFER, remaining_ms=0.0), "budget_spent"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_link_lives(offer: Offer, reason: str) -> None:
    @on_uvloop
    async def scenario() -> None:
        async with called() as (site, caller):
            await caller.say(offer)
            refused = await caller.hear()
            assert isinstance(refused, Refuse)
            assert (refused.key, refused.reason) == (1, reason)
            assert site.engine.requests == []
            await caller.say(change(OFFER, key=2), Beat(1))
            assert isinstance(await caller.hear(), Accept | Beat)
            assert caller.num_reports

    scenario()


@on_uvloop
async def test_the_way_allows_no_more_hops_than_its_path() -> None:
    seen: list[Hops] = []

    class Asked:
        async def serve(
            self,
            request: GenerationRequest,
            _: Budget,
            __: TurnTrail,
            hops: Hops,
            *,
            is_last_resort: bool = False,
        ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
            seen.append(hops)
            yield Admitted((request.request_id,))

    server = PeerServer(Asked(), contract_of(Here("edge-b", max_num_queued=8), CountingEngine()))
    await server.start("127.0.0.1", 0, None)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        caller = Caller(channel)
        await caller.say(hello_of("edge-a"), change(OFFER, hops=Hops(("edge-c", "edge-a"), 2)))
        await until(lambda: bool(seen))
        caller.call.cancel()
    await server.stop(grace_s=0.0)
    assert seen == [Hops(("edge-c", "edge-a"), 0)]


@on_uvloop
async def test_tokens_wait_for_room_and_a_cancel_frees_the_slot() -> None:
    async with called() as (site, caller):
        site.engine.frame_tokens = 8
        await caller.say(change(of(max_tokens=64), window_tokens=10))
        assert isinstance(await caller.hear(), Accept)
        frames = [await caller.hear(), await caller.hear()]
        assert [len(frame.frame.ids) for frame in frames if isinstance(frame, Tokens)] == [8, 8]
        await caller.say(Beat(1))
        assert isinstance(await caller.hear(), Beat)  # and no tokens before it
        await caller.say(Window(1, 7))
        assert isinstance(await caller.hear(), Tokens)
        await caller.say(Cancel(1), Cancel(1), Cancel(77))
        await until(lambda: site.engine.num_running == site.server.num_turns == 0)


@on_uvloop
async def test_an_end_has_the_stages_of_the_site() -> None:
    async with called() as (_, caller):
        await caller.say(of(max_tokens=4))
        accepted, tokens, end = [await caller.hear() for _ in range(3)]
    assert isinstance(accepted, Accept)
    assert accepted.path == ("edge-b",)
    assert isinstance(tokens, Tokens)
    assert isinstance(end, End)
    assert end.end.reason is FinishReason.LENGTH
    assert [stages.site for stages in end.stages] == ["edge-b"]
    assert len(msgspec.msgpack.encode(end.stages)) <= 200


@on_uvloop
async def test_a_draining_site_says_so_and_takes_nothing() -> None:
    async with called() as (site, caller):
        await caller.say(Beat(1))
        assert isinstance(await caller.hear(), Beat)
        site.server.drain()
        assert isinstance(await caller.hear(), Drain)
        await caller.say(OFFER)
        refused = await caller.hear()
        assert isinstance(refused, Refuse)
        assert refused.reason == "draining"


@on_uvloop
async def test_a_caller_that_goes_away_leaves_no_work_behind() -> None:
    async with called() as (site, caller):
        site.engine.hold_at = 0
        await caller.say(OFFER)
        await site.engine.holding.wait()
        caller.call.cancel()
        await until(lambda: site.engine.num_running == site.server.num_turns == 0)


@on_uvloop
async def test_a_caller_that_stands_still_loses_its_turns() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer_link, "SILENCE_LIMIT_S", 0.3)
        async with called() as (site, caller):
            site.engine.hold_at = 0
            await caller.say(OFFER)
            await site.engine.holding.wait()
            await until(lambda: site.engine.num_running == site.server.num_turns == 0)
            assert (await caller.refusal())[0] is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("hello", "complaint"),
    [
        (hello_of("edge-b"), "this site itself"),
        (Hello(PROTOCOL + 1, "edge-a", 1, (MODEL,)), "protocol"),
    ],
)
def test_a_caller_that_cannot_be_a_peer_is_turned_away(hello: Hello, complaint: str) -> None:
    @on_uvloop
    async def scenario() -> None:
        site = Served()
        await site.server.start("127.0.0.1", 0, None)
        async with site.channel() as channel:
            caller = Caller(channel)
            await caller.say(hello)
            code, details = await caller.refusal()
        await site.server.stop(grace_s=0.0)
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert complaint in details

    scenario()


@on_uvloop
async def test_a_port_in_use_is_named() -> None:
    async with called() as (site, _):
        with pytest.raises(PortInUse):
            await Served().server.start("127.0.0.1", site.server.port, None)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PeerTls]:
    """Certificates of two sites, by one authority."""
    folder = tmp_path_factory.mktemp("authority")
    write_certificates(folder, "edge-a", "edge-b")
    return {
        site: PeerTls.read(
            *(str(folder / name) for name in (f"{site}.pem", f"{site}.key", "ca.pem"))
        )
        for site in ("edge-a", "edge-b")
    }


@on_uvloop
async def test_sites_prove_who_they_are(certificates: dict[str, PeerTls]) -> None:
    async with grid("edge-a", "edge-b", tls=certificates) as sites:
        sites["edge-a"].engine.reported = BUSY
        assert len(await sites["edge-a"].ask(request_of())) == 32


@on_uvloop
async def test_a_name_must_be_the_certificates(certificates: dict[str, PeerTls]) -> None:
    async with grid("edge-a", "edge-b", tls=certificates) as sites:
        address = f"127.0.0.1:{sites['edge-b'].port}"
        options = [("grpc.ssl_target_name_override", "edge-b")]
        proven = certificates["edge-a"].for_caller()
        async with grpc.aio.secure_channel(address, proven, options) as channel:
            liar = Caller(channel)
            await liar.say(hello_of("edge-c"))
            code, details = await liar.refusal()
            assert (code, details) == (
                grpc.StatusCode.UNAUTHENTICATED,
                "the certificate is not edge-c's",
            )
        async with grpc.aio.insecure_channel(address) as channel:
            code, _ = await Caller(channel).refusal()
            assert code is grpc.StatusCode.UNAVAILABLE
        await sites["edge-a"].linked("edge-b")


@on_uvloop
async def test_a_proven_peer_that_breaks_the_rules_is_kept_out(
    certificates: dict[str, PeerTls],
) -> None:
    site = Served()
    await site.server.start("127.0.0.1", 0, certificates["edge-b"])
    options = [("grpc.ssl_target_name_override", "edge-b")]
    address, proven = f"127.0.0.1:{site.server.port}", certificates["edge-a"].for_caller()
    async with grpc.aio.secure_channel(address, proven, options) as channel:
        first = Caller(channel)
        await first.say(hello_of("edge-a"), hello_of("edge-a"))
        assert (await first.refusal())[0] is grpc.StatusCode.INVALID_ARGUMENT
        second = Caller(channel)
        await second.say(hello_of("edge-a"))
        code, details = await second.refusal()
    await site.server.stop(grace_s=0.0)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "kept out" in details


@on_uvloop
async def test_a_proven_peer_that_links_again_leaves_its_older_link(
    certificates: dict[str, PeerTls],
) -> None:
    site = Served()
    await site.server.start("127.0.0.1", 0, certificates["edge-b"])
    options = [("grpc.ssl_target_name_override", "edge-b")]
    address, proven = f"127.0.0.1:{site.server.port}", certificates["edge-a"].for_caller()
    async with grpc.aio.secure_channel(address, proven, options) as channel:
        older, newer = Caller(channel), Caller(channel)
        await older.say(hello_of("edge-a"), Beat(1))
        assert await older.hear() == Beat(1)
        await newer.say(hello_of("edge-a"))
        assert (await older.refusal())[0] is grpc.StatusCode.OK
        await newer.say(Beat(1))
        assert await newer.hear() == Beat(1)
    await site.server.stop(grace_s=0.0)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="peer port"):
        PeerTls.read(str(tmp_path / "no"), "", "")
