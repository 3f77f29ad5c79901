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


@dataclass(slots=True)
class Answer:
    """One request's fate. Instants are monotonic seconds."""

    sent_s: float
    status: int
    first_content_s: float | None = None
    ended_s: float = 0.0
    num_chunks: int = 0
    headers: dict[str, str] | None = None
    body: bytes = b""
    """An answer that was not streamed: a refusal."""
    last_event: bytes = b""
    """The last event of a stream before `[DONE]`, as JSON."""

    @property
    def ttft_s(self) -> float | None:
        """Time to the first content or tool-call delta."""
        return None if self.first_content_s is None else self.first_content_s - self.sent_s


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
        """Post a chat completion and read its answer to the end."""
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
        await self._read_head(answer)
        assert answer.headers is not None
        if answer.headers.get("transfer-encoding") == "chunked":
            await self._read_chunks(answer)
        else:
            length = int(answer.headers.get("content-length", "0"))
            answer.body = await self._reader.readexactly(length)
        answer.ended_s = time.monotonic()
        return answer

    async def _read_head(self, answer: Answer) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answer.status = int(head[0].split()[1])
        pairs = (line.partition(":") for line in head[1:] if line)
        answer.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}

    async def _read_chunks(self, answer: Answer) -> None:
        while True:
            size = int(await self._reader.readline(), 16)
            chunk = await self._reader.readexactly(size + 2)
            if size == 0:
                return
            answer.num_chunks += 1
            answer.last_event = _last_event(chunk) or answer.last_event
            if answer.first_content_s is None and _has_content(chunk):
                answer.first_content_s = time.monotonic()


def _last_event(chunk: bytes) -> bytes:
    at = chunk.rfind(b"data: {")
    return chunk[at + 6 :].partition(b"\n")[0] if at >= 0 else b""


def _has_content(chunk: bytes) -> bool:
    for line in chunk.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        choices = json.loads(line[6:]).get("choices") or []
        delta = choices[0].get("delta", {}) if choices else {}
        if delta.get("content") or delta.get("tool_calls"):
            return True
    return False
