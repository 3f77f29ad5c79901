"""The TUN back end: one thread that moves every packet of every site when its time has come.

A dedicated thread with `select` and absolute deadlines keeps within a fraction of a millisecond
where an event loop rounds to whole ones. It reads IPv4 packets from each site's TUN device and
writes them to the destination's, after what the delay line of that direction says.
"""

from __future__ import annotations

import errno
import gc
import heapq
import os
import select
import time
from typing import TYPE_CHECKING

from loadtests.links.delay_line import DelayLine

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from loadtests.links.delay_line import LineCounters
    from loadtests.links.matrix import LinkMatrix

_PACKET_BYTES = 1 << 16
_MAX_READS = 64  # of one device before the others and the deadlines have their turn
_IPV4_HEADER_BYTES = 20


class Forwarder:
    """Devices by the place of their site, and a delay line for every direction."""

    def __init__(self, matrix: LinkMatrix, fds: list[int], seed: int) -> None:
        self._matrix = matrix
        self._fds = fds
        size = len(matrix.sites)
        self._lines: list[list[DelayLine | None]] = [[None] * size for _ in range(size)]
        for one, other, link in matrix.links:
            i, j = matrix.sites.index(one), matrix.sites.index(other)
            self._lines[i][j] = DelayLine(link, hash((seed, i, j)))
            self._lines[j][i] = DelayLine(link, hash((seed, j, i)))
        self._apart: frozenset[int] = frozenset()
        self._waiting: list[tuple[float, int, int, DelayLine, bytes]] = []
        self._num_entered = 0

    def run(self, control: socket.socket, on_control: Callable[[], bool]) -> None:
        """Forward until `on_control`, called when `control` is readable, returns False."""
        gc.disable()
        source_of = {fd: place for place, fd in enumerate(self._fds)}
        readers: list[int | socket.socket] = [*self._fds, control]
        while True:
            wait_s = None
            if self._waiting:
                wait_s = max(0.0, self._waiting[0][0] - time.monotonic())
            readable, _, _ = select.select(readers, [], [], wait_s)
            for reader in readable:
                if isinstance(reader, int):
                    self._read(reader, source_of[reader])
                elif not on_control():
                    return
            self._write_due()

    def split(self, apart: tuple[str, ...]) -> None:
        """From now on nothing that is sent passes between these sites and the others."""
        self._apart = frozenset(self._matrix.sites.index(site) for site in apart)

    def counters(self) -> list[LineCounters]:
        """Of every direction."""
        sites = self._matrix.sites
        return [
            line.counters(sites[i], sites[j])
            for i, lines in enumerate(self._lines)
            for j, line in enumerate(lines)
            if line is not None
        ]

    def _read(self, fd: int, source: int) -> None:
        """Take what a site sent; what is not for another site within reach goes nowhere."""
        lines, is_apart = self._lines[source], source in self._apart
        for _ in range(_MAX_READS):
            try:
                packet = os.read(fd, _PACKET_BYTES)
            except BlockingIOError:
                return
            if len(packet) < _IPV4_HEADER_BYTES or packet[0] >> 4 != 4:
                continue
            place = packet[19] - 1
            line = lines[place] if 0 <= place < len(lines) else None
            if line is None or is_apart is not (place in self._apart):
                continue
            due_s = line.enter(time.monotonic(), len(packet))
            if due_s is not None:
                self._num_entered += 1
                entry = (due_s, self._num_entered, self._fds[place], line, packet)
                heapq.heappush(self._waiting, entry)

    def _write_due(self) -> None:
        waiting = self._waiting
        now_s = time.monotonic()
        while waiting and waiting[0][0] <= now_s:
            due_s, _, fd, line, packet = heapq.heappop(waiting)
            try:
                os.write(fd, packet)
            except OSError as error:
                # Full, or the site's device is down: a network loses such packets too.
                if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.EIO):
                    raise
                line.num_dropped += 1
            now_s = time.monotonic()
            line.leave(now_s - due_s)
