"""Datagrams with the kernel's receive timestamps (Linux, SO_TIMESTAMPNS)."""

from __future__ import annotations

import socket
import struct
import time

_SO_TIMESTAMPNS = 35  # the socket module has no name for it
_TIMESPEC = struct.Struct("qq")
_ANCILLARY_BYTES = 64
_DATAGRAM_BYTES = 2048


def stamp_arrivals(sock: socket.socket) -> None:
    """Let the kernel note when each datagram arrives."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def receive(sock: socket.socket) -> tuple[bytes, int, tuple[str, int]]:
    """A datagram, when it arrived (CLOCK_REALTIME, ns), and its sender. Raises OSError."""
    data, ancillary, _, sender = sock.recvmsg(_DATAGRAM_BYTES, _ANCILLARY_BYTES)
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return data, seconds * 1_000_000_000 + nanoseconds, sender
    return data, time.clock_gettime_ns(time.CLOCK_REALTIME), sender
