"""The gRPC listener of a site: AgentService, health and reflection on one port."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined] # not in the stubs
from grpc_reflection.v1alpha import reflection

from gateway.core.errors import SetupError
from gateway.edge.agent_grpc import SERVICE_NAME, AgentService
from gateway.edge.grpc_places import MAX_OPEN_CALLS, REFUSAL_PLACES, WATCH_LIMIT_S, CallPlaces
from gateway.edge.http_server import bind_listener

if TYPE_CHECKING:
    from gateway.edge.desk import Desk
    from gateway.edge.http_server import TlsFiles
    from gateway.session.surviving import SurvivingSessions

MAX_CONNECTIONS: Final = 1024
"""One more is closed at once; many calls share a connection."""
MAX_MESSAGE_BYTES: Final = 1 << 20
MAX_CONCURRENT_CALLS: Final = 1024
"""Of agents, sessions included; one more is refused with RESOURCE_EXHAUSTED."""
CONNECTION_IDLE_S: Final = 300.0
"""A connection without a call gives up its place then. Its client connects again by itself."""
STALL_LIMIT_S: Final = 30.0
SESSION_IDLE_LIMIT_S: Final = 600.0
_IDENTITY_ONLY: Final = 1 << 0
"""No compression: a small message could inflate to the size limit many times a second."""
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
    # A peer that vanished without a word is noticed within 40 s and its turns end.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.server_handshake_timeout_ms", 10_000),
)


class _Health(Protocol):
    """The part of grpc_health's asyncio servicer that is used here."""

    async def set(self, service: str, status: int) -> None: ...
    async def enter_graceful_shutdown(self) -> None: ...


class GrpcServer:
    """A running listener; made by `start_grpc_server`."""

    def __init__(
        self,
        server: grpc.aio.Server,
        agent: AgentService,
        health_service: _Health,
        port: int,
    ) -> None:
        self._server = server
        self._agent = agent
        self._health = health_service
        self.port = port

    async def drain(self) -> None:
        """Say NOT_SERVING and end idle sessions; running turns go on."""
        await self._health.enter_graceful_shutdown()
        self._agent.drain()

    async def stop(self, *, grace_s: float) -> None:
        """Drain, take no new calls, give running ones `grace_s`, then cut them."""
        await self.drain()
        await self._server.stop(grace_s)


async def start_grpc_server(
    desk: Desk,
    *,
    host: str,
    port: int,
    tls: TlsFiles | None = None,
    stall_limit_s: float = STALL_LIMIT_S,
    session_idle_limit_s: float = SESSION_IDLE_LIMIT_S,
    max_connections: int = MAX_CONNECTIONS,
    connection_idle_s: float = CONNECTION_IDLE_S,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    max_concurrent_calls: int = MAX_CONCURRENT_CALLS,
    max_open_calls: int = MAX_OPEN_CALLS,
    watch_limit_s: float = WATCH_LIMIT_S,
    surviving: SurvivingSessions | None = None,
) -> GrpcServer:
    """Listen on `host`:`port` (0: a free one); open calls are those that need no key.

    Without `surviving` sessions end with their call.

    Raises PortInUse, SetupError.
    """
    # gRPC does not say why it cannot bind; a socket of our own does.
    bind_listener(host, port).close()
    places = CallPlaces(
        SERVICE_NAME,
        desk.gatekeeper,
        max_agent_calls=max_concurrent_calls,
        max_open_calls=max_open_calls,
        watch_limit_s=watch_limit_s,
        stall_limit_s=stall_limit_s,
    )
    max_calls = max_concurrent_calls + 2 * max_open_calls + REFUSAL_PLACES
    limits = {
        "grpc.max_allowed_incoming_connections": max_connections,
        "grpc.max_connection_idle_ms": round(connection_idle_s * 1e3),
        # With a limit gRPC also counts streams that were reset before they were served. Without
        # one, whoever opens and resets them fast has the calls of all others cancelled.
        "grpc.max_concurrent_streams": max_calls,
        # Beyond these it cancels at random, and then all: no connection alone brings that about.
        "grpc.server.max_pending_requests": 2 * max_calls,
        "grpc.server.max_pending_requests_hard_limit": 4 * max_calls,
        "grpc.max_receive_message_length": max_message_bytes,
    }
    server = grpc.aio.server(
        interceptors=[places],
        options=[*limits.items(), *_OPTIONS],
        maximum_concurrent_rpcs=max_calls,
    )
    agent = AgentService(
        desk,
        stall_limit_s=stall_limit_s,
        session_idle_limit_s=session_idle_limit_s,
        surviving=surviving,
    )
    server.add_generic_rpc_handlers((agent.handlers(),))
    health_service = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    await health_service.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
    names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    bound_port = _bind(server, _address(host, port), tls)
    await server.start()
    return GrpcServer(server, agent, health_service, bound_port)


def _bind(server: grpc.aio.Server, address: str, tls: TlsFiles | None) -> int:
    try:
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, _credentials(tls))
    except RuntimeError as error:
        raise SetupError(f"cannot listen on {address}: {error}") from error


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    try:
        chain, key = Path(tls.certificate).read_bytes(), Path(tls.private_key).read_bytes()
    except OSError as error:
        raise SetupError(f"the TLS certificate or key cannot be used: {error}") from error
    return grpc.ssl_server_credentials([(key, chain)])


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
