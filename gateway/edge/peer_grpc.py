"""The port on which peers open their links.

Who a peer is, its certificate says: with a certificate authority both sides of a link prove
themselves. Without one a peer is believed its name, so plain text is for loopback, or for a
network the operator vouches for. What a caller says of itself decides nothing but whom its turns
are counted for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import grpc

from gateway.core.errors import GatewayError, SetupError, Unauthenticated
from gateway.edge.grpc_call import status_code_of
from gateway.edge.http_server import bind_listener
from gateway.edge.peer_link import InboundLink, LinkOver
from gateway.wire.peer_frames import MAX_MESSAGE_BYTES, METHOD, PROTOCOL, FrameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.edge.peer_link import PeerContract, ServesPeers
    from gateway.peers.tls import PeerTls
    from gateway.wire.peer_frames import Hello

    _Refusal = tuple[grpc.StatusCode, str]
    Context = grpc.aio.ServicerContext[bytes, bytes]

_logger = logging.getLogger(__name__)

MAX_LINKS: Final = 1024
_FIRST_BAN_S, _MAX_BAN_S = 5.0, 60.0
"""How long a proven peer that broke the rules is kept out; doubled each time."""
_LAST_WRITE_LIMIT_S = 1.0
"""A caller that does not read what was said last keeps its call open, without turns, until its
connection fails to answer a ping."""
_IDENTITY_ONLY: Final = 1 << 0
_MAX_STREAMS: Final = 16
"""Of one connection, which needs one. gRPC counts those reset before they were served too, so
that nobody has the links of others cancelled by opening and resetting them fast."""


class PeerServer:
    """The listener, from `start` to `stop`."""

    def __init__(
        self,
        router: ServesPeers,
        contract: PeerContract,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router = router
        self._contract = contract
        self._monotonic = monotonic
        self._links: set[InboundLink] = set()
        self._proven: dict[str, InboundLink] = {}
        """The link of each peer that has proven its name."""
        self._bans: dict[str, tuple[float, float]] = {}
        """For proven peers: until when, and how long the next one is."""
        self._is_draining = False
        self._server: grpc.aio.Server | None = None
        self.port = 0

    @property
    def num_turns(self) -> int:
        """Turns of peers that are being served."""
        return sum(link.num_turns for link in self._links)

    async def start(
        self, host: str, port: int, tls: PeerTls | None, *, max_connections: int = MAX_LINKS
    ) -> None:
        """Listen. Raises PortInUse, SetupError."""
        bind_listener(host, port).close()
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_metadata_size", 16 << 10),
            ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
            ("grpc.server_handshake_timeout_ms", 10_000),
            ("grpc.max_allowed_incoming_connections", max_connections),
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MAX_LINKS)
        service, name = METHOD.strip("/").split("/")
        link = grpc.stream_stream_rpc_method_handler(self._link)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {name: link}),)
        )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port = (
                server.add_insecure_port(address)
                if tls is None
                else server.add_secure_port(address, tls.for_listener())
            )
        except RuntimeError as error:
            raise SetupError(f"cannot listen on {address}: {error}") from error
        await server.start()
        self._server = server

    def drain(self) -> None:
        """Take no new turns; peers are told."""
        self._is_draining = True
        for link in self._links:
            link.drain()

    async def stop(self, *, grace_s: float) -> None:
        """Give back what runs, so that it goes on elsewhere, then cut what is left."""
        self.drain()
        for link in self._links:
            link.close()
        if self._server is not None:
            await self._server.stop(grace_s)

    async def _link(self, _: object, context: Context) -> None:
        names = _proven_names(context)

        def admit(hello: Hello, link: InboundLink) -> None:
            self._admit(hello, link, names)

        link = InboundLink(
            context,
            self._router,
            self._contract,
            admit_caller=admit,
            is_draining=self._is_draining,
            monotonic=self._monotonic,
        )
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(link.write())
                refusal = await self._serve(link, names)
                await asyncio.wait({writing}, timeout=_LAST_WRITE_LIMIT_S)
                writing.cancel()
            if refusal is not None:
                await context.abort(*refusal)
        finally:
            self._forget(link)

    async def _serve(self, link: InboundLink, names: frozenset[str] | None) -> _Refusal | None:
        """Serve a link to its end; the status it ends with, when that is not a good one."""
        try:
            await link.run()
        except LinkOver:
            return None
        except FrameError as error:
            caller = self._ban(link, names)
            _logger.warning("peer %s broke the link's rules: %s", caller, error)
            return grpc.StatusCode.INVALID_ARGUMENT, str(error)[:200]
        except GatewayError as error:
            return status_code_of(error), error.message
        return None

    def _admit(self, hello: Hello, link: InboundLink, names: frozenset[str] | None) -> None:
        """Let a caller in, or raise Unauthenticated; a proven one leaves its older link."""
        if hello.protocol != PROTOCOL:
            raise Unauthenticated(f"this site speaks protocol {PROTOCOL}, not {hello.protocol}")
        if hello.site == self._contract.hello.site:
            raise Unauthenticated(f"{hello.site} is this site itself")
        if names is None:
            return
        if hello.site not in names:
            raise Unauthenticated(f"the certificate is not {hello.site}'s")
        until_s, _ = self._bans.get(hello.site, (0.0, 0.0))
        if self._monotonic() < until_s:
            raise Unauthenticated(f"{hello.site} broke the link's rules and is kept out")
        older = self._proven.get(hello.site)
        if older is not None:
            older.close()
        self._proven[hello.site] = link

    def _ban(self, link: InboundLink, names: frozenset[str] | None) -> str:
        """Keep out a proven peer for a while; who it was. An unproven one may be anybody."""
        if link.caller is None:
            return "(unnamed)"
        site = link.caller.site
        if names is not None:
            _, ban_s = self._bans.get(site, (0.0, _FIRST_BAN_S))
            self._bans[site] = (self._monotonic() + ban_s, min(2 * ban_s, _MAX_BAN_S))
        return site

    def _forget(self, link: InboundLink) -> None:
        self._links.discard(link)
        if link.caller is not None and self._proven.get(link.caller.site) is link:
            del self._proven[link.caller.site]


def _proven_names(context: Context) -> frozenset[str] | None:
    """The names in the caller's certificate; None on plain text."""
    proof = context.auth_context()
    if b"ssl" not in proof.get("transport_security_type", ()):
        return None
    kinds = ("x509_common_name", "x509_subject_alternative_name")
    return frozenset(
        name.decode("utf-8", "replace") for kind in kinds for name in proof.get(kind, ())
    )
