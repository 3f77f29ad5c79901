"""uvicorn's HTTP/1.1 protocol with what a public port needs beside it.

- A request head has a size and a time limit, so that half a request holds nothing for long.
- The application may cut a connection whose client no longer reads.
- A lost connection is noticed by the request that runs, also when another was pipelined behind it.
- What is not HTTP is refused in the shape of every other error.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.edge.http_errors import route_error_body
from gateway.edge.http_exchange import ABORT_EXTENSION

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HEAD_S: Final = 20.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""`struct linger`: on, 0 s (socket(7))."""


class SiteHttpProtocol(HttpToolsProtocol):
    """One connection."""

    _running: RequestResponseCycle | None = None
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a first request soon."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the running request; uvicorn tells only the last one received."""
        self._end_head()
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse a head that grows too long."""
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large", "the headers are too large")

    def on_message_begin(self) -> None:
        """A request line starts."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT_EXTENSION: {"call": self._abort}}
        if self._head_timer is None:
            self._begin_head()

    def on_headers_complete(self) -> None:
        """The head is in; from here on the application sets the limits."""
        self._end_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what is not HTTP."""
        self._refuse(b"400 Bad Request", msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _abort(self) -> None:
        """Reset the connection: what the client has not read is dropped, in the kernel too."""
        if self._running is not None:
            self._running.disconnected = True
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def _begin_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(MAX_HEAD_S, self._head_overdue)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(b"408 Request Timeout", "the request did not come in time")
        else:
            self.transport.close()

    def _refuse(self, status: bytes, message: str) -> None:
        self._end_head()
        body = route_error_body(message, "invalid_request")
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, len(body), body)
        )
        self.transport.close()
