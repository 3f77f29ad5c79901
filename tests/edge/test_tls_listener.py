"""Connections that have not shaken hands: they are counted, give way, and do not stay."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop

from gateway.edge import tls_listener
from gateway.edge.http_server import HttpServer, TlsFiles, bind_listener
from tests.edge.fakes import WAIT_S
from tests.peers.certificates import write_certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.flow

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    write_certificates(folder, "site")
    return folder


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers everything with one word, and ends its answer when the request is in."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello", "more_body": True})
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.body", "body": b""})


def run(test: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test)


@asynccontextmanager
async def serving(folder: Path, *, max_connections: int) -> AsyncIterator[HttpServer]:
    files = TlsFiles(str(folder / "site.pem"), str(folder / "site.key"))
    listener = bind_listener("127.0.0.1", 0)
    server = HttpServer(greet, listener, tls=files, max_connections=max_connections)
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await server.wait_started()
        yield server
        server.stop()


async def dial(server: HttpServer, folder: Path | None = None) -> Stream:
    """A connection, with TLS where the authority is in `folder`."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem")) if folder else None
    name = "localhost" if folder else None
    return await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, server_hostname=name
    )


async def greeting(stream: Stream) -> bytes:
    stream[1].write(REQUEST)
    return await stream[0].readuntil(b"hello\r\n0\r\n\r\n")


async def is_closed(stream: Stream) -> bool:
    try:
        return await stream[0].read(1) == b""
    except ConnectionResetError:
        return True


async def hang_up(*streams: Stream) -> None:
    for _, writer in streams:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            continue  # the site was first


def test_who_does_not_shake_hands_makes_room_for_who_does(folder: Path) -> None:
    async def test() -> None:
        async with serving(folder, max_connections=3) as server:
            silent = [await dial(server) for _ in range(5)]
            assert await is_closed(silent[0])
            assert await is_closed(silent[1])
            client = await dial(server, folder)
            assert (await greeting(client)).startswith(b"HTTP/1.1 200")
            assert await is_closed(silent[2])
            assert (await greeting(client)).startswith(b"HTTP/1.1 200")
            await hang_up(client, *silent)

    run(test())


def test_who_finds_no_place_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_listener, "REFUSAL_PLACES", 2)

    async def test() -> None:
        async with serving(folder, max_connections=1) as server:
            holder = await dial(server, folder)
            holder[1].write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n")
            await holder[0].readuntil(b"hello\r\n")
            for _ in range(2 * tls_listener.REFUSAL_PLACES):
                late = await dial(server, folder)
                assert (await late[0].read()).startswith(b"HTTP/1.1 503")
                await hang_up(late)
            silent = [await dial(server) for _ in range(tls_listener.REFUSAL_PLACES + 1)]
            assert await is_closed(silent[-1])
            await hang_up(*silent)
            holder[1].write(b"x")
            await holder[0].readuntil(b"0\r\n\r\n")
            client = await dial(server, folder)
            assert (await greeting(client)).startswith(b"HTTP/1.1 200")
            await hang_up(holder, client)

    run(test())


def test_a_handshake_has_a_time_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_listener, "HANDSHAKE_S", 0.05)

    async def test() -> None:
        async with serving(folder, max_connections=3) as server:
            silent = await dial(server)
            assert await is_closed(silent)
            await hang_up(silent)

    run(test())


def test_the_end_waits_for_no_handshake(folder: Path) -> None:
    async def test() -> None:
        async with serving(folder, max_connections=3) as server:
            silent = await dial(server)
            client = await dial(server, folder)
            assert await greeting(client)
            server.stop()
            assert await is_closed(silent)
            assert await is_closed(client)
            await hang_up(silent, client)

    run(test())


def test_what_is_no_tls_costs_the_others_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with serving(folder, max_connections=1) as server:
            for said in (REQUEST, b"", b"\x16\x03\x01\x00\x05hello"):
                plain = await dial(server)
                plain[1].write(said)
                plain[1].write_eof()
                client = await dial(server, folder)
                assert (await greeting(client)).startswith(b"HTTP/1.1 200")
                await hang_up(client, plain)

    run(test())
    assert not caplog.records
