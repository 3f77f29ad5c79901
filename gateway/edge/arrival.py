"""When a request came, which may be before anybody looked: while the event loop is busy or the
process stands still, it waits in the kernel, and its caller waits with it.
"""

from __future__ import annotations

import socket
import struct
import time
from contextvars import ContextVar
from typing import Final

_LAST_DATA_RECEIVED: Final = struct.Struct("<52xI")
"""`tcpi_last_data_recv` of `struct tcp_info` (linux/tcp.h): milliseconds since data came last."""
_CLOCK_MONOTONIC_COARSE: Final = 6  # linux/time.h; it moves once a tick
_TICK_S: Final = time.clock_getres(_CLOCK_MONOTONIC_COARSE)
"""The kernel counts those milliseconds in ticks of its timer."""

call_began_s: ContextVar[float] = ContextVar("call_began_s")
"""When the gRPC call of this task was first seen, before its request was read; monotonic seconds.
The C core of gRPC does not say how long its events waited for the loop."""


def waited_s(connection: socket.socket | None) -> float:
    """How long ago data came last on a TCP connection, of which some is read just now; 0 within
    the kernel's resolution of some milliseconds, and where it does not tell."""
    if connection is None:
        return 0.0
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED.size)
    except OSError:
        return 0.0
    if len(info) < _LAST_DATA_RECEIVED.size:
        return 0.0
    (last_ms,) = _LAST_DATA_RECEIVED.unpack(info)
    last_s: float = last_ms / 1e3
    return last_s if last_s > _TICK_S else 0.0
