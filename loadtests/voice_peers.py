"""The same calls at our voice worker, at Pipecat's SmallWebRTC and at FastRTC, by turns.

Each server says back what it hears and judges voice activity of it meanwhile. Callers speak all the
time, in Opus frames of 20 ms made beforehand; they are this process, and the same for all. Reported
are a server's CPU time for a call-second, all of its processes and threads together; how evenly its
frames come in, by the kernel's clock; and how long speech takes through it and back: from the
moment a packet was sent to the moment the frame came in that has its sound, found by correlation.

    python -m loadtests.voice_peers [--calls 8] [--seconds 20] [--rounds 2]

The peers live in environments of their own, made under build/voice_peers when first needed from
the package index that pip is set to. Ours first and last (ABC CBA). Needs flite.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import uvloop

from gateway.media.worker.opus import OpusDecoder
from gateway.media.worker.rtp import RtpPacket, build, parse
from gateway.media.worker.secure import Identity
from loadtests.clients.webrtc import WebRtcCaller
from loadtests.command_line import at_least, parser_for, positive
from loadtests.facts import conclude, summary_ms, verdict
from loadtests.host import HostGuard
from loadtests.local_site import ROOT
from loadtests.peer_servers.offers import ANSWER, READY
from loadtests.priority import CLIENTS, hurry
from loadtests.voice_peer import PAYLOAD_TYPE
from loadtests.voice_sessions import FRAME_S, FRAME_SAMPLES, FRAME_TICKS, Voice, cpu_s_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from numpy.typing import NDArray

SEED: Final = 6
SETTLE_S: Final = 4.0
_ENVIRONMENTS: Final = ROOT / "build" / "voice_peers"
_START_LIMIT_S: Final = 90.0
_PROBED_FRAMES, _PROBED_EVERY = 15, 25
"""0.3 s of what came back are looked for in what was sent, twice a second."""
_MAX_ECHO_S: Final = 2.0
_LEAST_LIKENESS: Final = 0.5
"""Of what came back to the place where it is found; Opus leaves 0.8 and more."""


@dataclass(frozen=True, slots=True)
class Server:
    """One of them; `package` is installed where it is not ours."""

    name: str
    package: str = ""

    @property
    def module(self) -> str:
        """What runs it."""
        return f"loadtests.peer_servers.{self.name}_server"

    def python(self) -> str:
        """The interpreter that has it, made on demand. Raises CalledProcessError."""
        if not self.package:
            return sys.executable
        python = _ENVIRONMENTS / self.name / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        install = ("-m", "pip", "install", "--quiet", self.package)
        subprocess.run([str(python), *install], check=True)
        return str(python)


SERVERS: Final = (
    Server("firsthop"),
    Server("pipecat", "pipecat-ai[webrtc,silero]==1.14.0"),
    Server("fastrtc", "fastrtc[vad]==0.0.34"),
)


@dataclass(slots=True)
class Caller:
    """One call: what was sent when, and what came back when."""

    voice: Voice
    client: WebRtcCaller = field(init=False)
    sent_s: list[float] = field(default_factory=list)
    came: list[tuple[int, int, bytes]] = field(default_factory=list)
    """RTP timestamp, arrival in ns of CLOCK_REALTIME, payload; since it counts."""
    counts: bool = False

    def __post_init__(self) -> None:
        # With a channel, since FastRTC says nothing before there is one.
        self.client = WebRtcCaller(_IDENTITY, self._take, read=lambda _: None, is_passive=True)

    def speak(self) -> None:
        """Send the next frame."""
        number = len(self.sent_s)
        payload = self.voice.packets[number % len(self.voice.packets)]
        self.sent_s.append(time.clock_gettime(time.CLOCK_REALTIME))
        packet = RtpPacket(PAYLOAD_TYPE, False, number & 0xFFFF, number * FRAME_TICKS, 77, payload)
        self.client.send(build(packet))

    def gaps_s(self) -> list[float]:
        """Between frames that follow each other."""
        pairs = zip(self.came, self.came[1:], strict=False)
        return [(b[1] - a[1]) / 1e9 for a, b in pairs if 0 < b[0] - a[0] <= FRAME_TICKS]

    def echoes_s(self) -> list[float]:
        """How long speech took to come back, twice a second."""
        decoder = OpusDecoder()
        frames = [np.frombuffer(decoder.decode(payload), "<i2") for _, _, payload in self.came]
        ends = range(_PROBED_FRAMES, len(frames), _PROBED_EVERY)
        found = (self._echo_s(frames[end - _PROBED_FRAMES : end], end - 1) for end in ends)
        return [echo_s for echo_s in found if echo_s is not None]

    def _echo_s(self, frames: Sequence[NDArray[np.int16]], last: int) -> float | None:
        heard = np.concatenate(frames).astype(float)
        came_s = self.came[last][1] / 1e9
        newest = int(np.searchsorted(self.sent_s, came_s))
        oldest = max(0, newest - round(_MAX_ECHO_S / FRAME_S))
        at = np.arange(oldest * FRAME_SAMPLES, newest * FRAME_SAMPLES)
        said = np.take(self.voice.heard, at, mode="wrap")
        place = _place_of(heard, said)
        if place is None:
            return None
        number = oldest + (place + len(heard) - 1) // FRAME_SAMPLES
        return came_s - self.sent_s[number]

    def _take(self, packet: bytes, at_ns: int) -> None:
        parsed = parse(packet)
        if parsed is not None and self.counts:
            self.came.append((parsed.timestamp, at_ns, parsed.payload))


def _place_of(heard: NDArray[np.float64], said: NDArray[np.float32]) -> int | None:
    """Where in what was said this lies; None: nowhere for certain, as in a pause."""
    if len(heard) >= len(said):
        return None
    size = len(said) + len(heard)
    spectrum = np.fft.rfft(said, size) * np.conj(np.fft.rfft(heard, size))
    products = np.fft.irfft(spectrum, size)[: len(said) - len(heard)]
    energies = np.convolve(np.square(said, dtype=float), np.ones(len(heard)), "valid")[:-1]
    likeness = products / np.sqrt(np.maximum(energies, 1.0) * max(1.0, float(heard @ heard)))
    place = int(np.argmax(likeness))
    return place if likeness[place] >= _LEAST_LIKENESS else None


_IDENTITY = Identity()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[asyncio.subprocess.Process]:
    """Its process, ready for offers. Raises TimeoutError, and RuntimeError where it ends."""
    process = await asyncio.create_subprocess_exec(
        *(server.python(), "-m", server.module),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_START_LIMIT_S):
            while await _line(process) != READY:
                continue
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None  # it was asked for
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the server ended; what it said is above")
    return line.decode().rstrip("\n")


async def _answer(process: asyncio.subprocess.Process, offer: str) -> str:
    assert process.stdin is not None  # it was asked for
    process.stdin.write(json.dumps(offer).encode() + b"\n")
    while not (line := await _line(process)).startswith(ANSWER):
        continue
    answer: str = json.loads(line.removeprefix(ANSWER))
    return answer


async def measure(server: Server, voice: Voice, num_calls: int, seconds: float) -> dict[str, Any]:
    """One pass of calls at one server."""
    async with running(server) as process, asyncio.TaskGroup() as tasks:
        callers = [Caller(voice) for _ in range(num_calls)]
        for caller in callers:
            async with asyncio.timeout(_START_LIMIT_S):
                await caller.client.connect(await _answer(process, caller.client.offer))
        speaking = tasks.create_task(_speak(callers))
        await asyncio.sleep(SETTLE_S)
        for caller in callers:
            caller.counts = True
        pids = _tree(process.pid)
        began_s, before_s = time.monotonic(), sum(map(cpu_s_of, pids))
        await asyncio.sleep(seconds)
        spent_s = sum(map(cpu_s_of, pids)) - before_s
        lasted_s = time.monotonic() - began_s
        num_threads = sum(map(_num_threads, pids))
        speaking.cancel()
        for caller in callers:
            caller.client.close()
    return {
        "server": server.name,
        "cpu_ms_per_call_s": round(1e3 * spent_s / lasted_s / num_calls, 2),
        "threads": num_threads,
        "gaps_s": [gap for caller in callers for gap in caller.gaps_s()],
        "echoes_s": [echo for caller in callers for echo in caller.echoes_s()],
    }


async def _speak(callers: Sequence[Caller]) -> None:
    """All callers' frames on absolute deadlines, spread over the 20 ms."""
    began_s, number = time.monotonic(), 0
    while True:
        for place, caller in enumerate(callers):
            due_s = began_s + FRAME_S * (number + place / len(callers))
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            caller.speak()
        number += 1


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _num_threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was measured of one server, its passes together."""
    cpu_ms = [row["cpu_ms_per_call_s"] for row in rows]
    return {
        "cpu_ms_per_call_s": round(sum(cpu_ms) / len(cpu_ms), 2),
        "cpu_ms_of_passes": cpu_ms,
        "threads": max(row["threads"] for row in rows),
        "frame_gap_ms": summary_ms([gap for row in rows for gap in row["gaps_s"]], SEED),
        "echo_ms": summary_ms([echo for row in rows for echo in row["echoes_s"]], SEED),
    }


async def run(num_calls: int, seconds: float, num_rounds: int) -> int:
    """All servers by turns; saves the result."""
    try:
        voice = Voice.record()
        for server in SERVERS:
            server.python()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        print(f"voice_peers: {error}", file=sys.stderr)
        return 1
    priority = hurry(CLIENTS)
    guard = HostGuard()
    turns = [one for n in range(num_rounds) for one in SERVERS[:: -1 if n % 2 else 1]]
    async with guard.watching_loop("callers"):
        rows = [await measure(server, voice, num_calls, seconds) for server in turns]
    guard.stop()
    servers = {
        server.name: summary([row for row in rows if row["server"] == server.name])
        for server in SERVERS
    }
    command = f"--calls {num_calls} --seconds {seconds:g} --rounds {num_rounds}"
    return conclude(
        "voice_peers",
        SEED,
        {
            "command": f"python -m loadtests.voice_peers {command}",
            "packages": [server.package for server in SERVERS if server.package],
            "calls": num_calls,
            "callers": priority,
            "servers": servers,
            "host": guard.row(),
            **verdict(guard.faults(), missed=[]),
        },
    )


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("voice_peers", __doc__)
    parser.add_argument("--calls", type=at_least(1), default=8)
    parser.add_argument("--seconds", type=positive, default=20.0)
    parser.add_argument("--rounds", type=at_least(1), default=2)
    args = parser.parse_args()
    return uvloop.run(run(args.calls, args.seconds, args.rounds))


if __name__ == "__main__":
    raise SystemExit(main())
