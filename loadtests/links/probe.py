"""``python -m loadtests.links.probe``: one site's end of the path test, run in its namespace.

It echoes datagrams and takes bulk transfers for the other sites; told `go`, it measures its own
paths and prints them. Round-trip times use the kernel's receive timestamps at both ends and leave
the time at the other site out: the scheduling of this process is not the link's.

    in:   go                     out:  ready
          (closed: end)                {"peer": ..., "rtt_s": [...], ...} for each path, then done
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from loadtests.command_line import parser_for
from loadtests.kernel_time import receive, stamp_arrivals
from loadtests.priority import PROBES, hurry

PORT = 7007
BULK_BYTES = 200_000

_PROBE = struct.Struct("!Iq")
"""Sequence number and send time, ns."""
_ECHO = struct.Struct("!Iqqq")
"""The probe's, then when it was received and sent back, ns. One machine, one clock."""
_PADDING = bytes(150)
_HEADERS_BYTES = 28  # IPv4 and UDP
PROBE_BYTES = _PROBE.size + len(_PADDING) + _HEADERS_BYTES
ECHO_BYTES = _ECHO.size + len(_PADDING) + _HEADERS_BYTES
"""On the link."""
_LENGTH = struct.Struct("!I")
_TCP_LIMIT_S = 10.0
_NUM_CONNECTS = 3


class ProbePlan(msgspec.Struct, frozen=True):
    """What one site measures."""

    peers: tuple[tuple[str, int], ...]
    """Addresses, and how many bytes to send there and back over TCP; 0: no TCP."""
    count: int
    interval_s: float
    grace_s: float
    """How long the last echoes may take."""


class PathSample(msgspec.Struct, frozen=True):
    """What one site saw of the path to another."""

    peer: str
    num_sent: int
    rtt_s: list[float]
    connect_s: float | None
    """A TCP connection's set-up; None when not asked for."""
    bulk_bytes: int
    """What was sent there and then back; 0 when not asked for."""
    bulk_s: float | None
    """From a new connection's first byte there to the first byte back."""
    both_s: float | None
    """From a new connection's first byte there to the last byte back."""
    tcp_error: str
    """Why there are no such times."""


@dataclass(slots=True)
class _Path:
    address: str
    num_sent: int = 0
    rtt_s: list[float] = field(default_factory=list)
    bulk_bytes: int = 0


class Site:
    """One site's sockets."""

    def __init__(self, address: str) -> None:
        self._echo = _datagram_socket(address, PORT)
        self._probe = _datagram_socket(address, 0)
        self._listener = socket.create_server((address, PORT), backlog=256)
        self._address = address
        self._received: dict[socket.socket, bytearray] = {}
        self._paths: dict[str, _Path] = {}

    def serve(self, plan: ProbePlan) -> None:
        """Echo until standard input closes; measure once when it says so."""
        self._paths = {
            address: _Path(address, bulk_bytes=num_bytes) for address, num_bytes in plan.peers
        }
        count, interval_s = plan.count, plan.interval_s
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
                    end_s = now_s + plan.grace_s
            if now_s >= end_s:
                end_s = float("inf")
                self._report()
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
            self._received[connection] = bytearray()
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
        """Send back as much as was announced and came; a connection may also announce nothing."""
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        received = self._received[connection]
        received += data
        if data and len(received) == _LENGTH.size + _announced(received):
            # Beside the echoing.
            sending = threading.Thread(target=_send_all, args=(connection, len(received)))
            sending.daemon = True
            sending.start()
        if not data:
            del self._received[connection]
            connection.close()

    def _report(self) -> None:
        """Time connections beside the echoing, then print everything."""
        threading.Thread(target=self._finish, daemon=True).start()

    def _finish(self) -> None:
        for path in self._paths.values():
            connect_s = bulk_s = both_s = None
            tcp_error = ""
            if path.bulk_bytes:
                try:
                    connect_s, bulk_s, both_s = _time_tcp(
                        self._address, path.address, path.bulk_bytes
                    )
                except OSError as error:
                    tcp_error = str(error)
            sample = PathSample(
                path.address,
                path.num_sent,
                path.rtt_s,
                connect_s,
                path.bulk_bytes,
                bulk_s,
                both_s,
                tcp_error,
            )
            say(msgspec.json.encode(sample).decode())
        say("done")


def _announced(received: bytearray) -> int:
    """How many bytes follow the length; more than can come before that is whole."""
    return _LENGTH.unpack_from(received)[0] if len(received) >= _LENGTH.size else 1 << 32


def _send_all(connection: socket.socket, num_bytes: int) -> None:
    with suppress(OSError):  # whoever asked has given up, and says so himself
        connection.sendall(bytes(num_bytes))


def _time_tcp(source: str, peer: str, bulk_bytes: int) -> tuple[float, float, float]:
    """The shortest of some connection set-ups, and a bulk transfer over the last, there and back.

    Only the processes can make a set-up longer than the link does, and nothing can make it shorter.
    Raises OSError.
    """
    connect_s = []
    while True:
        began_s = time.monotonic()
        with socket.create_connection((peer, PORT), _TCP_LIMIT_S, (source, 0)) as connection:
            connected_s = time.monotonic()
            connect_s.append(connected_s - began_s)
            if len(connect_s) < _NUM_CONNECTS:
                continue
            connection.sendall(_LENGTH.pack(bulk_bytes) + bytes(bulk_bytes))
            left = _LENGTH.size + bulk_bytes - len(connection.recv(1))
            bulk_s = time.monotonic() - connected_s
            while left > 0:
                data = connection.recv(1 << 16)
                if not data:
                    raise ConnectionResetError("the connection ended before its answer did")
                left -= len(data)
            return min(connect_s), bulk_s, time.monotonic() - connected_s


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
    parser = parser_for("links.probe", __doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--plan", required=True, help="a ProbePlan, as JSON")
    args = parser.parse_args()
    if (how := hurry(PROBES, children_too=True)) != "SCHED_FIFO":
        sys.stderr.write(f"probing at {how}: times include waits for the processor\n")
    Site(args.address).serve(msgspec.json.decode(args.plan, type=ProbePlan))


if __name__ == "__main__":
    main()
