"""uvicorn's WebSocket protocol with what a public port needs beside it.

A connection that was taken over from HTTP keeps the place it has there until it is lost, and what
drains the site ends its session by itself, not in the middle of an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from collections.abc import Callable


class SiteWebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection, from its handshake on."""

    on_lost: Callable[[], object] | None = None
    """Called when the connection is over."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()
