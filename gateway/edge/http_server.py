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
from gateway.edge.tls_listener import accept_tls, tls_context
from gateway.edge.websocket_protocol import SiteWebSocketProtocol

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
    is refused when all are being answered. On `websocket_paths`, WebSocket is spoken where a client
    offers it, in messages of at most `max_message_bytes`.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        tls: TlsFiles | None = None,
        drain_timeout_s: float = 30.0,
        max_connections: int = MAX_CONNECTIONS,
        websocket_paths: frozenset[bytes] = frozenset(),
        max_message_bytes: int = 1 << 20,
    ) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self._tls = tls
        self._places = ConnectionPlaces(max_connections)
        self._websocket_paths = websocket_paths
        protocol = partial(SiteHttpProtocol, places=self._places, websocket_paths=websocket_paths)
        self._server = _EmbeddedServer(
            uvicorn.Config(
                app,
                # uvicorn only ever calls it, with its own arguments.
                http=cast("type[asyncio.Protocol]", protocol),
                ws=SiteWebSocketProtocol,
                ws_max_size=max_message_bytes,
                ws_per_message_deflate=False,  # sound in base64 gains little and costs CPU
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(drain_timeout_s),
            )
        )

    async def serve(self) -> None:
        """Serve until `stop`, then until all responses are out or the drain time is over.

        Cancelled, it closes what it opened and drops what is under way. Raises SetupError for a
        certificate that cannot be used.
        """
        try:
            self._server.config.load()
            if self._tls is None:
                await self._server.serve([self._listener])
            else:
                await self._serve_tls(self._tls)
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
            if isinstance(connection, SiteHttpProtocol):  # sessions end when they are asked to
                connection.shutdown()

    def stop(self) -> None:
        """Accept nothing new, close idle connections, let `serve` return when the rest is done."""
        self._server.should_exit = True

    async def _serve_tls(self, files: TlsFiles) -> None:
        """uvicorn has the connections from the handshake on, and no listener."""
        context = tls_context(files.certificate, files.private_key)
        async with asyncio.TaskGroup() as tasks:
            self._server.accepting_task = tasks.create_task(
                accept_tls(self._listener, context, self._places, self._protocol)
            )
            await self._server.serve([])

    def _protocol(self) -> SiteHttpProtocol:
        server = self._server
        return SiteHttpProtocol(
            server.config,
            server.server_state,
            server.lifespan.state,
            places=self._places,
            websocket_paths=self._websocket_paths,
        )


class _EmbeddedServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()
        self.accepting_task: asyncio.Task[None] | None = None
        """Where connections do not come in by uvicorn's own listeners."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.accepting_task is not None:
            self.accepting_task.cancel()
        await super().shutdown(sockets)

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
