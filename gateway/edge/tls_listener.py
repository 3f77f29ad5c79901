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

    Handshakes that are under way then are given up.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as handshakes:
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError as error:
                _log.error("cannot accept a connection: %s", error)
                await asyncio.sleep(_PAUSE_S)
                continue
            protocol = build()
            if not places.enter(protocol):
                client.close()
                continue
            task = handshakes.create_task(_shake_hands(client, context, protocol))
            protocol.expect(task.cancel)
            task.add_done_callback(partial(_give_back, client, places, protocol))
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
    client: socket.socket, places: ConnectionPlaces, protocol: SiteHttpProtocol, _: object
) -> None:
    """After a handshake that failed, or was given up before it began."""
    if protocol.is_expected:
        places.leave(protocol)
        client.close()
