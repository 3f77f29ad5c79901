"""A server that says exactly what a test wants, byte by byte, and notes what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WAIT_S = 30.0
"""How long a test waits for what must happen."""


@dataclass
class Call:
    """A request that came, and its connection."""

    head: str
    body: dict[str, Any]
    writer: asyncio.StreamWriter

    async def say(self, *parts: bytes) -> None:
        """Send bytes."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def stream(self, *chunks: object, done: bool = True) -> None:
        """A whole chunked event stream; bytes go out as they are, all else as JSON events."""
        await self.say(STREAM_HEAD)
        for chunk in chunks:
            await self.event(chunk)
        if done:
            await self.event(b"data: [DONE]\n\n")
        await self.say(b"0\r\n\r\n")

    async def event(self, chunk: object) -> None:
        """One event, or raw bytes, as a chunk of the body."""
        data = (
            chunk if isinstance(chunk, bytes) else b"data: " + json.dumps(chunk).encode() + b"\n\n"
        )
        await self.say(b"%x\r\n" % len(data), data, b"\r\n")

    async def refuse(self, status: int, body: object, *headers: str) -> None:
        """An answer that is no stream."""
        data = json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} No", f"content-length: {len(data)}", *headers, "", ""]
        await self.say("\r\n".join(lines).encode(), data)


Script = Callable[[Call], Awaitable[None]]
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


@dataclass
class RawUpstream:
    """Plays a script for every request; `port` is where."""

    script: Script
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    num_connections: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """A client closed its connection."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.num_connections += 1
        # Nobody here sends a second request before the first one's answer: what comes is the end.
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    line for line in head.lower().split("\r\n") if line.startswith("content-length")
                )
                body = json.loads(await reader.readexactly(int(length.partition(":")[2])))
                call = Call(head, body, writer)
                self.calls.append(call)
                playing = asyncio.create_task(_play(self.script, call))  # noqa: TID251 - a server's
                gone = asyncio.create_task(reader.read(1))  # noqa: TID251
                await asyncio.wait((playing, gone), return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    playing.cancel()
                    break
                gone.cancel()
                await asyncio.wait((gone,))
                if writer.is_closing():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.hung_up.set()
            writer.close()


async def _play(script: Script, call: Call) -> None:
    with suppress(ConnectionError):
        await script(call)


@asynccontextmanager
async def raw_upstream(script: Script) -> AsyncIterator[RawUpstream]:
    """The server, on a free loopback port."""
    upstream = RawUpstream(script)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()


def delta(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of an answer."""
    return {
        "model": "big-1",
        "choices": [{"delta": {"content": content, **more}, "finish_reason": finish}],
    }


USAGE = {
    "choices": [],
    "usage": {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}
