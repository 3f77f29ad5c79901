"""An HTTP listener inside a running event loop: uvicorn without its hold on the process.

The process, not the server, owns signals, sockets and logging.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import msgspec
import uvicorn

from gateway.core.errors import PortInUse, SetupError
from gateway.edge.connection_places import ConnectionPlaces
from gateway.edge.http_protocol import SiteHttpProtocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.types import ASGIApp

MAX_CONNECTIONS: Final = 1024
_KEEP_ALIVE_S = 75
"""Longer than the idle time of common client pools, so that they close first and no request is
sent into a connection that is just closing."""
_BACKLOG = 2048
_SEND_BUFFER_BYTES = 256 * 1024
"""What a client that stops reading can pin in the kernel; a token stream never fills it."""


class TlsFiles(msgspec.Struct, frozen=True):
    """Paths of a PEM certificate chain and its private key."""

    certificate: str
    private_key: str


def bind_listener(host: str, port: int) -> socket.socket:
    """A bound TCP socket, not listening yet; port 0 takes a free one.

    Raises PortInUse, and SetupError for an address this host cannot bind.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # Connections of an earlier run in TIME_WAIT do not hold the port; a listener still does.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)  # inherited
    listener.setblocking(False)
    address = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
    try:
        listener.bind((host, port))
        # Two sockets may both be bound with SO_REUSEADDR; only one of them may listen.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(address) from None
        raise SetupError(f"cannot listen on {address}: {error.strerror or error}") from error
    return listener


class HttpServer:
    """Serves one ASGI application on one listener, which it closes in the end.

    Beyond `max_connections` a new connection takes the place of one that waits for a request, or
    is refused when all are being answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        tls: TlsFiles | None = None,
        drain_timeout_s: float = 30.0,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        protocol = partial(SiteHttpProtocol, places=ConnectionPlaces(max_connections))
        self._server = _EmbeddedServer(
            uvicorn.Config(
                app,
                # uvicorn only ever calls it, with its own arguments.
                http=cast("type[asyncio.Protocol]", protocol),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(drain_timeout_s),
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.private_key if tls else None,
            )
        )

    async def serve(self) -> None:
        """Serve until `stop`, then until all responses are out or the drain time is over.

        Cancelled, it closes what it opened and drops what is under way. Raises SetupError for a
        certificate that cannot be used.
        """
        try:
            self._server.config.load()
        except OSError as error:  # ssl.SSLError is one
            self._listener.close()
            raise SetupError(f"the TLS certificate or key cannot be used: {error}") from error
        try:
            await self._server.serve([self._listener])
        except asyncio.CancelledError:
            self._server.drop_all()
            raise
        finally:
            self._listener.close()

    async def wait_started(self) -> None:
        """Return once connections are accepted."""
        await self._server.accepting.wait()

    def drain(self) -> None:
        """Close idle connections now, the others after their answer; new ones are still served."""
        for connection in list(self._server.server_state.connections):
            connection.shutdown()

    def stop(self) -> None:
        """Accept nothing new, close idle connections, let `serve` return when the rest is done."""
        self._server.should_exit = True


class _EmbeddedServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def drop_all(self) -> None:
        for server in getattr(self, "servers", ()):
            server.close()
        for task in self.server_state.tasks:
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.close()
