"""``python -m loadtests.links.probe``: one site's end of the path test, run in its namespace.

It echoes datagrams and takes bulk transfers for the other sites; told `go`, it measures its own
paths and prints them. Round-trip times use the kernel's receive timestamps at both ends and leave
the time at the other site out: the scheduling of this process is not the link's.

    in:   go                     out:  ready
          (closed: end)                {"peer": ..., "rtt_s": [...], ...} for each path, then done
"""

from __future__ import annotations

import argparse
import select
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

import msgspec

from loadtests.kernel_time import receive, stamp_arrivals
from loadtests.priority import PROBES, hurry

PORT = 7007
BULK_BYTES = 200_000

_PROBE = struct.Struct("!Iq")
"""Sequence number and send time, ns."""
_ECHO = struct.Struct("!Iqqq")
"""The probe's, then when it was received and sent back, ns. One machine, one clock."""
_PADDING = bytes(150)
_GRACE_S = 0.5  # for the last echoes; more than the longest round trip that matters
_CONNECT_LIMIT_S = 20.0
_NUM_CONNECTS = 3


class PathSample(msgspec.Struct, frozen=True):
    """What one site saw of the path to another."""

    peer: str
    num_sent: int
    rtt_s: list[float]
    connect_s: float | None
    """A TCP connection's set-up; None when not asked for."""
    bulk_s: float | None
    """From a new connection's first byte of BULK_BYTES to the receiver's answer."""


@dataclass(slots=True)
class _Path:
    address: str
    num_sent: int = 0
    rtt_s: list[float] = field(default_factory=list)
    connect_s: float | None = None
    bulk_s: float | None = None


class Site:
    """One site's sockets."""

    def __init__(self, address: str) -> None:
        self._echo = _datagram_socket(address, PORT)
        self._probe = _datagram_socket(address, 0)
        self._listener = socket.create_server((address, PORT), backlog=256)
        self._address = address
        self._received: dict[socket.socket, int] = {}
        self._paths: dict[str, _Path] = {}

    def serve(self, paths: list[str], count: int, interval_s: float, *, bulk: bool) -> None:
        """Echo until standard input closes; measure once when it says so."""
        self._paths = {address: _Path(address) for address in paths}
        say("ready")
        due_s: float | None = None
        end_s = float("inf")
        while True:
            now_s = time.monotonic()
            if due_s is not None and now_s >= due_s:
                for path in self._paths.values():
                    self._send_probe(path)
                num_sent = max((path.num_sent for path in self._paths.values()), default=count)
                due_s = due_s + interval_s if num_sent < count else None
                if due_s is None:
                    end_s = now_s + _GRACE_S
            if now_s >= end_s:
                end_s = float("inf")
                self._report(bulk)
            wait_s = min(end_s if due_s is None else due_s, now_s + 60.0) - time.monotonic()
            readers = [self._echo, self._probe, self._listener, *self._received, sys.stdin]
            readable, _, _ = select.select(readers, [], [], max(0.0, wait_s))
            for reader in readable:
                if isinstance(reader, socket.socket):
                    self._take(reader)
                elif sys.stdin.readline() != "go\n":
                    return
                else:
                    due_s = time.monotonic()

    def _take(self, reader: socket.socket) -> None:
        if reader is self._echo:
            self._send_back()
        elif reader is self._probe:
            self._take_echo()
        elif reader is self._listener:
            connection, _ = self._listener.accept()
            self._received[connection] = 0
        else:
            self._take_bulk(reader)

    def _send_probe(self, path: _Path) -> None:
        probe = _PROBE.pack(path.num_sent, time.clock_gettime_ns(time.CLOCK_REALTIME))
        path.num_sent += 1
        self._probe.sendto(probe + _PADDING, (path.address, PORT))

    def _send_back(self) -> None:
        data, received_ns, sender = receive(self._echo)
        number, sent_ns = _PROBE.unpack_from(data)
        now_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self._echo.sendto(_ECHO.pack(number, sent_ns, received_ns, now_ns) + _PADDING, sender)

    def _take_echo(self) -> None:
        data, received_ns, sender = receive(self._probe)
        _, sent_ns, there_ns, back_ns = _ECHO.unpack_from(data)
        rtt_s = (received_ns - sent_ns - (back_ns - there_ns)) / 1e9
        self._paths[sender[0]].rtt_s.append(rtt_s)

    def _take_bulk(self, connection: socket.socket) -> None:
        data = connection.recv(1 << 16)
        self._received[connection] += len(data)
        if self._received[connection] == BULK_BYTES:
            connection.sendall(b"!")
        if not data:
            del self._received[connection]
            connection.close()

    def _report(self, bulk: bool) -> None:
        """Time connections beside the echoing, then print everything."""
        threading.Thread(target=self._finish, args=(bulk,), daemon=True).start()

    def _finish(self, bulk: bool) -> None:
        for path in self._paths.values():
            if bulk:
                path.connect_s, path.bulk_s = _time_tcp(self._address, path.address)
            sample = PathSample(
                path.address, path.num_sent, path.rtt_s, path.connect_s, path.bulk_s
            )
            say(msgspec.json.encode(sample).decode())
        say("done")


def _time_tcp(source: str, peer: str) -> tuple[float, float]:
    """The shortest of some connection set-ups, and a bulk transfer over the last of them.

    Only the processes can make a set-up longer than the link does, and nothing can make it shorter.
    """
    connect_s = []
    while True:
        began_s = time.monotonic()
        with socket.create_connection((peer, PORT), _CONNECT_LIMIT_S, (source, 0)) as connection:
            connected_s = time.monotonic()
            connect_s.append(connected_s - began_s)
            if len(connect_s) < _NUM_CONNECTS:
                continue
            connection.sendall(bytes(BULK_BYTES))
            connection.recv(1)
            return min(connect_s), time.monotonic() - connected_s


def _datagram_socket(address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stamp_arrivals(bound)
    bound.bind((address, port))
    return bound


def say(line: str) -> None:
    """A line for whoever started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.links.probe", description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--peers", default="", help="addresses to measure, with commas")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--interval-ms", type=float, default=10.0)
    parser.add_argument("--bulk", action="store_true", help="also time TCP")
    args = parser.parse_args()
    if (how := hurry(PROBES, children_too=True)) != "SCHED_FIFO":
        sys.stderr.write(f"probing at {how}: times include waits for the processor\n")
    peers = [peer for peer in args.peers.split(",") if peer]
    Site(args.address).serve(peers, args.count, args.interval_ms / 1e3, bulk=args.bulk)


if __name__ == "__main__":
    main()
