"""What a voice session costs a site's voice worker, and what it does to sound.

Calls with speech both ways all the time; the same over a path that loses 2 % of the packets and
delays each by up to 20 ms; and calls of 40 % caller, 40 % agent, 20 % nobody, whose clients send
nothing in silence. One worker carries them; the callers and the site's side of the calls are this
process. Reported are the worker's CPU time for each second of each call, voice activity included;
how evenly an agent's frames come in, by the kernel's clock; and how long the caller's sound takes:
from the moment its packet was sent to the moment the conversation has the window that it completes.

    python -m loadtests.voice_sessions [--calls 20] [--seconds 30]

Exits with 1 when the run does not count or misses a target: 25 ms CPU for a call-second, frame
gaps p99 40 ms, and on the bad path a sound latency of 25 ms p50 and 60 ms p99. Needs flite.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import uvloop

from gateway.core.voice_line import HEARD_HZ, SAID_HZ, WINDOW_S, CallerSound, PlayEnded
from gateway.media.client import VoiceWorkers
from gateway.media.frames import Start
from gateway.media.worker.opus import OpusDecoder, OpusEncoder
from gateway.media.worker.rtp import RtpPacket, build, parse
from gateway.media.worker.secure import Identity
from gateway.speech.resample import Resampler
from loadtests.clients.webrtc import WebRtcCaller
from loadtests.command_line import at_least, parser_for, positive
from loadtests.facts import conclude, summary_ms, verdict
from loadtests.host import HostGuard
from loadtests.priority import CLIENTS, hurry
from loadtests.voice_peer import PAYLOAD_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gateway.media.lines import CallLine

SEED: Final = 6
MAX_CPU_MS, MAX_GAP_MS, MAX_P50_MS, MAX_P99_MS = 25.0, 40.0, 25.0, 60.0
FRAME_S, FRAME_TICKS, FRAME_SAMPLES = 0.02, 960, HEARD_HZ // 50
SETTLE_S = 3.0
"""Of every phase, before anything counts."""
_CYCLE_S, _SPEAKS_S, _ANSWERED_S = 10.0, 4.0, 8.0
_COMFORT_FRAMES = 20
_KNOWN_BYTES = HEARD_HZ
"""Half a second of sound has a place of its own in what is said."""
TEXT = (
    "hello, i would like to know my current balance, and how much data i have left this month. "
    "i am also going to travel to portugal next week, so please tell me what roaming costs there. "
    "and there is a payment in my last bill that i do not understand, can you explain it to me"
)


@dataclass(frozen=True, slots=True)
class Phase:
    """How the calls of a phase talk, and over what."""

    name: str
    takes_turns: bool = False
    loss: float = 0.0
    jitter_s: float = 0.0

    def speaks(self, at_s: float) -> bool:
        """Whether the caller speaks so long after the call's begin."""
        return not self.takes_turns or at_s % _CYCLE_S < _SPEAKS_S

    def is_answered(self, at_s: float) -> bool:
        """Whether the agent does."""
        return not self.takes_turns or _SPEAKS_S <= at_s % _CYCLE_S < _ANSWERED_S


PHASES = (
    Phase("both speak"),
    Phase("bad path", loss=0.02, jitter_s=0.02),
    Phase("take turns", takes_turns=True),
)


