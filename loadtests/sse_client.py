"""A lean HTTP/1.1 client for measurements: one connection, streamed chat completions.

It parses just enough to time the first content, so that what is measured is the gateway and not
the client. Functional tests use the real clients instead.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from gateway.core.errors import UpstreamError
from gateway.engine.upstream.sse_events import SseEvents


@dataclass(slots=True)
class Answer:
    """One request's fate. Instants are monotonic seconds."""

    sent_s: float
    status: int
    first_content_s: float | None = None
    ended_s: float = 0.0
    headers: dict[str, str] | None = None
    body: bytes = b""
    """An answer that was not streamed: a refusal."""
    last_event: bytes = b""
    """The last event of a stream before `[DONE]`, as JSON."""

    @property
    def ttft_s(self) -> float | None:
        """Time to the first content or tool-call delta."""
        return None if self.first_content_s is None else self.first_content_s - self.sent_s


_UNREADABLE = (
    ValueError,
    IndexError,
    msgspec.DecodeError,
    asyncio.LimitOverrunError,
    UpstreamError,
)


class UnreadableAnswer(Exception):
    """The server's answer is not the HTTP or not the events it should be."""


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Event(msgspec.Struct):
    """What counts of a chunk."""

    choices: list[_Choice] | None = None


class AnswerCut(Exception):
    """The connection broke in the middle of an answer that had begun."""


class SseConnection:
    """A kept-alive connection. One request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def chat(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
        """Post a chat completion and read its answer to the end.

        Raises OSError and EOFError when the connection breaks, AnswerCut when that is after the
        first content, and UnreadableAnswer.
        """
        payload = json.dumps(body).encode()
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            "host: localhost",
            "content-type: application/json",
            f"content-length: {len(payload)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        answer = Answer(sent_s=time.monotonic(), status=0)
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
        try:
            await self._read(answer)
        except _UNREADABLE as error:
            raise UnreadableAnswer(str(error)) from error
        except (OSError, EOFError) as error:
            if answer.first_content_s is None:
                raise
            raise AnswerCut(str(error)) from error
        answer.ended_s = time.monotonic()
        return answer

    async def _read(self, answer: Answer) -> None:
        await self._read_head(answer)
        headers = answer.headers or {}
        if headers.get("transfer-encoding") == "chunked":
            await self._read_events(answer)
        else:
            answer.body = await self._reader.readexactly(int(headers.get("content-length", "0")))

    async def _read_head(self, answer: Answer) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answer.status = int(head[0].split()[1])
        pairs = (line.partition(":") for line in head[1:] if line)
        answer.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}

    async def _read_events(self, answer: Answer) -> None:
        """An event may lie in several chunks, and a chunk may hold several events."""
        events = SseEvents()
        while True:
            size = int(await self._reader.readline(), 16)
            chunk = await self._reader.readexactly(size + 2)
            for event in events.feed(chunk[:size]) if size else events.finish():
                if event == b"[DONE]":
                    continue
                answer.last_event = event
                if answer.first_content_s is None and _has_content(event):
                    answer.first_content_s = time.monotonic()
            if size == 0:
                return


class SsePool:
    """Kept-alive connections to one server, as many as are in use at once."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._idle: list[SseConnection] = []

    async def open(self, num_connections: int) -> None:
        """Connect ahead of the first request."""
        for _ in range(num_connections):
            self._idle.append(await SseConnection.open(*self._address))

    async def chat(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
        """`SseConnection.chat` over an idle connection; one that failed is not used again."""
        connection = self._idle.pop() if self._idle else await SseConnection.open(*self._address)
        try:
            answer = await connection.chat(body, headers)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | EOFError):
                self.close()  # what else was kept leads to the same server that is gone
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Hang up what is idle."""
        while self._idle:
            self._idle.pop().close()


def _has_content(event: bytes) -> bool:
    choices = msgspec.json.decode(event, type=_Event).choices
    return any(choice.delta.content or choice.delta.tool_calls for choice in choices or ())
