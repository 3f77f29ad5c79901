"""The turns of a session on a line that the test holds and releases between two writes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gateway.core.budget import BudgetDefaults
from gateway.core.dialogue import Dialogue
from gateway.core.errors import EngineFault
from gateway.core.turn import ServerToolRun, TextDelta, ToolCall, ToolCallDelta
from gateway.edge.converse_turns import ConverseTurns
from gateway.edge.desk import Desk
from gateway.wire import agent_convert as convert
from gateway.wire.pb import agent_pb2 as pb
from tests.edge.grpc_fakes import (
    END,
    HELLO,
    Gate,
    Records,
    ScriptedRunner,
    calling,
    on_uvloop,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from gateway.core.stages import TurnTrail
    from tests.edge.grpc_fakes import Step

PAY = ToolCall("c1", "pay", "{}")


class Line:
    """The gateway's end of a call. Events arrive one by one, each when the test asks for it."""

    authorization = None
    residency = None
    user = None
    traceparent = ""

    def __init__(self) -> None:
        self.writing = asyncio.Event()
        self._turn = asyncio.Lock()
        self._arrived: asyncio.Queue[pb.ConverseEvent] = asyncio.Queue()
        self._through = asyncio.Semaphore(0)

    def deadline_s(self, now_s: float) -> float | None:
        return None

    async def write(
        self,
        event: pb.ConverseEvent,
        *,
        request_id: str,
        trail: TurnTrail | None,
        on_way: Callable[[], None] | None = None,
    ) -> None:
        async with self._turn:
            if on_way is not None:
                on_way()
            self.writing.set()
            await self._through.acquire()
            self.writing.clear()
            if on_way is not None:
                on_way()
            self._arrived.put_nowait(event)

    async def next(self) -> pb.ConverseEvent:
        """Let one write through."""
        self._through.release()
        return await self._arrived.get()

    async def leg(self) -> pb.ConverseEvent:
        """Let writes through up to the next summary or error, which is returned."""
        while (event := await self.next()).WhichOneof("event") not in (
            "turn_summary",
            "turn_error",
        ):
            pass
        return event


class Held:
    """A session whose client has said "one" and reads when the test says so."""

    def __init__(self, scripts: Sequence[Sequence[Step]], legs: asyncio.TaskGroup) -> None:
        self.runner = ScriptedRunner(list(scripts))
        self.records = Records()
        self.line = Line()
        desk = Desk(
            runner=self.runner, gatekeeper=Gate(), sink=self.records, defaults=BudgetDefaults()
        )
        self._legs = legs
        self._turns = ConverseTurns(
            desk=desk,
            call=self.line,  # type: ignore[arg-type] # what is used of a call
            session_id="s",
            terms=convert.terms_of(pb.SessionStart()),
            dialogue=Dialogue(),
            legs=legs,
            on_leg_end=lambda: None,
        )

    async def say(self, text: str) -> None:
        message = pb.UserMessage(text=text)
        await self._turns.take(pb.ConverseRequest(user_message=message))

    async def cancel(self) -> None:
        await self._turns.take(pb.ConverseRequest(cancel=pb.CancelTurn()))

    async def start(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send it; what becomes of it is decided or waited for when this returns."""
        self._legs.create_task(sending)
        await asyncio.sleep(0)


@asynccontextmanager
async def held(*scripts: Sequence[Step]) -> AsyncIterator[Held]:
    async with asyncio.TaskGroup() as legs:
        session = Held(scripts, legs)
        await session.say("one")
        yield session


def asked(session: Held, turn: int) -> list[str]:
    return [message.content for message in session.runner.turns[turn].messages]


@on_uvloop
async def test_cancel_makes_room_while_a_write_is_in_flight() -> None:
    async with held((TextDelta("Once upon"), TextDelta(" a time"), END), HELLO) as session:
        await session.line.writing.wait()
        await session.cancel()
        await session.start(session.say("two"))
        cancelled = await session.line.leg()
        answered = await session.line.leg()
    assert cancelled.turn_summary.finish == pb.FINISH_REASON_CANCELLED
    assert (answered.turn_id, answered.turn_summary.finish) == ("turn-2", pb.FINISH_REASON_STOP)
    assert asked(session, 1) == ["one", "Once upon", "two"]


@on_uvloop
async def test_cancel_makes_room_while_the_calls_are_told() -> None:
    calls = (ToolCallDelta(0, "{}", "c1", "pay"), calling(PAY))
    async with held(calls, HELLO) as session:
        await session.line.writing.wait()
        await session.start(session.cancel())
        assert (await session.line.leg()).turn_summary.finish == pb.FINISH_REASON_TOOL_CALLS
        assert (await session.line.leg()).turn_summary.finish == pb.FINISH_REASON_CANCELLED
        await session.start(session.say("two"))
        assert (await session.line.leg()).turn_summary.finish == pb.FINISH_REASON_STOP
    assert asked(session, 1) == ["one", "", '{"error":"cancelled_by_caller"}', "two"]


@on_uvloop
async def test_a_cancellation_that_comes_with_the_last_event_gives_up_its_calls() -> None:
    go_on = asyncio.Event()
    async with held((ToolCallDelta(0, "{}", "c1", "pay"), go_on, calling(PAY)), HELLO) as session:
        await session.runner.next_started()
        go_on.set()
        await session.cancel()
        await session.start(session.say("two"))
        assert (await session.line.leg()).turn_summary.finish == pb.FINISH_REASON_CANCELLED
        assert (await session.line.leg()).turn_summary.finish == pb.FINISH_REASON_STOP
    assert asked(session, 1) == ["one", "two"]


@on_uvloop
async def test_what_a_server_tool_did_is_told_though_the_cancellation_came_with_it() -> None:
    go_on = asyncio.Event()
    run = ServerToolRun(PAY, '{"paid":40}')
    async with held((go_on, run, TextDelta("Paid."), END), HELLO) as session:
        await session.runner.next_started()
        go_on.set()
        await session.cancel()
        told = await session.line.next()
        assert (await session.line.leg()).turn_summary.finish == pb.FINISH_REASON_CANCELLED
        await session.start(session.say("two"))
        await session.line.leg()
    assert told.tool_run.result_json == '{"paid":40}'
    assert asked(session, 1) == ["one", "", '{"paid":40}', "two"]


@on_uvloop
async def test_a_turn_that_fails_as_it_is_cancelled_makes_room_too() -> None:
    go_on = asyncio.Event()
    async with held((go_on, EngineFault("broke")), HELLO) as session:
        await session.runner.next_started()
        go_on.set()
        await session.cancel()
        await session.start(session.say("two"))
        assert (await session.line.leg()).turn_error.code == EngineFault.code
        assert (await session.line.leg()).turn_summary.finish == pb.FINISH_REASON_STOP
    assert asked(session, 1) == ["one", "two"]