@dataclass(frozen=True, slots=True)
class Voice:
    """A recording as a caller's packets, as what a receiver decodes, and as an agent's sound."""

    packets: tuple[bytes, ...]
    heard: NDArray[np.float32]
    said: bytes

    @classmethod
    def record(cls) -> Voice:
        """Speech by flite, coded as browsers do: for voice, with redundancy."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            subprocess.run(["flite", "-voice", "slt", "-t", TEXT, "-o", str(path)], check=True)
            with wave.open(str(path)) as file:
                said = Resampler(HEARD_HZ, SAID_HZ).feed(file.readframes(file.getnframes()))
        encoder, decoder = OpusEncoder(bitrate_bps=24_000, complexity=9), OpusDecoder()
        encoder.adapt(0.05)
        frames = [said[at : at + 960] for at in range(0, len(said) - 960, 960)]
        packets = tuple(encoder.encode(frame) for frame in frames)
        heard = np.frombuffer(b"".join(map(decoder.decode, packets)), "<i2").astype(np.float32)
        return cls(packets, heard, said)


@dataclass(slots=True)
class Caller:
    """One call, both of its ends."""

    phase: Phase
    voice: Voice
    line: CallLine
    client: WebRtcCaller | None = None
    begun_s: float = 0.0
    num_frames: int = 0
    num_sent: int = 0
    gaps_s: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    counts: bool = False
    _sent_s: dict[int, float] = field(default_factory=dict)
    _last: tuple[int, int, int] | None = None
    _offset: int | None = None
    _known: bytes = b""
    _utterance: int = 0

    def frame(self, now_s: float) -> bytes | None:
        """The packet of the frame that is due; None: nothing is sent in silence."""
        number, self.num_frames = self.num_frames, self.num_frames + 1
        if self.phase.speaks(number * FRAME_S):
            payload = self.voice.packets[number % len(self.voice.packets)]
        elif number % _COMFORT_FRAMES and not self.phase.speaks((number - 1) * FRAME_S):
            return None
        else:
            payload = bytes((self.voice.packets[0][0] & 0xFC,))
        self._sent_s[number] = now_s
        self.num_sent += 1
        return build(
            RtpPacket(PAYLOAD_TYPE, False, self.num_sent, number * FRAME_TICKS, 77, payload)
        )

    def take(self, packet: bytes, at_ns: int) -> None:
        """A frame of the agent came in."""
        parsed = parse(packet)
        if parsed is None:
            return
        last, self._last = self._last, (parsed.sequence, parsed.timestamp, at_ns)
        if last is not None and self.counts:
            follows = parsed.sequence == (last[0] + 1) & 0xFFFF
            if follows and parsed.timestamp == (last[1] + FRAME_TICKS) & 0xFFFFFFFF:
                self.gaps_s.append((at_ns - last[2]) / 1e9)

    async def converse(self) -> None:
        """The conversation's side: listen, and keep the agent talking while it is its turn."""
        async for event in self.line.events():
            now_s = time.monotonic()
            if isinstance(event, CallerSound):
                self._listen(event, now_s)
                if not self._utterance and self.phase.is_answered(now_s - self.begun_s):
                    self._answer()
            elif isinstance(event, PlayEnded):
                self._utterance = -self._utterance
                if self.phase.is_answered(now_s - self.begun_s):
                    self._answer()

    def _answer(self) -> None:
        self._utterance = abs(self._utterance) + 1
        length = len(self.voice.said)
        size = int(48_000 * (_ANSWERED_S - _SPEAKS_S)) if self.phase.takes_turns else length
        self.line.say(self._utterance, self.voice.said[:size], is_last=True)

    def _listen(self, sound: CallerSound, now_s: float) -> None:
        """Find the window's last sample among the packets that were sent."""
        end = round((sound.start_s + WINDOW_S * len(sound.speech)) * HEARD_HZ)
        if self.phase.takes_turns:
            return  # what comes after silence has another place each time
        if self._offset is None:
            self._known = (self._known + sound.pcm)[-_KNOWN_BYTES:]
            if not self.counts or len(self._known) < _KNOWN_BYTES:
                return
            self._offset = end - self._place(np.frombuffer(self._known, "<i2"))
        number = (end - self._offset - 1) // FRAME_SAMPLES
        if sound.pcm and (sent_s := self._sent_s.get(number)) is not None:
            self.latencies_s.append(now_s - sent_s)

    def _place(self, known: NDArray[np.int16]) -> int:
        """Where the end of what was heard last lies in what was said, in samples."""
        newest = self.num_frames * FRAME_SAMPLES
        said_at = np.arange(newest - 4 * len(known), newest)
        said = np.take(self.voice.heard, said_at, mode="wrap")
        spectrum = np.fft.rfft(said) * np.conj(np.fft.rfft(known.astype(float), len(said)))
        at = int(np.argmax(np.fft.irfft(spectrum, len(said))[: len(said) - len(known)]))
        return newest - len(said) + at + len(known)


async def run_phase(phase: Phase, voice: Voice, num_calls: int, seconds: float) -> dict[str, Any]:
    """Calls of one kind on a worker of their own; what was measured of them."""
    start = Start("127.0.0.1", 0, max_num_calls=num_calls, calls_per_s=100.0)
    async with VoiceWorkers([start]) as workers, asyncio.TaskGroup() as tasks:
        callers = [await _connect(phase, voice, workers) for _ in range(num_calls)]
        for caller in callers:
            tasks.create_task(caller.converse())
        sending = tasks.create_task(_send(callers))
        await asyncio.sleep(SETTLE_S)
        for caller in callers:
            caller.counts = True
        began_s, began_cpu_s = time.monotonic(), cpu_s_of(workers.pids[0])
        await asyncio.sleep(seconds)
        cpu_s = cpu_s_of(workers.pids[0]) - began_cpu_s
        lasted_s = time.monotonic() - began_s
        stats = workers.stats[0]
        sending.cancel()
        for caller in callers:
            caller.line.close()
            if caller.client is not None:
                caller.client.close()
    return {
        "cpu_ms_per_call_s": round(1e3 * cpu_s / lasted_s / num_calls, 2),
        "calls_per_core": int(lasted_s * num_calls / cpu_s),
        "frame_gap_ms": summary_ms([s for caller in callers for s in caller.gaps_s], SEED),
        "sound_latency_ms": summary_ms([s for c in callers for s in c.latencies_s], SEED),
        "packets": stats.num_packets,
        "lost": stats.num_lost,
        "late": stats.num_late_packets,
        "late_frames": stats.num_late_frames,
        "late_ticks": stats.num_late_ticks,
    }


