"""How Converse sessions begin and end, through a real server and the generated client."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from gateway.core.stages import Outcome
from gateway.core.turn import TextDelta
from gateway.wire.pb import agent_pb2 as pb
from tests.edge.grpc_fakes import (
    END,
    HELLO,
    KEY,
    Conversation,
    Flood,
    Hold,
    kinds,
    on_uvloop,
    serve,
    user,
)

pytestmark = pytest.mark.flow

TOOLS = [pb.Tool(name="pay")]


@on_uvloop
async def test_a_half_closed_session_ends_after_its_turn() -> None:
    go_on = asyncio.Event()
    async with serve((TextDelta("one"), go_on, END)) as site:
        session = Conversation(site)
        await session.start()
        await session.say()
        await session.next()
        await session.close()
        go_on.set()
        assert kinds(await session.leg())[-1] == "turn_summary"
        assert (await session.status())[0] is grpc.StatusCode.OK


@on_uvloop
async def test_hanging_up_ends_the_turn() -> None:
    async with serve((TextDelta("one"), Hold())) as site:
        session = Conversation(site)
        await session.start()
        await session.say()
        await session.next()
        session.hang_up()
        assert await site.runner.next_left() is False
        assert (await site.records.next()).outcome is Outcome.ABANDONED
        assert site.gate.num_held == 0


@pytest.mark.parametrize(
    ("start", "param"),
    [
        ({"server_tools": True, "tools": TOOLS}, "tools"),
        ({"latency_budget_ms": 0.0}, "latency_budget_ms"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"history": [user(), pb.Message(role=pb.ROLE_TOOL)]}, "history[1].tool_call_id"),
        ({"tools": [pb.Tool(name="t", parameters_json="[]")]}, "tools[0].parameters_json"),
    ],
)
@on_uvloop
async def test_an_unusable_start_ends_the_call(start: dict[str, Any], param: str) -> None:
    async with serve() as site:
        session = Conversation(site)
        await session.start(**start)
        code, _, trailing = await session.status()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing["firsthop-param"] == param


@on_uvloop
async def test_a_start_for_a_model_that_is_not_here_ends_the_call() -> None:
    async with serve() as site:
        session = Conversation(site)
        await session.start(model="gpt-5")
        code, _, trailing = await session.status()
        assert site.runner.turns == []
    assert code is grpc.StatusCode.NOT_FOUND
    assert trailing["firsthop-code"] == "model_not_found"


@on_uvloop
async def test_a_session_has_exactly_one_start() -> None:
    async with serve() as site:
        early, twice, none = (Conversation(site) for _ in range(3))
        await early.say()
        await twice.start()
        await twice.start()
        await none.close()
        for session in (early, twice, none):
            code, _, trailing = await session.status()
            assert (code, trailing["firsthop-param"]) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "start",
            )


@on_uvloop
async def test_keys_are_asked_for_before_anything_is_read() -> None:
    async with serve() as site:
        site.gate.keys_needed = True
        code, _, trailing = await Conversation(site).status()
        session = Conversation(site, metadata=(("authorization", f"Bearer {KEY}"),))
        await session.start()
        await session.say()
        assert kinds(await session.leg())[-1] == "turn_summary"
        session.hang_up()
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert trailing["firsthop-code"] == "invalid_api_key"


@pytest.mark.parametrize("request_id", ["no spaces", "x" * 120])
@on_uvloop
async def test_a_bad_session_id_is_refused_at_the_start(request_id: str) -> None:
    async with serve() as site:
        session = Conversation(site, metadata=(("x-request-id", request_id),))
        await session.start()
        code, _, trailing = await session.status()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing["firsthop-param"] == "x-request-id"


@on_uvloop
async def test_draining_ends_idle_sessions_and_lets_turns_end() -> None:
    go_on = asyncio.Event()
    async with serve(HELLO, (TextDelta("one"), go_on, END)) as site:
        unopened, idle, busy = (Conversation(site) for _ in range(3))
        for session in (idle, busy):
            await session.start()
        await idle.say()
        await idle.leg()
        await busy.say()
        await busy.next()
        site.desk.drain()
        await site.server.drain()
        for session in (unopened, idle):
            code, _, trailing = await session.status()
            assert (code, trailing["firsthop-code"]) == (
                grpc.StatusCode.UNAVAILABLE,
                "site_draining",
            )
        go_on.set()
        assert kinds(await busy.leg())[-1] == "turn_summary"
        assert (await busy.status())[2]["firsthop-code"] == "site_draining"
        assert (await Conversation(site).status())[2]["firsthop-code"] == "site_draining"


SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))


@on_uvloop
async def test_a_client_that_stops_reading_loses_its_session() -> None:
    async with serve((Flood(),), channel_options=SMALL_WINDOW, stall_limit_s=0.1) as site:
        session = Conversation(site)
        await session.start()
        await session.say()
        await session.next()
        assert await site.runner.next_left() is False
        record = await site.records.next()
        assert record.error == "client_stalled"
        num_yielded = site.runner.num_yielded
        assert num_yielded < 2000
        while await session.read_on():
            pass
        code, _, trailing = await session.status()
        assert site.runner.num_yielded == num_yielded
    assert (code, trailing["firsthop-code"]) == (grpc.StatusCode.ABORTED, "client_stalled")


@on_uvloop
async def test_a_client_that_says_nothing_loses_its_session() -> None:
    go_on = asyncio.Event()
    answer = (TextDelta("one"), go_on, TextDelta("two"), END)
    async with serve(answer, session_idle_limit_s=0.1) as site:
        silent, unopened = Conversation(site), Conversation(site)
        await silent.start()
        await silent.say()
        await silent.next()
        # The other session is over at the limit; an answer that takes longer is no silence.
        assert (await unopened.status())[2]["firsthop-code"] == "client_stalled"
        go_on.set()
        assert kinds(await silent.leg())[-1] == "turn_summary"
        code, _, trailing = await silent.status()
    assert (code, trailing["firsthop-code"]) == (grpc.StatusCode.ABORTED, "client_stalled")


@on_uvloop
async def test_the_deadline_of_the_call_caps_every_turn() -> None:
    async with serve() as site:
        session = Conversation(site, timeout=1.5)
        await session.start()
        for _ in range(2):
            await session.say()
            await session.leg()
        session.hang_up()
    first, second = (turn.budget.first_token_s for turn in site.runner.turns)
    assert first is not None
    assert second is not None
    # The deadline travels as a time left and is read on arrival: it may gain a few milliseconds.
    assert 0.0 < second < first < 2.0
