"""What another server may do wrong, and which error each of it becomes."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.core.errors import (
    GatewayError,
    InvalidRequest,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.engine.upstream.server import UpstreamServer
from tests.engine.raw_upstream import STREAM_HEAD, Call, delta, raw_upstream
from tests.engine.upstream_asking import KEY, fault, hear, run, target


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
        (500, {"message": "boom"}, (), UpstreamError),
        (502, "", (), UpstreamUnavailable),
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
        b'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {"error":',
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
        [
            delta(
                tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}]
            ),
            delta(finish="tool_calls"),
        ],
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
        with pytest.raises(UpstreamUnavailable, match="takes no connection") as caught:
            await hear(server)
        assert str(port) not in str(caught.value)
        was_available = server.is_available
        with pytest.raises(UpstreamUnavailable, match="is tried again"):
            await hear(server)
        now_s += 60.0
        assert (was_available, server.is_available) == (False, True)
        with pytest.raises(UpstreamUnavailable, match="takes no connection"):
            await hear(server)

    run(scenario())


def test_who_makes_the_server_stumble_shuts_nobody_else_out() -> None:
    async def script(call: Call) -> None:
        await call.refuse(500, {"error": {"message": "no such field"}})

    async def scenario() -> None:
        async with raw_upstream(script) as upstream:
            server = UpstreamServer(target(upstream.port))
            for _ in range(3):
                with pytest.raises(UpstreamError, match="failed on the request"):
                    await hear(server)
            assert server.is_available
            assert len(upstream.calls) == 3
            server.close()

    run(scenario())
