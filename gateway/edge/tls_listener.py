"""Accepts TLS connections, each of which has its place before it has shaken hands.

A server of the event loop's own shows a connection to its protocol only after the handshake. Until
then nobody would count it, and whoever opens connections and says nothing could take every file
that the site may open, its other listeners' too.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.core.errors import SetupError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gateway.edge.connection_places import ConnectionPlaces
    from gateway.edge.http_protocol import SiteHttpProtocol

_log = logging.getLogger(__name__)

HANDSHAKE_S: Final = 10.0
REFUSAL_PLACES: Final = 16
"""For connections beyond the listener's own: only after a handshake can they read a refusal."""
_PAUSE_S: Final = 0.1
"""Before the next try to accept, after one that failed: out of files, most likely."""


def tls_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """For a server with these PEM files. Raises SetupError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, private_key)
    except OSError as error:  # ssl.SSLError is one
        raise SetupError(f"the TLS certificate or key cannot be used: {error}") from error
    return context


async def accept_tls(
    listener: socket.socket,
    context: ssl.SSLContext,
    places: ConnectionPlaces,
    build: Callable[[], SiteHttpProtocol],
) -> None:
    """Give each connection to a protocol that `build` makes, until cancelled.

    One without a place is refused by its protocol, or closed when too many are being refused.
    Handshakes that are under way when cancelled are given up.
    """
    loop = asyncio.get_running_loop()
    refusing: set[SiteHttpProtocol] = set()
    async with asyncio.TaskGroup() as handshakes:
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError as error:
                _log.error("cannot accept a connection: %s", error)
                await asyncio.sleep(_PAUSE_S)
                continue
            protocol = build()
            has_place = places.enter(protocol)
            if not has_place:
                if len(refusing) >= REFUSAL_PLACES:
                    client.close()
                    continue
                refusing.add(protocol)
                protocol.on_lost = partial(refusing.discard, protocol)
            task = handshakes.create_task(_shake_hands(client, context, protocol))
            if has_place:
                protocol.expect(task.cancel)
            task.add_done_callback(partial(_give_back, client, places, refusing, protocol))
            await asyncio.sleep(0)  # however many knock, the others have their turn


async def _shake_hands(
    client: socket.socket, context: ssl.SSLContext, protocol: SiteHttpProtocol
) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):  # no TLS, no common version, too slow, or gone: the client's affair
        await loop.connect_accepted_socket(
            lambda: protocol, client, ssl=context, ssl_handshake_timeout=HANDSHAKE_S
        )


def _give_back(
    client: socket.socket,
    places: ConnectionPlaces,
    refusing: set[SiteHttpProtocol],
    protocol: SiteHttpProtocol,
    _: object,
) -> None:
    """After a handshake, or one that was given up before it began."""
    if not protocol.is_refused:  # it failed, or a place became free in the meantime
        refusing.discard(protocol)
    if not protocol.is_connected:
        places.leave(protocol)
        client.close()
