"""``python -m gateway.media.worker --fd N``: a voice worker, at one end of a socket pair."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import uvloop

from gateway.core.errors import GatewayError
from gateway.media.frames import (
    NUM_SPARE_LINES,
    Failed,
    Ready,
    SiteFrame,
    Start,
    WorkerFrame,
    site_frames,
)
from gateway.media.worker.exchange import Exchange
from gateway.media.worker.opus import library
from gateway.media.worker.peer_call import Patience
from gateway.media.worker.udp_port import PortLimits, UdpPort
from gateway.runtime.child_process import FramePipe
from gateway.runtime.garbage import settle_garbage
from gateway.runtime.parent_process import meet_parent

if TYPE_CHECKING:
    import socket

    from gateway.runtime.frames import FrameDecoder

_STATS_EVERY_S = 1.0


def main() -> int:
    """Serve the site at the other end; 0 when it is gone, 1 when serving is impossible."""
    decoder = site_frames()
    sock, (start, *pending) = meet_parent("gateway.media.worker", __doc__, decoder)
    if not isinstance(start, Start):
        raise ValueError(f"the first frame must be Start, not {type(start).__name__}")
    return uvloop.run(_serve(sock, decoder, start, pending))


async def _serve(
    sock: socket.socket, decoder: FrameDecoder[SiteFrame], start: Start, pending: list[SiteFrame]
) -> int:
    pipe: FramePipe[WorkerFrame, SiteFrame] = FramePipe(decoder, pending.extend, name="site")
    await asyncio.get_running_loop().create_unix_connection(lambda: pipe, sock=sock)
    try:
        library()
        port = await _open_port(start)
    except GatewayError as error:
        pipe.send(Failed(str(error)))
        pipe.close()
        await pipe.lost.wait()
        return 1
    exchange = Exchange(start, port, pipe.send)
    settle_garbage()
    pipe.send(Ready(port.advertised[1]))
    pipe.receive = exchange.receive
    pipe.hand_on(pending)
    while not pipe.lost.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATS_EVERY_S):
                await pipe.lost.wait()
        pipe.send(exchange.stats())
    exchange.close()
    port.close()
    return 0


async def _open_port(start: Start) -> UdpPort:
    return await UdpPort.open(
        start.host,
        start.port,
        advertised=(start.advertised_host, 0) if start.advertised_host else None,
        limits=PortLimits(
            max_num_calls=start.max_num_calls + NUM_SPARE_LINES,
            calls_per_s=start.calls_per_s,
            patience=Patience(lost_s=start.lost_s, grace_s=start.grace_s),
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
