"""A request that waits in the kernel, because nobody looks, has begun all the same."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gateway.edge.arrival import waited_s
from gateway.edge.http_exchange import CONNECTION_EXTENSION
from gateway.edge.http_server import HttpServer, bind_listener
from tests.edge.fakes import WAIT_S

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.flow

BUSY_S = 0.2
RESOLUTION_S = 2 * time.clock_getres(6)  # CLOCK_MONOTONIC_COARSE: the kernel's tick


def test_how_long_data_waits_is_the_kernels_to_say() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        client.send(b"x")
        sent_s = time.monotonic()
        time.sleep(BUSY_S)
        told_s, passed_s = waited_s(server), time.monotonic() - sent_s
        assert BUSY_S - RESOLUTION_S <= told_s <= passed_s + RESOLUTION_S


def test_where_the_kernel_does_not_tell_nothing_waited() -> None:
    assert waited_s(None) == 0.0
    one, other = socket.socketpair()
    with one, other:
        assert waited_s(one) == 0.0


def test_a_request_that_finds_the_loop_busy_began_when_it_came() -> None:
    """Also on a connection that nobody has accepted yet, and on one that was used before."""
    began_s, seen_s, sent_s = [0.0] * 2, [0.0] * 2, [0.0] * 2
    number = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal number
        seen_s[number] = time.monotonic()
        began_s[number] = scope["extensions"][CONNECTION_EXTENSION]["began_s"]
        number += 1
        seen.set()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = HttpServer(app, bind_listener("127.0.0.1", 0))
    seen = asyncio.Event()
    sent, answered = threading.Semaphore(0), threading.Semaphore(0)

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as client:
            for place in range(2):
                sent_s[place] = time.monotonic()
                client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
                sent.release()
                assert client.recv(1000).startswith(b"HTTP/1.1 204")
                assert answered.acquire(timeout=WAIT_S)

    def keep_busy() -> None:
        assert sent.acquire(timeout=WAIT_S)
        time.sleep(BUSY_S)

    async def run() -> None:
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            group.create_task(server.serve())
            await server.wait_started()
            thread = threading.Thread(target=ask)
            thread.start()
            for _ in range(2):
                keep_busy()
                await seen.wait()
                seen.clear()
                answered.release()
            await asyncio.to_thread(thread.join)
            server.stop()

    asyncio.run(run())
    for place in range(2):
        assert seen_s[place] - sent_s[place] >= BUSY_S
        assert began_s[place] - sent_s[place] == pytest.approx(0.0, abs=BUSY_S / 4)