async def _connect(phase: Phase, voice: Voice, workers: VoiceWorkers) -> Caller:
    caller: Caller | None = None

    def take(packet: bytes, at_ns: int) -> None:
        if caller is not None:
            caller.take(packet, at_ns)

    client = WebRtcCaller(_IDENTITY, take)
    line, answer = await workers.accept(client.offer)
    await client.connect(answer)
    caller = Caller(phase, voice, line, client)
    return caller


async def _send(callers: Sequence[Caller]) -> None:
    """All calls' frames on absolute deadlines, spread over the 20 ms, through their path."""
    chance, order = random.Random(SEED), count()
    began_s = time.monotonic()
    due: list[tuple[float, int, Caller, bytes | None]] = []
    for index, caller in enumerate(callers):
        caller.begun_s = began_s
        first_s = began_s + FRAME_S * index / len(callers)
        heapq.heappush(due, (first_s, next(order), caller, None))
    while True:
        now_s = time.monotonic()
        while due[0][0] <= now_s:
            at_s, _, caller, packet = heapq.heappop(due)
            if packet is not None:
                _transmit(caller, packet)
                continue
            heapq.heappush(due, (at_s + FRAME_S, next(order), caller, None))
            packet = caller.frame(now_s)
            phase = caller.phase
            if packet is None or chance.random() < phase.loss:
                continue
            if phase.jitter_s:
                arrives_s = now_s + chance.uniform(0.0, phase.jitter_s)
                heapq.heappush(due, (arrives_s, next(order), caller, packet))
            else:
                _transmit(caller, packet)
        await asyncio.sleep(max(0.0, due[0][0] - time.monotonic()))


def _transmit(caller: Caller, packet: bytes) -> None:
    if caller.client is not None:
        caller.client.send(packet)


def cpu_s_of(pid: int) -> float:
    """CPU time of a process, all of its threads (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def missed_by(phases: dict[str, dict[str, Any]]) -> list[str]:
    """The targets that were missed."""
    missed = []
    for name, row in phases.items():
        if row["cpu_ms_per_call_s"] > MAX_CPU_MS:
            missed.append(f"{name}: {row['cpu_ms_per_call_s']} ms CPU for a call-second")
        if row["frame_gap_ms"]["p99"] > MAX_GAP_MS:
            missed.append(f"{name}: frame gaps p99 {row['frame_gap_ms']['p99']} ms")
    latency = phases["bad path"]["sound_latency_ms"]
    if latency["p50"] > MAX_P50_MS or latency["p99"] > MAX_P99_MS:
        missed.append(f"bad path: sound latency p50 {latency['p50']}, p99 {latency['p99']} ms")
    return missed


_IDENTITY = Identity()


async def run(num_calls: int, seconds: float) -> int:
    """All phases, one after the other; saves the result."""
    try:
        voice = Voice.record()
    except FileNotFoundError:
        print("voice_sessions: flite is missing; apt-get install flite", file=sys.stderr)
        return 1
    priority = hurry(CLIENTS)
    guard = HostGuard()
    async with guard.watching_loop("callers"):
        phases = {p.name: await run_phase(p, voice, num_calls, seconds) for p in PHASES}
    guard.stop()
    return conclude(
        "voice_sessions",
        SEED,
        {
            "command": f"python -m loadtests.voice_sessions --calls {num_calls} "
            f"--seconds {seconds:g}",
            "calls": num_calls,
            "callers": priority,
            "phases": phases,
            "host": guard.row(),
            **verdict(guard.faults(), missed=missed_by(phases)),
        },
    )


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("voice_sessions", __doc__)
    parser.add_argument("--calls", type=at_least(1), default=20)
    parser.add_argument("--seconds", type=positive, default=30.0)
    args = parser.parse_args()
    return uvloop.run(run(args.calls, args.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
