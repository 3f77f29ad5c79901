"""Connections to the gRPC listener that speak HTTP/2 and want nothing good."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from gateway.wire.pb import agent_pb2 as pb
from tests.edge.grpc_fakes import WAIT_S, on_uvloop, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.edge.grpc_fakes import Site

pytestmark = pytest.mark.flow

HEADERS, RST_STREAM, SETTINGS = 1, 3, 4
END_HEADERS = 4
NUM_RESETS = 20_000


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """RFC 9113, 4.1."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that is in no table (RFC 7541, 6.2.2)."""
    return b"\0%c%b%c%b" % (len(name), name, len(value), value)


def call(stream: int) -> bytes:
    """The head of a call that is reset at once."""
    head = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/firsthop.v1.AgentService/Generate",
        b":authority": b"site",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    block = b"".join(literal(name, value) for name, value in head.items())
    cancelled = struct.pack(">I", 8)
    return frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, cancelled)


@asynccontextmanager
async def dial(site: Site) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    with closing(writer):
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))
        yield reader, writer


@on_uvloop
async def test_calls_that_are_reset_at_once_cancel_nobody_elses() -> None:
    async with serve() as site, dial(site) as (_, writer):
        for number in range(NUM_RESETS):
            writer.write(call(2 * number + 1))
        await writer.drain()
        answers = [await site.stub.ListModels(pb.ListModelsRequest()) for _ in range(10)]
    assert [answer.models[0].id for answer in answers] == ["tiny"] * 10


@on_uvloop
async def test_a_connection_without_a_call_gives_up_its_place() -> None:
    async with serve(connection_idle_s=0.2) as site, dial(site) as (reader, _):
        async with asyncio.timeout(WAIT_S):
            await reader.read()
