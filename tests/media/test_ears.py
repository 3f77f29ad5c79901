from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.media.worker.audio_terms import AudioTerms, Codec, Direction
from gateway.media.worker.ears import Ears
from gateway.media.worker.hearing import Hearing
from gateway.media.worker.opus import OpusEncoder
from gateway.media.worker.rtp import RtpPacket, build

if TYPE_CHECKING:
    from gateway.core.voice_line import Digit

FRAME_S = 0.02
SSRC = 5


def terms(codec: Codec = Codec.OPUS) -> AudioTerms:
    is_opus = codec is Codec.OPUS
    return AudioTerms(
        codec=codec,
        payload_type=111 if is_opus else 0,
        clock_hz=48_000 if is_opus else 8000,
        telephone_events={110: 48_000},
        peer_fmtp={},
        packet_s=FRAME_S,
        direction=Direction.SENDRECV,
        ssrc=1,
        cname="us",
        peer_ssrc=SSRC,
    )


class Sink(Hearing):
    """Keeps what is added."""

    def __init__(self) -> None:
        super().__init__()
        self.pcm = b""

    def add(self, pcm: bytes, arrived_s: float) -> None:
        self.pcm += pcm


def speak(num_frames: int) -> list[bytes]:
    encoder = OpusEncoder(bitrate_bps=24_000, complexity=3)
    encoder.adapt(0.1)
    at = np.arange(480 * num_frames) / 24_000
    pcm = (6000 * np.sin(2 * np.pi * 300 * at)).astype("<i2").tobytes()
    return [encoder.encode(pcm[960 * n : 960 * (n + 1)]) for n in range(num_frames)]


def packet(number: int, payload: bytes, *, kind: int = 111, ssrc: int = SSRC) -> bytes:
    return build(RtpPacket(kind, False, number, 960 * number, ssrc, payload))


@pytest.mark.parametrize("lost", [set(), {20}, {20, 21}, {5, 17, 29}])
def test_lost_packets_leave_no_hole(lost: set[int]) -> None:
    sink = Sink()
    ears = Ears(terms(), sink, lambda digit: None, now_s=0.0)
    for number, payload in enumerate(speak(50)):
        if number not in lost:
            ears.rtp(packet(number, payload), number * FRAME_S)
        ears.advance(number * FRAME_S)
    ears.advance(50 * FRAME_S)
    assert len(sink.pcm) == 50 * 640
    assert ears.counters.lost == len(lost)
    heard = np.frombuffer(sink.pcm, "<i2").reshape(50, 320).astype(float)
    assert (np.sqrt((heard[3:] ** 2).mean(axis=1)) > 500).all()
    report = ears.report()
    assert report is not None
    assert report.num_lost == len(lost)
    assert report.highest_sequence == 49
    assert report.loss_ratio == pytest.approx(len(lost) / 50)


def test_another_source_takes_over_at_once() -> None:
    sink = Sink()
    ears = Ears(terms(), sink, lambda digit: None, now_s=0.0)
    payloads = speak(4)
    ears.rtp(packet(0, payloads[0]), 0.0)
    ears.rtp(packet(40_000, payloads[1], ssrc=9), 0.02)
    assert len(sink.pcm) == 2 * 640


def test_keys_are_told_once_with_their_place_in_the_sound() -> None:
    digits: list[Digit] = []
    ears = Ears(terms(), Sink(), digits.append, now_s=0.0)
    for number, payload in enumerate(speak(10)):
        ears.rtp(packet(number, payload), number * FRAME_S)
    for number in range(5):
        ears.rtp(packet(number, bytes((10, 10, 0, number)), kind=110), 0.2)
    assert len(digits) == 5, "five presses: each has a timestamp of its own"
    ears.rtp(packet(4, bytes((10, 0x8A, 0, 99)), kind=110), 0.2)
    assert {digit.digit for digit in digits} == {"*"}
    assert digits[-1].at_s == pytest.approx(0.2)


@pytest.mark.parametrize("junk", [b"", bytes(12), packet(1, b""), packet(1, b"\xff" * 3)])
def test_what_is_no_sound_is_counted(junk: bytes) -> None:
    sink = Sink()
    ears = Ears(terms(), sink, lambda digit: None, now_s=0.0)
    ears.rtp(junk, 0.0)
    assert ears.counters.broken == 1
    assert ears.report() is None
    assert not sink.pcm


def test_a_call_without_packets_is_silent() -> None:
    sink = Sink()
    ears = Ears(terms(Codec.PCMU), sink, lambda digit: None, now_s=10.0)
    ears.advance(11.0)
    assert set(sink.pcm) == {0}
    assert len(sink.pcm) / 32_000 == pytest.approx(1.0, abs=0.05)
