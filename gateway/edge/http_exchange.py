"""One HTTP exchange over raw ASGI: a bounded body in, bytes out under a stall limit, and a client
that may leave at any moment.

It knows connections, not turns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.core.errors import ClientStalled, PayloadTooLarge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from starlette.types import Receive, Scope, Send

    from gateway.edge.http_errors import HttpHeader

ABORT_EXTENSION = "firsthop.abort"
"""The key in an ASGI scope's `extensions` under which our server offers to cut the connection."""

_MAX_DISCARDED_BODIES = 8
"""How many times the body limit is read and dropped, so that the refusal reaches a client that
writes its whole body before it reads. Beyond that the connection is closed under it."""


class _ClientGone(Exception):
    """The connection was lost; never leaves this module."""


class Exchange:
    """A request and its response. Every wait on the client ends after `stall_limit_s`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, stall_limit_s: float) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._stall_limit_s = stall_limit_s
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.started = False
        """Whether the status line has left."""

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name; of several the last."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def read_body(self, max_bytes: int) -> bytes | None:
        """The whole body, or None when the client left before its end.

        Raises PayloadTooLarge, and ClientStalled when it has not come within the stall limit.
        """
        try:
            async with asyncio.timeout(self._stall_limit_s):
                return await self._read(max_bytes)
        except TimeoutError:
            raise ClientStalled(stalled_s=self._stall_limit_s) from None

    async def start(self, status: int, headers: Iterable[HttpHeader]) -> None:
        """Send the status line and the headers. Raises ClientStalled."""
        self.started = True
        await self._deliver(
            {"type": "http.response.start", "status": status, "headers": list(headers)}
        )

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a part of the body; waits while the client does not read. Raises ClientStalled."""
        await self._deliver({"type": "http.response.body", "body": body, "more_body": more})

    async def while_connected(self, work: Awaitable[None]) -> bool:
        """Await `work`; cancel it as soon as the client leaves and return False.

        Raises what `work` raises. The body must have been read.
        """
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                await work
                watch.cancel()
        except BaseExceptionGroup as failures:
            _, others = failures.split(_ClientGone)
            if others is not None:
                raise others.exceptions[0] from None
            return False
        return True

    def abort(self) -> None:
        """Cut the connection now, dropping what the client has not read."""
        abort = self._scope.get("extensions", {}).get(ABORT_EXTENSION)
        if abort is not None:
            abort["call"]()

    async def _read(self, max_bytes: int) -> bytes | None:
        chunks: list[bytes] = []
        num_bytes = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            chunk: bytes = message.get("body", b"")
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                chunks.clear()
            else:
                chunks.append(chunk)
            if num_bytes > max_bytes * _MAX_DISCARDED_BODIES:
                break
            more = message.get("more_body", False)
        if num_bytes > max_bytes:
            raise PayloadTooLarge(limit_bytes=max_bytes)
        return b"".join(chunks)

    async def _deliver(self, message: dict[str, object]) -> None:
        try:
            async with asyncio.timeout(self._stall_limit_s):
                await self._send(message)
        except TimeoutError:
            raise ClientStalled(stalled_s=self._stall_limit_s) from None

    async def _watch(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
