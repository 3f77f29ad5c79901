"""Responses in text: the order of their events, calls, cancelling, failing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from gateway.core.budget import TurnClass
from gateway.core.errors import SloUnattainable
from gateway.core.stages import Outcome
from gateway.core.turn import (
    Role,
    ServerToolRun,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoiceMode,
    TurnEnd,
    TurnFinish,
    Usage,
)
from tests.edge.fakes import END, PAY, WAIT_S, Hold, Until
from tests.edge.realtime.dialler import dial, kinds

if TYPE_CHECKING:
    from tests.edge.fakes import Site

TOOL = {"type": "function", "name": "pay_bill", "parameters": {"type": "object", "properties": {}}}
CALLED = TurnEnd(TurnFinish.TOOL_CALLS, Usage(), (ToolCall("call_1", "pay_bill", '{"amount":40}'),))
SESSION_TRACE, OWN_TRACE = (f"00-{digit * 32}-{digit * 16}-01" for digit in "ab")


def test_a_text_response_tells_its_item_and_part_from_beginning_to_end(http_site: Site) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            user = await session.write("hi")
            events = await session.answer()
            assert kinds(events) == [
                "response.created",
                "response.output_item.added",
                "conversation.item.added",
                "response.content_part.added",
                *["response.output_text.delta"] * 3,
                "response.output_text.done",
                "response.content_part.done",
                "conversation.item.done",
                "response.output_item.done",
                "response.done",
            ]
            added = events[2]
            assert added["previous_item_id"] == user["id"]
            done = events[-1]["response"]
            assert done["status"] == "completed"
            assert [part["text"] for part in done["output"][0]["content"]] == ["Hello wörld"]
            assert done["usage"]["input_tokens"] == 0  # the scripted runner counts nothing
            assert done["firsthop"]["site"] == "edge-a"
            assert done["firsthop"]["request_id"] == done["id"]

    asyncio.run(talk())
    record = http_site.records.next()
    assert (record.interface, record.outcome) == ("realtime", Outcome.ANSWERED)
    assert record.turn_class is TurnClass.AGENT
    turn = http_site.runner.turns[-1]
    assert [(m.role, m.content) for m in turn.messages] == [(Role.USER, "hi")]


def test_a_response_may_have_a_trace_of_its_own(http_site: Site) -> None:
    async def talk() -> None:
        async with dial(http_site, traceparent=SESSION_TRACE) as session:
            await session.write("hi")
            await session.answer()
            await session.write("hi")
            await session.send("response.create", response={"metadata": {"traceparent": OWN_TRACE}})
            await session.the("response.done")

    asyncio.run(talk())
    assert http_site.records.next().traceparent == SESSION_TRACE
    assert http_site.records.next().traceparent == OWN_TRACE


def test_the_client_runs_a_call_and_its_result_is_answered(http_site: Site) -> None:
    http_site.runner.script = (PAY, ToolCallDelta(0, '{"amount":'), ToolCallDelta(0, "40}"), CALLED)

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.send("session.update", session={"type": "realtime", "tools": [TOOL]})
            await session.the("session.updated")
            await session.write("pay")
            events = await session.answer()
            arguments = [event for event in events if event["type"].endswith("arguments.done")]
            assert [(a["name"], a["arguments"]) for a in arguments] == [
                ("pay_bill", '{"amount":40}')
            ]
            call = next(e for e in events if e["type"] == "response.output_item.done")["item"]
            assert (call["type"], call["status"]) == ("function_call", "completed")
            http_site.runner.script = (TextDelta("Paid."), END)
            result = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
            await session.send("conversation.item.create", item=result)
            await session.answer()

    asyncio.run(talk())
    first, second = http_site.runner.turns[-2:]
    assert [tool.name for tool in first.tools] == ["pay_bill"]
    user, called, result = second.messages
    assert (user.content, called.tool_calls[0].call_id) == ("pay", "call_1")
    assert (result.role, result.tool_call_id, result.content) == (Role.TOOL, "call_1", "{}")


def test_a_call_without_a_result_was_given_up_once_the_user_goes_on(http_site: Site) -> None:
    http_site.runner.script = (PAY, ToolCallDelta(0, '{"amount":40}'), CALLED)

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.send("session.update", session={"type": "realtime", "tools": [TOOL]})
            await session.write("pay")
            await session.answer()
            await session.write("no")
            await session.answer()

    asyncio.run(talk())
    given_up = http_site.runner.turns[-1].messages[2]
    assert (given_up.tool_call_id, json.loads(given_up.content)) == (
        "call_1",
        {"error": "cancelled_by_caller"},
    )


def test_what_the_server_ran_is_an_item_of_its_own(http_site: Site) -> None:
    run = ServerToolRun(ToolCall("call_9", "get_balance", "{}"), '{"balance":12}')
    http_site.runner.script = (run, TextDelta("12 dollars."), END)

    async def talk() -> dict[str, Any]:
        async with dial(http_site, **{"x-firsthop-tools": "server"}) as session:
            await session.write("how much")
            events = await session.answer()
            await session.send("conversation.item.retrieve", item_id="call_9")
            held = (await session.the("conversation.item.retrieved"))["item"]
            assert held["output"] == '{"balance":12}'
            await session.write("thanks")
            await session.answer()
            done: dict[str, Any] = events[-1]
            return done

    done = asyncio.run(talk())
    assert [item["type"] for item in done["response"]["output"]] == ["mcp_call", "message"]
    first, second = http_site.runner.turns[-2:]
    assert first.server_tools
    assert [m.role for m in second.messages] == [
        *(Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT, Role.USER)
    ]


def test_cancelling_ends_the_turn_and_keeps_what_was_said(http_site: Site) -> None:
    http_site.runner.script = (TextDelta("One, "), Hold())

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.write("count")
            await session.send("response.create")
            await session.the("response.output_text.delta")
            await session.send("response.cancel", event_id="e7")
            done = (await session.the("response.done"))["response"]
            assert done["status"] == "cancelled"
            assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
            assert done["output"][0]["status"] == "incomplete"
            await session.send("response.cancel", event_id="e8")
            error = await session.error()
            assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "e8")
            http_site.runner.script = (END,)
            await session.answer()

    asyncio.run(talk())
    assert http_site.runner.left.get(timeout=WAIT_S) is False
    assert http_site.records.next().outcome is Outcome.ABANDONED
    assert [m.content for m in http_site.runner.turns[-1].messages] == ["count", "One, "]


def test_the_next_response_may_be_asked_for_with_the_cancelling_of_the_last(
    http_site: Site,
) -> None:
    http_site.runner.script = (TextDelta("One, "), Hold())

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.write("count")
            await session.send("response.create")
            await session.the("response.output_text.delta")
            http_site.runner.script = (TextDelta("Two."), END)
            await session.send("response.cancel")
            await session.send("response.create")
            cancelled = (await session.the("response.done"))["response"]
            answered = (await session.the("response.done"))["response"]
            assert (cancelled["status"], answered["status"]) == ("cancelled", "completed")

    asyncio.run(talk())


def test_one_response_at_a_time_is_made_into_the_conversation(http_site: Site) -> None:
    go_on = Until()
    http_site.runner.script = (TextDelta("One"), go_on, END)

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.write("hi")
            await session.send("response.create")
            await session.the("response.output_text.delta")
            await session.send("response.create", event_id="second")
            error = await session.error()
            assert error["code"] == "conversation_already_has_active_response"
            assert error["event_id"] == "second"
            go_on.event.set()
            await session.the("response.done")

    asyncio.run(talk())


def test_a_response_beside_the_conversation_leaves_no_trace_in_it(http_site: Site) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            user = await session.write("hi")
            events = await session.answer(
                conversation="none",
                metadata={"topic": "mood"},
                input=[{"type": "item_reference", "id": user["id"]}],
                instructions="Name the mood.",
            )
            assert not [kind for kind in kinds(events) if kind.startswith("conversation.")]
            assert events[-1]["response"]["metadata"] == {"topic": "mood"}
            assert events[-1]["response"]["conversation_id"] is None
            http_site.runner.script = (END,)
            await session.answer()

    asyncio.run(talk())
    aside, after = http_site.runner.turns[-2:]
    assert [m.content for m in aside.messages] == ["Name the mood.", "hi"]
    assert [m.content for m in after.messages] == ["hi"]


def test_wishes_of_a_response_stand_above_the_sessions(http_site: Site) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            await session.write("hi")
            await session.answer(tools=[TOOL], tool_choice="required", max_output_tokens=5)
            await session.answer()

    asyncio.run(talk())
    first, second = http_site.runner.turns[-2:]
    assert (first.max_tokens, first.tool_choice.mode) == (5, ToolChoiceMode.REQUIRED)
    assert (second.max_tokens, second.tools) == (None, ())


def test_a_shed_turn_is_a_failed_response_that_says_why(http_site: Site) -> None:
    http_site.runner.script = (
        SloUnattainable(estimate_s=0.9, budget_s=0.5, reason="queue_full", retry_after_s=1.0),
    )

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.write("hi")
            done = (await session.answer())[-1]["response"]
            assert done["status"] == "failed"
            assert done["status_details"]["error"]["code"] == "slo_unattainable"

    asyncio.run(talk())
    assert http_site.records.next().outcome is Outcome.SHED


def test_an_answer_that_was_cut_short_is_incomplete(http_site: Site) -> None:
    http_site.runner.script = (TextDelta("One"), TurnEnd(TurnFinish.LENGTH, Usage()))

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.write("hi")
            done = (await session.answer())[-1]["response"]
            assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}

    asyncio.run(talk())


def test_leaving_ends_the_turn(http_site: Site) -> None:
    http_site.runner.script = (TextDelta("One"), Hold())

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.write("hi")
            await session.send("response.create")
            await session.the("response.output_text.delta")

    asyncio.run(talk())
    assert http_site.runner.left.get(timeout=WAIT_S) is False
    assert http_site.records.next().outcome is Outcome.ABANDONED
