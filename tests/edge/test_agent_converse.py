"""The turns of Converse sessions, through a real server and the generated client."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from gateway.core.errors import EngineFault, SloUnattainable
from gateway.core.stages import Outcome
from gateway.core.turn import (
    Message,
    Role,
    ServerToolRun,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    TurnEnd,
    TurnFinish,
    Usage,
)
from gateway.wire.pb import agent_pb2 as pb
from tests.edge.grpc_fakes import (
    END,
    HELLO,
    MODEL,
    Conversation,
    Flood,
    Hold,
    Site,
    Spent,
    calling,
    kinds,
    on_uvloop,
    serve,
)

pytestmark = pytest.mark.flow

PAY_CALL = ToolCall("c1", "pay", '{"amount":40}')
PAY = (
    TextDelta("One moment. "),
    ToolCallDelta(0, "", "c1", "pay"),
    ToolCallDelta(0, '{"amount":'),
    ToolCallDelta(0, "40}"),
    calling(PAY_CALL),
)
TWO_CALLS = (
    ToolCallDelta(0, "{}", "c1", "get_bill"),
    ToolCallDelta(1, "{}", "c2", "get_usage"),
    calling(ToolCall("c1", "get_bill", "{}"), ToolCall("c2", "get_usage", "{}")),
)
TOOLS = [pb.Tool(name=name) for name in ("pay", "get_bill", "get_usage")]
SHED = SloUnattainable(estimate_s=0.9, budget_s=0.5, reason="queue", retry_after_s=1.5)


def texts(events: list[pb.ConverseEvent]) -> str:
    return "".join(event.text_delta.text for event in events)


def asked(site: Site, turn: int) -> list[tuple[str, str]]:
    """What a turn was asked: role and content of its messages."""
    return [(message.role.value, message.content) for message in site.runner.turns[turn].messages]


@on_uvloop
async def test_a_session_keeps_the_conversation() -> None:
    async with serve() as site:
        session = Conversation(site, metadata=(("x-request-id", "call-1"),))
        await session.start(history=[pb.Message(role=pb.ROLE_SYSTEM, content="Be brief.")])
        await session.say("hi", turn_id="t1")
        first = await session.leg()
        await session.say("again")
        second = await session.leg()
        await session.close()
        assert (await session.status())[0] is grpc.StatusCode.OK
        head = await session.head()
        records = [await site.records.next() for _ in range(2)]
    assert kinds(first) == ["text_delta"] * 3 + ["usage", "turn_summary"]
    assert {event.turn_id for event in first} == {"t1"}
    assert {event.turn_id for event in second} == {"turn-2"}
    assert texts(first) == "Hello wörld"
    assert first[-2].usage == first[-1].turn_summary.usage
    assert first[-2].usage.prompt_tokens == 7
    assert asked(site, 1) == [
        ("system", "Be brief."),
        ("user", "hi"),
        ("assistant", "Hello wörld"),
        ("user", "again"),
    ]
    assert (head["x-request-id"], head["x-firsthop-site"]) == ("call-1", "edge-a")
    assert head["x-firsthop-model"] == MODEL.full_name
    summaries = [leg[-1].turn_summary.request_id for leg in (first, second)]
    assert summaries == [record.request_id for record in records]
    assert len({*summaries, "call-1"}) == 3
    assert all(name.startswith("call-1.") for name in summaries)
    assert [record.outcome for record in records] == [Outcome.ANSWERED] * 2


@on_uvloop
async def test_client_tools_continue_the_turn_with_a_new_budget() -> None:
    async with serve(PAY, HELLO) as site:
        session = Conversation(site)
        await session.start(tools=TOOLS, latency_budget_ms=700)
        await session.say("pay 40", turn_id="t1", latency_budget_ms=600)
        calls = await session.leg()
        await session.give_result("c1", '{"paid": 40}')
        answer = await session.leg()
        session.hang_up()
        first, second = site.runner.turns
    assert kinds(calls) == ["text_delta", "tool_call", "usage", "turn_summary"]
    call = calls[1].tool_call
    assert (call.call_id, call.name, call.arguments_json) == ("c1", "pay", '{"amount":40}')
    assert calls[-1].turn_summary.finish == pb.FINISH_REASON_TOOL_CALLS
    assert answer[-1].turn_summary.finish == pb.FINISH_REASON_STOP
    assert {event.turn_id for event in calls + answer} == {"t1"}
    assert second.messages[-2:] == (
        Message(Role.ASSISTANT, "One moment. ", (PAY_CALL,)),
        Message(Role.TOOL, '{"paid": 40}', tool_call_id="c1"),
    )
    assert first.budget.first_token_s == pytest.approx(0.6)
    assert second.budget.first_token_s == pytest.approx(0.7)
    assert second.budget.started_s > first.budget.started_s
    assert answer[-1].turn_summary.budget_ms == pytest.approx(700.0)


@on_uvloop
async def test_a_turn_goes_on_when_all_results_are_in() -> None:
    async with serve(TWO_CALLS, HELLO) as site:
        session = Conversation(site)
        await session.start(tools=TOOLS)
        await session.say()
        await session.leg()
        await session.give_result("c2", "2")
        await session.say("hello?")
        (refused,) = await session.leg()
        assert len(site.runner.turns) == 1
        await session.give_result("c1", "1")
        await session.leg()
        session.hang_up()
    assert refused.turn_error.code == "invalid_request"
    assert "c1" in refused.turn_error.message
    results = [(m.tool_call_id, m.content) for m in site.runner.turns[1].messages[-2:]]
    assert results == [("c1", "1"), ("c2", "2")]


@on_uvloop
async def test_results_sent_ahead_of_the_summary_are_taken() -> None:
    async with serve(PAY, HELLO) as site:
        session = Conversation(site)
        await session.start(tools=TOOLS)
        await session.say()
        while (await session.next()).WhichOneof("event") != "tool_call":
            pass
        await session.give_result("c1", "{}")
        assert kinds(await session.leg()) == ["usage", "turn_summary"]
        assert kinds(await session.leg())[-1] == "turn_summary"
        session.hang_up()


@pytest.mark.parametrize(
    ("end", "finish", "told"),
    [
        (TurnEnd(TurnFinish.LENGTH, Usage()), pb.FINISH_REASON_LENGTH, []),
        (calling(PAY_CALL), pb.FINISH_REASON_TOOL_CALLS, ["c1"]),
    ],
)
@on_uvloop
async def test_a_call_that_was_cut_off_is_not_waited_for(
    end: TurnEnd, finish: pb.FinishReason, told: list[str]
) -> None:
    half = (ToolCallDelta(len(told), "", "c9", "pay"), ToolCallDelta(len(told), '{"amo'))
    async with serve((TextDelta("One moment. "), *half, end), HELLO) as site:
        session = Conversation(site)
        await session.start(tools=TOOLS)
        await session.say("pay 40")
        ended = await session.leg()
        for call_id in told:
            await session.give_result(call_id, "{}")
        if not told:
            await session.say("hi")
        assert texts(await session.leg()) == "Hello wörld"
        session.hang_up()
    assert ended[-1].turn_summary.finish == finish
    calls = [event.tool_call.call_id for event in ended if event.HasField("tool_call")]
    assert calls == told


@on_uvloop
async def test_server_tools_stay_in_the_conversation() -> None:
    run = ServerToolRun(ToolCall("s1", "get_bill", "{}"), '{"open":64}')
    script = (TextDelta("Let me see. "), run, TextDelta("It is 64."), END)
    async with serve(script, HELLO) as site:
        session = Conversation(site)
        await session.start(server_tools=True)
        await session.say("my bill?")
        events = await session.leg()
        await session.say("thanks")
        await session.leg()
        session.hang_up()
    assert kinds(events) == ["text_delta", "tool_run", "text_delta", "usage", "turn_summary"]
    assert events[1].tool_run.result_json == '{"open":64}'
    assert site.runner.turns[0].server_tools
    assert site.runner.turns[1].messages[1:4] == (
        Message(Role.ASSISTANT, "Let me see. ", (ToolCall("s1", "get_bill", "{}"),)),
        Message(Role.TOOL, '{"open":64}', tool_call_id="s1"),
        Message(Role.ASSISTANT, "It is 64."),
    )


@on_uvloop
async def test_cancel_ends_the_turn_and_the_session_goes_on() -> None:
    spent = Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=4)
    async with serve((Spent(spent), TextDelta("Once upon"), Hold()), HELLO) as site:
        session = Conversation(site)
        await session.start()
        await session.say("a story", turn_id="t1")
        await session.next()
        await session.cancel("another turn")
        await session.cancel("t1")
        await session.cancel()
        ended = await session.leg()
        assert await site.runner.next_left() is False
        record = await site.records.next()
        await session.say("hi")
        answer = await session.leg()
        session.hang_up()
    assert kinds(ended) == ["usage", "turn_summary"]
    assert ended[-1].turn_id == "t1"
    assert ended[-1].turn_summary.finish == pb.FINISH_REASON_CANCELLED
    assert ended[-2].usage == ended[-1].turn_summary.usage
    assert ended[-2].usage == pb.Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=4)
    assert record.outcome is Outcome.ABANDONED
    assert site.gate.num_held == 0
    assert texts(answer) == "Hello wörld"
    assert asked(site, 1) == [("user", "a story"), ("assistant", "Once upon"), ("user", "hi")]


@on_uvloop
async def test_cancel_before_the_first_event_and_during_a_flood() -> None:
    async with serve((Hold(),), (Flood(),), HELLO) as site:
        session = Conversation(site)
        await session.start()
        for text in ("one", "two"):
            await session.say(text)
            await session.cancel()
            assert (await session.leg())[-1].turn_summary.finish == pb.FINISH_REASON_CANCELLED
            assert await site.runner.next_left() is False
        await session.say("three")
        assert texts(await session.leg()) == "Hello wörld"
        session.hang_up()


@on_uvloop
async def test_cancel_gives_up_tool_calls() -> None:
    async with serve(TWO_CALLS, HELLO) as site:
        session = Conversation(site)
        await session.start(tools=TOOLS)
        await session.say("bill and usage", turn_id="t1")
        await session.leg()
        await session.give_result("c1", "1")
        await session.cancel()
        ended = await session.leg()
        await session.give_result("c2", "2")
        late = await session.leg()
        await session.say("never mind")
        await session.leg()
        session.hang_up()
    assert ended[-1].turn_summary.finish == pb.FINISH_REASON_CANCELLED
    assert (late[0].turn_id, late[0].turn_error.param) == ("t1", "tool_result.call_id")
    assert asked(site, 1)[-3:] == [
        ("tool", "1"),
        ("tool", '{"error":"cancelled_by_caller"}'),
        ("user", "never mind"),
    ]


@pytest.mark.parametrize("error", [SHED, EngineFault("broke"), ValueError("a bug")])
@on_uvloop
async def test_a_failed_turn_can_be_tried_again(error: Exception) -> None:
    async with serve((TextDelta("Hel"), error), HELLO) as site:
        session = Conversation(site)
        await session.start()
        await session.say("hi", turn_id="t1")
        failed = await session.leg()
        record = await site.records.next()
        await session.say("hi", turn_id="t1")
        answer = await session.leg()
        session.hang_up()
    assert failed[-1].turn_id == "t1"
    assert failed[-1].turn_error.request_id == record.request_id
    assert "a bug" not in failed[-1].turn_error.message
    assert texts(answer) == "Hello wörld"
    assert asked(site, 1) == [("user", "hi")]


@on_uvloop
async def test_a_shed_turn_carries_its_numbers() -> None:
    async with serve((SHED,)) as site:
        session = Conversation(site)
        await session.start()
        await session.say()
        (failed,) = await session.leg()
        session.hang_up()
    error = failed.turn_error
    assert (error.code, error.retryable) == ("slo_unattainable", True)
    assert (error.estimate_ms, error.budget_ms, error.retry_after_ms) == (900.0, 500.0, 1500.0)


@on_uvloop
async def test_a_failed_continuation_waits_for_the_results_again() -> None:
    async with serve(PAY, (SHED,), HELLO) as site:
        session = Conversation(site)
        await session.start(tools=TOOLS)
        await session.say()
        await session.leg()
        await session.give_result("c1", '"first"')
        assert (await session.leg())[-1].turn_error.code == "slo_unattainable"
        await session.give_result("c1", '"second"')
        assert texts(await session.leg()) == "Hello wörld"
        session.hang_up()
    assert [message.content for message in site.runner.turns[2].messages[-1:]] == ['"second"']


@on_uvloop
async def test_results_that_were_taken_outlast_a_failed_continuation() -> None:
    async with serve(TWO_CALLS, (SHED,), HELLO) as site:
        session = Conversation(site)
        await session.start(tools=TOOLS)
        await session.say()
        await session.leg()
        await session.give_result("c1", "1")
        await session.give_result("c2", "2")
        assert (await session.leg())[-1].turn_error.code == "slo_unattainable"
        await session.give_result("c2", "2")
        assert texts(await session.leg()) == "Hello wörld"
        session.hang_up()
    assert asked(site, 2)[-2:] == [("tool", "1"), ("tool", "2")]


@on_uvloop
async def test_every_turn_is_drawn_anew_unless_the_session_has_a_seed() -> None:
    async with serve() as site:
        for sampling in (pb.Sampling(), pb.Sampling(seed=7)):
            session = Conversation(site)
            await session.start(sampling=sampling)
            for _ in range(2):
                await session.say()
                await session.leg()
            session.hang_up()
    free, other, *seeded = [turn.sampling.seed for turn in site.runner.turns]
    assert free != other
    assert seeded == [7, 7]


@on_uvloop
async def test_what_server_tools_did_survives_a_failure() -> None:
    run = ServerToolRun(ToolCall("s1", "pay_bill", "{}"), '{"paid":40}')
    async with serve((run, TextDelta("Pai"), EngineFault("broke")), HELLO) as site:
        session = Conversation(site)
        await session.start(server_tools=True)
        await session.say("pay")
        await session.leg()
        await session.say("and now?")
        await session.leg()
        session.hang_up()
    roles = [role for role, _ in asked(site, 1)]
    assert roles == ["user", "assistant", "tool", "user"]
    assert asked(site, 1)[2] == ("tool", '{"paid":40}')


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"text": ""}, "user_message.text"),
        ({"text": "hi", "latency_budget_ms": -1.0}, "latency_budget_ms"),
        ({"text": "hi", "turn_id": "t" * 200}, "user_message.turn_id"),
    ],
)
@on_uvloop
async def test_a_bad_message_leaves_the_session_usable(message: dict[str, Any], param: str) -> None:
    async with serve() as site:
        session = Conversation(site)
        await session.start()
        await session.say(**message)
        (failed,) = await session.leg()
        await session.give_result("c9", "{}")
        (unknown,) = await session.leg()
        await session.give_result("c9", "{not json")
        (malformed,) = await session.leg()
        await session.say("hi")
        answer = await session.leg()
        session.hang_up()
    assert (failed.turn_error.code, failed.turn_error.param) == ("invalid_request", param)
    assert unknown.turn_error.param == "tool_result.call_id"
    assert malformed.turn_error.param == "tool_result.content_json"
    assert texts(answer) == "Hello wörld"
    assert asked(site, -1) == [("user", "hi")]


@on_uvloop
async def test_one_turn_runs_at_a_time() -> None:
    go_on = asyncio.Event()
    async with serve((TextDelta("one"), go_on, END)) as site:
        session = Conversation(site)
        await session.start()
        await session.say("first", turn_id="t1")
        await session.next()
        await session.say("second", turn_id="t2")
        (refused,) = await session.leg()
        go_on.set()
        ended = await session.leg()
        session.hang_up()
    assert (refused.turn_id, refused.turn_error.param) == ("t2", "user_message")
    assert kinds(ended)[-1] == "turn_summary"
    assert len(site.runner.turns) == 1
