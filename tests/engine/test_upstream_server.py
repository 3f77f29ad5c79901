"""Another server as a model: what is asked of it, and what it answers."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import pytest

from gateway.core.budget import TurnClass
from gateway.core.errors import (
    InvalidRequest,
)
from gateway.core.generation import Constraint, ConstraintKind, Sampling
from gateway.core.turn import (
    LogprobEntry,
    Message,
    Role,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolChoiceMode,
    ToolSpec,
    TurnFinish,
    Usage,
)
from gateway.engine.upstream.http_post import Origin
from gateway.engine.upstream.server import UpstreamServer
from tests.engine.raw_upstream import STREAM_HEAD, USAGE, WAIT_S, Call, delta, raw_upstream
from tests.engine.upstream_asking import KEY, body_of, hear, listen, run, target, turn

PAY = ToolSpec("pay", "Pay.", {"type": "object"})


def test_an_answer_comes_with_its_model_usage_and_end() -> None:
    async def script(call: Call) -> None:
        await call.stream(
            delta(role="assistant"), delta("Hel"), delta("lö"), delta(finish="stop"), USAGE
        )

    heard = listen(script)
    assert heard.text == "Hellö"
    assert (heard.finish, heard.model) == (TurnFinish.STOP, "big-1")
    assert heard.usage == Usage(11, 5, 4)


def test_what_is_asked_arrives() -> None:
    calls: list[Call] = []

    async def script(call: Call) -> None:
        calls.append(call)
        await call.stream(delta("x", "stop"))

    asked = turn(
        messages=(
            Message(Role.SYSTEM, "be brief"),
            Message(Role.ASSISTANT, tool_calls=(ToolCall("c1", "pay", '{"n":1}'),)),
            Message(Role.TOOL, '{"ok":true}', tool_call_id="c1"),
        ),
        tools=(PAY,),
        tool_choice=ToolChoice(ToolChoiceMode.REQUIRED, "pay"),
        parallel_tool_calls=False,
        sampling=Sampling(temperature=0.5, top_k=7, seed=3, top_logprobs=2),
        is_seeded=True,
        max_tokens=9,
        stop=("END",),
        constraint=Constraint(ConstraintKind.JSON_SCHEMA, '{"type":"object","required":["a"]}'),
    )

    async def scenario() -> None:
        async with raw_upstream(script) as upstream:
            server = UpstreamServer(target(upstream.port))
            await hear(server, asked)
            await hear(server)
            assert upstream.num_connections == 1
            server.close()

    run(scenario())
    full, plain = calls
    assert full.head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"authorization: Bearer {KEY}\r\n" in full.head
    assert "x-request-id: r\r\n" in full.head
    function = {"name": "pay", "arguments": '{"n":1}'}
    assert full.body["messages"] == [
        {"role": "system", "content": "be brief"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": '{"ok":true}', "tool_call_id": "c1"},
    ]
    assert full.body["tools"][0]["function"]["name"] == "pay"
    assert full.body["tool_choice"] == {"type": "function", "function": {"name": "pay"}}
    assert full.body["response_format"]["json_schema"]["schema"]["required"] == ["a"]
    expected = {
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_k": 7,
        "seed": 3,
        "logprobs": True,
        "top_logprobs": 2,
        "max_tokens": 9,
        "stop": ["END"],
    }
    assert {name: full.body[name] for name in expected} == expected
    assert plain.body == {
        "model": "big",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 1.0,
    }


def test_a_form_that_only_our_engine_can_hold_a_model_to_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="regex"):
        body_of(turn(constraint=Constraint(ConstraintKind.REGEX, "a+")))


@pytest.mark.parametrize("with_index", [True, False])
def test_tool_calls_are_put_together(with_index: bool) -> None:
    def part(index: int, **fields: Any) -> dict[str, Any]:
        return {**({"index": index} if with_index else {}), **fields}

    async def script(call: Call) -> None:
        await call.stream(
            delta(tool_calls=[part(0, id="a", function={"name": "pay", "arguments": '{"n"'})]),
            delta(tool_calls=[part(0, function={"arguments": ":4}"})]),
            delta(tool_calls=[part(1, id="b", function={"name": "bill", "arguments": None})]),
            delta(finish="stop"),
        )

    heard = listen(script)
    assert heard.finish is TurnFinish.TOOL_CALLS
    assert heard.calls == (ToolCall("a", "pay", '{"n":4}'), ToolCall("b", "bill", "{}"))
    assert heard.deltas == [
        ToolCallDelta(0, '{"n"', "a", "pay"),
        ToolCallDelta(0, ":4}"),
        ToolCallDelta(1, "", "b", "bill"),
        ToolCallDelta(1, "{}"),
    ]


def test_logprobs_pass_through() -> None:
    entry = {"token": "ö", "logprob": -0.5, "bytes": [195, 182]}
    top = [{"token": "o", "logprob": -1.5, "bytes": None}]

    async def script(call: Call) -> None:
        chunk = delta("ö", "stop")
        chunk["choices"][0]["logprobs"] = {"content": [{**entry, "top_logprobs": top}]}
        await call.stream(chunk)

    expected = LogprobEntry("ö", "ö".encode(), -0.5, (("o", b"o", -1.5),))
    assert listen(script).deltas == [TextDelta("ö", (expected,))]


def test_the_dialects_of_event_streams_are_understood() -> None:
    async def script(call: Call) -> None:
        await call.say(
            b"HTTP/1.1 100 Continue\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
            b": waking up\r\n\r\nevent: chunk\r\ndata:"
            b'{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\r\n\r\n'
            b'data: {"choices":[{"delta":\ndata: {"content":"b"},"finish_reason":"eos"}]}\n\n'
        )
        call.writer.close()

    heard = listen(script)
    assert (heard.text, heard.finish, heard.model) == ("ab", TurnFinish.STOP, "big")
    assert heard.usage == Usage(2, 2)


def test_a_site_behind_names_itself() -> None:
    async def script(call: Call) -> None:
        head = STREAM_HEAD.removesuffix(b"\r\n")
        await call.say(head, b"x-firsthop-path: edge-a,core-b\r\nx-firsthop-model: m@1\r\n\r\n")
        await call.event(delta("x", "stop"))
        await call.say(b"0\r\n\r\n")

    heard = listen(script)
    assert (heard.path, heard.model) == (("edge-a", "core-b"), "m@1")


def test_leaving_an_answer_hangs_up() -> None:
    async def script(call: Call) -> None:
        await call.say(STREAM_HEAD)
        while True:
            await call.event(delta("more"))

    async def scenario() -> None:
        async with raw_upstream(script) as upstream:
            server = UpstreamServer(target(upstream.port))
            with closing(await server.ask(body_of(turn()), {})) as answer:
                async for _ in answer.deltas():
                    break
            await asyncio.wait_for(upstream.hung_up.wait(), WAIT_S)

    run(scenario())


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async def script(call: Call) -> None:
        await call.stream(delta("x", "stop"))
        call.writer.close()

    async def scenario() -> None:
        async with raw_upstream(script) as upstream:
            server = UpstreamServer(target(upstream.port))
            for _ in range(3):
                assert (await hear(server)).text == "x"
            assert upstream.num_connections == 3
            server.close()

    run(scenario())


def test_places_go_to_the_urgent_first_and_nobody_keeps_one_by_leaving() -> None:
    async def scenario() -> None:
        server = UpstreamServer(target(1, max_concurrent=1))
        assert await server.take_place(TurnClass.BATCH, None)
        order: list[TurnClass] = []

        async def wait(turn_class: TurnClass) -> None:
            await server.take_place(turn_class, None)
            order.append(turn_class)
            server.give_back_place()

        async with asyncio.TaskGroup() as group:
            for turn_class in (TurnClass.BATCH, TurnClass.AGENT, TurnClass.VOICE):
                group.create_task(wait(turn_class))
                await asyncio.sleep(0)
            leaver = group.create_task(wait(TurnClass.VOICE))
            await asyncio.sleep(0)
            assert server.num_ahead(TurnClass.AGENT) == 3
            assert [one.num_queued for one in server.load().backlog] == [2, 1, 1]
            leaver.cancel()
            assert not await server.take_place(TurnClass.VOICE, 0.0)
            server.give_back_place()
        assert order == [TurnClass.VOICE, TurnClass.AGENT, TurnClass.BATCH]
        assert server.load().num_active == 0

    run(scenario())


@pytest.mark.parametrize("url", ["ftp://a", "https://", "http://k@a", "http://a/?q=1"])
def test_only_addresses_of_an_api_are_taken(url: str) -> None:
    with pytest.raises(ValueError, match=r"http|credentials"):
        Origin.of(url)


def test_an_address_is_taken_apart() -> None:
    assert Origin.of("https://[::1]/v1/") == Origin("::1", 443, True, "/v1")
    assert Origin.of("https://[::1]").host_field == "[::1]"
    assert Origin.of("http://a:81").host_field == "a:81"


def test_a_target_does_not_show_its_key() -> None:
    assert KEY not in repr(target(1))
