"""Another server as a model: what it says well, what it says badly, and when it says nothing."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.budget import Budget, TurnClass
from gateway.core.errors import (
    GatewayError,
    InvalidRequest,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
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
    Turn,
    TurnFinish,
    Usage,
)
from gateway.engine.upstream.chat_body import chat_body
from gateway.engine.upstream.http_post import Origin
from gateway.engine.upstream.server import UpstreamServer
from gateway.engine.upstream.target import UpstreamTarget
from tests.engine.raw_upstream import STREAM_HEAD, USAGE, WAIT_S, Call, delta, raw_upstream

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.engine.upstream.answer import UpstreamAnswer
    from gateway.engine.upstream.chat_chunks import AnswerDelta
    from tests.engine.raw_upstream import Script

KEY = "sk-very-secret"
PAY = ToolSpec("pay", "Pay.", {"type": "object"})


def turn(**fields: Any) -> Turn:
    asked = {"messages": (Message(Role.USER, "hi"),), "budget": Budget(0.0, None), **fields}
    return Turn(request_id="r", **asked)


def body_of(asked: Turn) -> bytes:
    return chat_body(asked, asked.messages, model="big", limit_field="max_tokens")


def target(port: int, **fields: Any) -> UpstreamTarget:
    origin = Origin.of(f"http://127.0.0.1:{port}/v1/")
    return UpstreamTarget(origin=origin, model="big", api_key=KEY, **fields)


class Heard:
    """A whole answer."""

    def __init__(self, answer: UpstreamAnswer, deltas: list[AnswerDelta]) -> None:
        self.deltas = deltas
        self.text = "".join(one.text for one in deltas if isinstance(one, TextDelta))
        self.finish, self.calls = answer.finish, answer.calls
        self.usage, self.model, self.path = answer.usage(8), answer.model, answer.path


async def hear(server: UpstreamServer, asked: Turn | None = None) -> Heard:
    with closing(await server.ask(body_of(asked or turn()), {"x-request-id": "r"})) as answer:
        return Heard(answer, [one async for one in answer.deltas()])


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60.0):
            await scenario

    asyncio.run(bounded())


def listen(script: Script, **fields: Any) -> Heard:
    """One answer of a server with this script."""
    heard: list[Heard] = []

    async def scenario() -> None:
        async with raw_upstream(script) as upstream:
            server = UpstreamServer(target(upstream.port, **fields))
            heard.append(await hear(server))
            server.close()

    run(scenario())
    return heard[0]


def fault(script: Script, **fields: Any) -> GatewayError:
    """The error that a server with this script leads to; it is then known to be idle again."""
    errors: list[GatewayError] = []

    async def scenario() -> None:
        async with raw_upstream(script) as upstream:
            server = UpstreamServer(target(upstream.port, **fields))
            with pytest.raises(GatewayError) as caught:
                await hear(server)
            errors.append(caught.value)
            await asyncio.wait_for(upstream.hung_up.wait(), WAIT_S)
            server.close()

    run(scenario())
    assert KEY not in str(errors[0])
    return errors[0]


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


@pytest.mark.parametrize(
    ("status", "body", "headers", "error"),
    [
        (400, {"error": {"message": f"no field; {KEY}"}}, (), InvalidRequest),
        (401, {"error": {"message": f"wrong key {KEY}"}}, (), UpstreamRefused),
        (404, {"detail": "Not Found"}, (), UpstreamRefused),
        (429, {"error": {"code": "insufficient_quota"}}, (), UpstreamRefused),
        (429, {"error": "slow down"}, ("retry-after: 7",), UpstreamBusy),
        (503, [], (), UpstreamBusy),
        (504, None, (), UpstreamTimeout),
        (500, {"message": "boom"}, (), UpstreamUnavailable),
        (302, {}, ("location: http://127.0.0.1:1/",), UpstreamRefused),
        (200, {"choices": []}, ("content-type: application/json",), UpstreamError),
    ],
)
def test_refusals_are_told_apart_and_keep_the_key(
    status: int,
    body: object,
    headers: tuple[str, ...],
    error: type[GatewayError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def script(call: Call) -> None:
        await call.refuse(status, body, "connection: close", *headers)
        call.writer.close()

    with caplog.at_level(logging.DEBUG):
        raised = fault(script)
    assert type(raised) is error
    assert KEY not in caplog.text
    if isinstance(raised, UpstreamBusy):
        assert raised.retry_after_s == (7.0 if headers else 1.0)


HOSTILE: dict[str, tuple[bytes, ...]] = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n",),
    "an endless head": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * (1 << 18)),
    "a compressed answer": (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n"
        b"content-length: 9\r\n\r\nxx",
    ),
    "no JSON": (STREAM_HEAD, b"9\r\ndata: {\n\n\r\n"),
    "a chunk of another kind": (STREAM_HEAD, b'11\r\ndata: {"model":1}\n\n\r\n'),
    "a line without an end": (STREAM_HEAD, *([b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 20)),
    "deep nesting": (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"error\":",
        b"[" * 500_000 + b"\n\n",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nonsense_is_the_servers_error_and_ends_the_connection(name: str) -> None:
    async def script(call: Call) -> None:
        await call.say(*HOSTILE[name])
        await asyncio.Event().wait()

    assert type(fault(script)) is UpstreamError


@pytest.mark.parametrize(
    "chunks",
    [
        [delta(tool_calls=[{"index": 5, "function": {"arguments": "{}"}}])],
        [delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}])]
        + [delta(finish="tool_calls")],
        [{"choices": [{"logprobs": {"content": [{"token": "a", "logprob": 0, "bytes": [999]}]}}]}],
    ],
)
def test_chunks_that_contradict_themselves_are_the_servers_error(chunks: list[object]) -> None:
    async def script(call: Call) -> None:
        await call.say(STREAM_HEAD)
        for chunk in chunks:
            await call.event(chunk)
        await call.event(b"data: [DONE]\n\n")
        await asyncio.Event().wait()

    assert type(fault(script)) is UpstreamError


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (STREAM_HEAD,),
        (STREAM_HEAD, b'40\r\ndata: {"choices":[{"delta":{"content":"hello"}}]}'),
        (STREAM_HEAD, b"0\r\n\r\n"),
        (STREAM_HEAD, b'24\r\ndata: {"error":{"code":"no_luck"}}\n\n'),
    ],
)
def test_an_answer_that_breaks_off_is_said_to(parts: tuple[bytes, ...]) -> None:
    async def script(call: Call) -> None:
        await call.say(*parts)
        call.writer.close()

    assert type(fault(script)) is UpstreamUnavailable


def test_a_held_back_answer_is_no_answer() -> None:
    async def script(call: Call) -> None:
        await call.stream(delta("some"), delta(finish="content_filter"))
        call.writer.close()

    assert isinstance(fault(script), UpstreamRefused)


@pytest.mark.parametrize("parts", [(), (STREAM_HEAD,)])
def test_silence_is_given_up(parts: tuple[bytes, ...]) -> None:
    async def script(call: Call) -> None:
        await call.say(*parts)
        await asyncio.Event().wait()

    error = fault(script, silence_limit_s=0.05)
    assert isinstance(error, UpstreamTimeout)
    assert "sent nothing for 0.05 s" in str(error)


def test_an_answer_that_drips_for_ever_is_cut() -> None:
    async def script(call: Call) -> None:
        await call.say(STREAM_HEAD)
        while True:
            await call.event(b": still here\n\n")
            await asyncio.sleep(0.01)

    error = fault(script, answer_limit_s=0.2)
    assert isinstance(error, UpstreamTimeout)
    assert "did not come to an end" in str(error)


def test_nobody_there_is_said_at_once_and_not_asked_again_at_once() -> None:
    async def scenario() -> None:
        async with raw_upstream(lambda _: asyncio.sleep(0)) as upstream:
            port = upstream.port
        now_s = 100.0
        server = UpstreamServer(target(port), monotonic=lambda: now_s)
        with pytest.raises(UpstreamUnavailable, match="takes no connection"):
            await hear(server)
        assert not server.is_available
        with pytest.raises(UpstreamUnavailable, match="is tried again"):
            await hear(server)
        now_s += 60.0
        assert server.is_available
        with pytest.raises(UpstreamUnavailable, match="takes no connection"):
            await hear(server)

    run(scenario())


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
    with pytest.raises(ValueError, match="http|credentials"):
        Origin.of(url)


def test_an_address_is_taken_apart() -> None:
    assert Origin.of("https://[::1]/v1/") == Origin("::1", 443, True, "/v1")
    assert Origin.of("https://[::1]").host_field == "[::1]"
    assert Origin.of("http://a:81").host_field == "a:81"


def test_a_target_does_not_show_its_key() -> None:
    assert KEY not in repr(target(1))
