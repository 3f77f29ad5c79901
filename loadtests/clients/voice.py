"""``python -m loadtests.clients.voice PLAN REPORTS``: callers that speak and listen over plain RTP.

Every call sends one frame each 20 ms from its start to its end, speech during its utterances and
silence otherwise, on absolute deadlines. Arrivals carry the kernel's timestamps, so that a caller
who is busy does not count his own delay. An answer is the first frame with sound after an
utterance; its time runs from when the utterance's last frame was due to be over.

    in:   START (monotonic instant)      out:  ready, then done
"""

from __future__ import annotations

import gc
import heapq
import random
import select
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from loadtests.clients import rtp
from loadtests.command_line import parser_for
from loadtests.kernel_time import receive, stamp_arrivals
from loadtests.orphan import end_with_parent
from loadtests.priority import CLIENTS, hurry

_MAX_READS = 64
_LISTEN_S = 0.5
"""After its last frame a call still listens for so long."""


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One caller. `start_s` counts from the start of the run, utterances from the call's."""

    start_s: float
    duration_s: float
    utterances: tuple[tuple[float, float], ...]
    """When each begins and how long it lasts, in order."""


class VoicePlan(msgspec.Struct, frozen=True):
    """The calls of one process, all to one address."""

    host: str
    port: int
    calls: tuple[Call, ...]


class CallReport(msgspec.Struct, frozen=True):
    """What one caller saw."""

    num_sent: int
    num_received: int
    num_lost: int
    num_reordered: int
    jitter_s: float
    schedule_delays_s: list[float]
    """How late each frame left."""
    gaps_s: list[float]
    """Between arrivals."""
    answers_s: list[float | None]
    """For each utterance, from its end to the first sound; None when none came."""


@dataclass(slots=True)
class _Line:
    """A call under way."""

    call: Call
    sock: socket.socket
    ssrc: int
    voice: bytes
    num_sent: int = 0
    arrivals: rtp.Arrivals = field(default_factory=rtp.Arrivals)
    delays_s: list[float] = field(default_factory=list)
    answers_s: list[float | None] = field(default_factory=list)

    @property
    def due_s(self) -> float:
        """When the next frame is due, from the start of the run."""
        return self.call.start_s + self.num_sent * rtp.FRAME_S

    @property
    def num_frames(self) -> int:
        return round(self.call.duration_s / rtp.FRAME_S)

    def send(self, now_s: float) -> None:
        """Send the frame that is due."""
        self.delays_s.append(now_s - self.due_s)
        at_s = self.num_sent * rtp.FRAME_S
        speaks = any(begin <= at_s < begin + length for begin, length in self.call.utterances)
        begins = any(0 <= at_s - begin < rtp.FRAME_S for begin, _ in self.call.utterances)
        packet = rtp.pack(
            self.num_sent,
            self.num_sent * rtp.FRAME_SAMPLES,
            self.ssrc,
            self.voice if speaks else rtp.SILENCE,
            is_first=begins,
        )
        # Nobody listens, or there is no room: the frame is lost on its way, as on any network.
        with suppress(ConnectionRefusedError, BlockingIOError):
            self.sock.send(packet)
        self.num_sent += 1

    def take(self, datagram: bytes, at_s: float) -> None:
        """A datagram arrived; one that is no RTP is not the other side's voice."""
        try:
            packet = rtp.unpack(datagram)
        except rtp.NotRtp:
            return
        self.arrivals.take(packet, at_s)
        if not rtp.has_sound(packet.payload):
            return
        for index, (begin_s, length_s) in enumerate(self.call.utterances):
            ended_s = self.call.start_s + begin_s + length_s
            following = self.call.utterances[index + 1 : index + 2]
            until_s = self.call.start_s + following[0][0] if following else float("inf")
            if ended_s <= at_s < until_s and self.answers_s[index] is None:
                self.answers_s[index] = at_s - ended_s

    def report(self) -> CallReport:
        """At the end."""
        arrivals = self.arrivals
        return CallReport(
            self.num_sent,
            arrivals.num_received,
            arrivals.num_lost,
            arrivals.num_reordered,
            arrivals.jitter_s,
            self.delays_s,
            arrivals.gaps_s,
            self.answers_s,
        )


class Callers:
    """All calls of one process, in one thread on `select`."""

    def __init__(self, plan: VoicePlan) -> None:
        self._lines: dict[socket.socket, _Line] = {}
        for place, call in enumerate(plan.calls):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            stamp_arrivals(sock)
            sock.connect((plan.host, plan.port))
            sock.setblocking(False)
            # Noise is never mistaken for silence.
            voice = random.Random(place).randbytes(rtp.FRAME_SAMPLES)
            line = _Line(call, sock, place + 1, voice)
            line.answers_s = [None] * len(call.utterances)
            self._lines[sock] = line

    def run(self, start_s: float) -> list[CallReport]:
        """From `start_s` on the monotonic clock until all calls are over."""
        due = [(line.due_s, line.ssrc, line) for line in self._lines.values() if line.num_frames]
        heapq.heapify(due)
        ends_s = max((line.call.start_s + line.call.duration_s for _, _, line in due), default=0.0)
        kernel_start_s = start_s + time.clock_gettime(time.CLOCK_REALTIME) - time.monotonic()
        while (now_s := time.monotonic() - start_s) < ends_s + _LISTEN_S:
            while due and due[0][0] <= now_s:
                _, order, line = due[0]
                line.send(now_s)
                if line.num_sent < line.num_frames:
                    heapq.heapreplace(due, (line.due_s, order, line))
                else:
                    heapq.heappop(due)
                now_s = time.monotonic() - start_s
            next_s = due[0][0] if due else ends_s + _LISTEN_S
            readable, _, _ = select.select(list(self._lines), [], [], max(0.0, next_s - now_s))
            for sock in readable:
                self._read(self._lines[sock], kernel_start_s)
        for sock in self._lines:
            sock.close()
        return [line.report() for line in self._lines.values()]

    def _read(self, line: _Line, kernel_start_s: float) -> None:
        for _ in range(_MAX_READS):
            try:
                datagram, at_ns, _ = receive(line.sock)
            except (BlockingIOError, ConnectionRefusedError):
                return  # nobody listens yet, or no more: what is missing counts as lost
            line.take(datagram, at_ns / 1e9 - kernel_start_s)


def main() -> int:
    """Run one plan. Ends at once when whoever started it ends."""
    parser = parser_for("clients.voice", __doc__)
    parser.add_argument("plan", type=Path, help="a VoicePlan, as MessagePack")
    parser.add_argument("reports", type=Path, help="where its calls' reports go")
    args = parser.parse_args()
    end_with_parent()
    hurry(CLIENTS)
    try:
        callers = Callers(msgspec.msgpack.decode(args.plan.read_bytes(), type=VoicePlan))
        gc.freeze()
        gc.disable()
        print("ready", flush=True)
        start = sys.stdin.readline()
        if start:
            args.reports.write_bytes(msgspec.msgpack.encode(callers.run(float(start))))
            print("done", flush=True)
    except (OSError, msgspec.DecodeError) as error:
        print(f"callers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
