"""A caller's RTP stream to sound: order, loss and silence, keys, and what to report of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.jitter_buffer import JitterBuffer, Step, StepKind
from gateway.core.voice_line import HEARD_HZ, Digit
from gateway.media.worker.codecs import decoder_of
from gateway.media.worker.rtcp import Heard
from gateway.media.worker.rtp import RtpPacket, parse
from gateway.media.worker.telephone_event import KeyPresses

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.media.worker.audio_terms import AudioTerms
    from gateway.media.worker.hearing import Hearing

_FRAME_S = 0.02


@dataclass(slots=True)
class StreamCounters:
    """Packets of one caller's sound."""

    received: int = 0
    lost: int = 0
    """Concealed, or recovered from the next."""
    late: int = 0
    """Came after they had been given up; counted in `lost` too."""
    broken: int = 0
    """No RTP, or no sound of the call's codec."""


class Ears:
    """The receiving side of a call. Instants are monotonic seconds, passed in."""

    def __init__(
        self, terms: AudioTerms, hearing: Hearing, tell: Callable[[Digit], None], *, now_s: float
    ) -> None:
        self.num_broken = 0
        self.terms = terms
        self._hearing = hearing
        self._tell = tell
        self._decoder = decoder_of(terms.codec)
        self._keys = KeyPresses()
        self._ssrc: int | None = None
        self._num_samples = 0
        self._reported = (0, 0)
        self._buffer = JitterBuffer(
            clock_hz=self._decoder.clock_hz,
            frame_ticks=round(self._decoder.clock_hz * _FRAME_S),
            begun_s=now_s,
        )

    @property
    def counters(self) -> StreamCounters:
        """What became of the packets."""
        buffer = self._buffer
        return StreamCounters(
            received=buffer.num_packets + buffer.num_late,
            lost=buffer.num_lost,
            late=buffer.num_late,
            broken=self.num_broken,
        )

    @property
    def is_waiting(self) -> bool:
        """Whether packets wait for a missing one."""
        return self._buffer.is_waiting

    def rtp(self, packet: bytes, arrived_s: float) -> None:
        """A packet came in."""
        parsed = parse(packet)
        if parsed is None:
            self.num_broken += 1
        elif parsed.payload_type == self.terms.payload_type:
            self._sound(parsed, arrived_s)
        elif parsed.payload_type in self.terms.telephone_events:
            digit = self._keys.feed(parsed.timestamp, parsed.payload)
            if digit is not None:
                self._tell(Digit(digit, self._num_samples / HEARD_HZ))

    def advance(self, now_s: float) -> None:
        """Hand on the sound that is due by now."""
        while (step := self._buffer.take(now_s)) is not None:
            pcm = self._pcm(step)
            self._num_samples += len(pcm) // 2
            self._hearing.add(pcm, step.arrived_s or now_s)

    def report(self) -> Heard | None:
        """For the caller: what was lost since the last report."""
        if self._ssrc is None:
            return None
        buffer = self._buffer
        received, lost = buffer.num_packets, buffer.num_lost - buffer.num_late
        num_received, num_lost = received - self._reported[0], lost - self._reported[1]
        self._reported = (received, lost)
        return Heard(
            ssrc=self._ssrc,
            loss_ratio=max(0.0, num_lost / max(1, num_received + num_lost)),
            num_lost=lost,
            highest_sequence=buffer.highest_sequence,
            jitter_ticks=round(buffer.jitter_s * self._decoder.clock_hz),
        )

    def _sound(self, packet: RtpPacket, arrived_s: float) -> None:
        ticks = self._decoder.ticks(packet.payload)
        if not ticks:
            self.num_broken += 1
            return
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._buffer.restart()
        self._buffer.put(
            packet.sequence,
            packet.timestamp,
            packet.payload,
            ticks=ticks,
            arrived_s=arrived_s,
            announces_silence=self._decoder.announces_silence(packet.payload),
        )
        self.advance(arrived_s)

    def _pcm(self, step: Step) -> bytes:
        match step.kind:
            case StepKind.PLAY:
                return self._decoder.decode(step.payload)
            case StepKind.RECOVER:
                return self._decoder.recover(step.payload, step.ticks)
            case StepKind.CONCEAL:
                return self._decoder.conceal(step.ticks)
            case StepKind.SILENCE:
                return bytes(2 * (step.ticks * HEARD_HZ // self._decoder.clock_hz))
