"""A scripted turn runner behind a real gRPC server, for tests that are coroutines themselves."""

from __future__ import annotations

import asyncio
import functools
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
import uvloop

from gateway.core.budget import BudgetDefaults, TurnClass
from gateway.core.errors import ClassNotAllowed, Unauthenticated, UnknownModel
from gateway.core.stages import Stage, TurnRecord, TurnTrail
from gateway.core.turn import (
    ModelInfo,
    Principal,
    TextDelta,
    ToolCall,
    Turn,
    TurnEnd,
    TurnEvent,
    TurnFinish,
    Usage,
)
from gateway.edge.desk import Desk
from gateway.edge.grpc_server import GrpcServer, start_grpc_server
from gateway.wire.pb import agent_pb2 as pb
from gateway.wire.pb.agent_pb2_grpc import AgentServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

MODEL = ModelInfo(
    model_id="tiny",
    version="1",
    digest="0123456789abcdef" * 4,
    precision="int8",
    max_context_tokens=512,
    tools="any",
    aliases=("small",),
)
KEY = "fh_test_secret"
OTHER_KEY = "fh_other_secret"
END = TurnEnd(TurnFinish.STOP, Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2))
HELLO: tuple[TurnEvent, ...] = (TextDelta("Hel"), TextDelta("lo "), TextDelta("wörld"), END)
EOF: Final[object] = grpc.aio.EOF  # type: ignore[attr-defined] # not in the stubs
WAIT_S = 30.0
"""How long a test waits for what must happen; only a failing one waits that long."""


def calling(*calls: ToolCall) -> TurnEnd:
    """The end of an answer that leaves these calls to the client."""
    return TurnEnd(TurnFinish.TOOL_CALLS, END.usage, calls)


class Hold:
    """A script's step that never ends by itself."""


class Flood:
    """A script's step that yields text for ever."""


@dataclass(frozen=True)
class Spent:
    """A script's step that counts tokens on the turn's trail."""

    usage: Usage


Step = TurnEvent | Exception | Hold | Flood | Spent | asyncio.Event
"""An event is waited for."""


@dataclass
class ScriptedRunner:
    """Plays the next of `scripts` for every turn, and the last one for all further turns."""

    scripts: list[Sequence[Step]] = field(default_factory=lambda: [HELLO])
    models: tuple[ModelInfo, ...] = (MODEL,)
    turns: list[Turn] = field(default_factory=list)
    num_yielded: int = 0
    started: asyncio.Queue[Turn] = field(default_factory=asyncio.Queue)
    """Every turn whose script began."""
    left: asyncio.Queue[bool] = field(default_factory=asyncio.Queue)
    """For every turn that ended: whether its script was played to the end."""

    async def check(self, turn: Turn) -> None:
        if turn.model not in ("default", "tiny"):
            raise UnknownModel(turn.model, ("tiny",))

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        script = self.scripts[min(len(self.turns), len(self.scripts) - 1)]
        self.turns.append(turn)
        await self.check(turn)
        finished = False
        try:
            trail.site, trail.model = "edge-a", MODEL.full_name
            trail.path.append("edge-a")
            trail.clock.mark(Stage.PREFILL, time.monotonic())
            self.started.put_nowait(turn)
            for step in script:
                if isinstance(step, Hold):
                    await asyncio.Event().wait()
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                elif isinstance(step, Spent):
                    trail.prompt_tokens = step.usage.prompt_tokens
                    trail.completion_tokens = step.usage.completion_tokens
                    trail.cached_tokens = step.usage.cached_tokens
                elif isinstance(step, Flood):
                    while True:
                        self.num_yielded += 1
                        yield TextDelta("x" * 1000)
                        await asyncio.sleep(0)
                else:
                    yield step
            finished = True
        finally:
            self.left.put_nowait(finished)

    async def next_started(self) -> Turn:
        """The turn that began next."""
        return await asyncio.wait_for(self.started.get(), WAIT_S)

    async def next_left(self) -> bool:
        """Whether the turn that ended next was played to its end."""
        return await asyncio.wait_for(self.left.get(), WAIT_S)


class Gate:
    """Lets everyone in, or only `KEY` when `keys_needed`; batch is granted to nobody."""

    def __init__(self) -> None:
        self.keys_needed = False
        self.num_held = 0
        self.charged_tokens: list[int] = []
        self.max_concurrent: int | None = None

    def authenticate(self, authorization: str | None) -> Principal:
        if authorization == f"Bearer {OTHER_KEY}":
            return Principal("other", "other")
        if self.keys_needed and authorization != f"Bearer {KEY}":
            raise Unauthenticated("this site does not know that key")
        return Principal("acme", "test", self.max_concurrent)

    def admit(self, principal: Principal, turn_class: TurnClass) -> Gate:
        if turn_class is TurnClass.BATCH:
            raise ClassNotAllowed("batch", ("agent", "voice"))
        self.num_held += 1
        return self

    def charge_tokens(self, num_tokens: int) -> None:
        self.charged_tokens.append(num_tokens)

    def release(self) -> None:
        self.num_held -= 1


