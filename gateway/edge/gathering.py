"""A transport that sends a response's head together with what follows it.

Each write is a system call that may wake the client, which then competes with the site for the
CPU before the first content is out. The head therefore waits for the body's first bytes, at most
until the event loop's next turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_HEAD, _INTERIM = b"HTTP/1.1 ", b"HTTP/1.1 1"


class GatheringTransport:
    """Stands in for a connection's transport; all but writing and closing is the transport's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, with the head that waits; a final response's head itself waits."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_INTERIM):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close once everything is sent."""
        self._flush()
        self._transport.close()

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left, the waiting head's included."""
        return self._transport.get_write_buffer_size() + len(self._head)

    def _flush(self) -> None:
        if self._head and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = b""
