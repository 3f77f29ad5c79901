"""One HTTP exchange over raw ASGI: a bounded body in, bytes out under a stall limit, and a client
that may leave at any moment.

It knows connections, not turns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from gateway.core.errors import ClientStalled, PayloadTooLarge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import Receive, Scope, Send

    from gateway.edge.http_errors import HttpHeader

CONNECTION_EXTENSION = "firsthop.connection"
"""The key in an ASGI scope's `extensions` under which our server offers the `Connection`, and
`began_s`: the monotonic instant at which the request reached this machine."""

_MAX_DISCARDED_BODIES = 8
"""How many times the body limit is read and dropped, so that the refusal reaches a client that
writes its whole body before it reads. Beyond that the connection is closed under it."""


class Connection(Protocol):
    """What ASGI does not tell of the connection a request came in by."""

    on_lost: Callable[[], object] | None
    """Called once the client is gone, while a request is being answered."""

    @property
    def is_writing_paused(self) -> bool:
        """Whether the client is behind with reading, so that a write would wait for it."""
        ...

    def reset(self) -> None:
        """Cut the connection now, dropping what the client has not read."""
        ...


class Exchange:
    """A request and its response. Every wait on the client ends after `stall_limit_s`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, stall_limit_s: float) -> None:
        self._receive = receive
        self._send = send
        self._stall_limit_s = stall_limit_s
        offered = scope["extensions"][CONNECTION_EXTENSION]
        self._connection: Connection = offered["connection"]
        self.began_s: float = offered["began_s"]
        """When the request reached this machine: monotonic seconds."""
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.started = False
        """Whether the status line has left."""

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name; of several that decide nothing the last."""
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

        The body must have been read.
        """
        task = asyncio.current_task()
        assert task is not None
        gone = False

        def leave() -> None:
            nonlocal gone
            gone = task.cancel()

        self._connection.on_lost = leave
        try:
            await work
        except asyncio.CancelledError:
            if not gone or task.uncancel():
                raise
            return False
        finally:
            self._connection.on_lost = None
        return True

    @property
    def is_behind(self) -> bool:
        """Whether the client is behind with reading, so that a write would wait for it."""
        return self._connection.is_writing_paused

    def abort(self) -> None:
        """Cut the connection now, dropping what the client has not read."""
        self._connection.reset()

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
        if not self.is_behind:
            await self._send(message)
            return
        try:
            async with asyncio.timeout(self._stall_limit_s):
                await self._send(message)
        except TimeoutError:
            raise ClientStalled(stalled_s=self._stall_limit_s) from None