class Records:
    """Keeps the records of closed turns."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[TurnRecord] = asyncio.Queue()

    def record(self, record: TurnRecord) -> None:
        self.queue.put_nowait(record)

    async def next(self) -> TurnRecord:
        return await asyncio.wait_for(self.queue.get(), WAIT_S)


@dataclass
class Site:
    """A desk behind a real gRPC server, and a client of it."""

    runner: ScriptedRunner
    gate: Gate
    records: Records
    desk: Desk
    server: GrpcServer
    channel: grpc.aio.Channel
    stub: AgentServiceStub


@asynccontextmanager
async def serve(
    *scripts: Sequence[Step],
    channel_options: Sequence[tuple[str, int]] = (),
    **options: Any,
) -> AsyncIterator[Site]:
    """A site that plays `scripts` until the block is left."""
    runner = ScriptedRunner(list(scripts)) if scripts else ScriptedRunner()
    gate, records = Gate(), Records()
    desk = Desk(runner=runner, gatekeeper=gate, sink=records, defaults=BudgetDefaults())
    server = await start_grpc_server(desk, host="127.0.0.1", port=0, **options)
    target = f"127.0.0.1:{server.port}"
    try:
        async with grpc.aio.insecure_channel(target, options=list(channel_options)) as channel:
            yield Site(runner, gate, records, desk, server, channel, AgentServiceStub(channel))
    finally:
        await server.stop(grace_s=0.0)


def on_uvloop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine test on the loop that the site runs on."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(30.0):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(limited())

    return run


def user(text: str = "hi") -> pb.Message:
    return pb.Message(role=pb.ROLE_USER, content=text)


def ask(**fields: Any) -> pb.GenerateRequest:
    """A request of one user message."""
    return pb.GenerateRequest(**{"messages": [user()], **fields})


class Conversation:
    """The client's side of one Converse call."""

    def __init__(self, site: Site, **call: Any) -> None:
        self._call = site.stub.Converse(**call)

    async def start(self, **fields: Any) -> None:
        await self._call.write(pb.ConverseRequest(start=pb.SessionStart(**fields)))

    async def say(self, text: str = "hi", **fields: Any) -> None:
        message = pb.UserMessage(text=text, **fields)
        await self._call.write(pb.ConverseRequest(user_message=message))

    async def give_result(self, call_id: str, content: str, **fields: Any) -> None:
        result = pb.ToolResult(call_id=call_id, content_json=content, **fields)
        await self._call.write(pb.ConverseRequest(tool_result=result))

    async def cancel(self, turn_id: str = "") -> None:
        await self._call.write(pb.ConverseRequest(cancel=pb.CancelTurn(turn_id=turn_id)))

    async def close(self) -> None:
        """Nothing more will be sent."""
        await self._call.done_writing()

    def hang_up(self) -> None:
        self._call.cancel()

    async def next(self) -> pb.ConverseEvent:
        event = await asyncio.wait_for(self._call.read(), WAIT_S)
        assert isinstance(event, pb.ConverseEvent), "the session ended"
        return event

    async def read_on(self) -> bool:
        """Whether there was another event; False at the end or failure of the call."""
        try:
            event = await asyncio.wait_for(self._call.read(), WAIT_S)
        except grpc.aio.AioRpcError:
            return False
        return isinstance(event, pb.ConverseEvent)

    async def leg(self) -> list[pb.ConverseEvent]:
        """Events up to and including the next summary or error."""
        events = [await self.next()]
        while events[-1].WhichOneof("event") not in ("turn_summary", "turn_error"):
            events.append(await self.next())
        return events

    async def status(self) -> tuple[grpc.StatusCode, str, dict[str, str]]:
        """How the call ended: code, details and trailing metadata."""
        code = await asyncio.wait_for(self._call.code(), WAIT_S)
        trailing = _texts(await self._call.trailing_metadata())
        return code, await self._call.details(), trailing

    async def head(self) -> dict[str, str]:
        """The initial metadata."""
        return _texts(await self._call.initial_metadata())


def kinds(events: Sequence[pb.ConverseEvent | pb.GenerateEvent]) -> list[str | None]:
    """Which events these are."""
    return [event.WhichOneof("event") for event in events]


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Code, details and trailing metadata of a call that must fail."""
    try:
        while await asyncio.wait_for(call.read(), WAIT_S) is not EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or "", _texts(error.trailing_metadata())
    raise AssertionError("the call succeeded")


def _texts(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata if isinstance(value, str)}
