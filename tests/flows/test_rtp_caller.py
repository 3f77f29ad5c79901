"""The RTP caller: its packets, and a call to somebody who answers late and loses some."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.clients import rtp, voice
from loadtests.clients.voice import Call, CallReport, VoicePlan
from loadtests.local_site import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_VOICE = bytes(range(0, 160))
_ANSWER_S = 0.15


@given(st.integers(0, 1 << 20), st.integers(0, 1 << 40), st.binary(max_size=200))
def test_packets_survive_the_way(sequence: int, timestamp: int, payload: bytes) -> None:
    packet = rtp.unpack(rtp.pack(sequence, timestamp, 7, payload, is_first=True))
    assert packet == (sequence & 0xFFFF, timestamp & 0xFFFFFFFF, payload)


@given(st.binary(max_size=64))
def test_any_datagram_is_a_packet_or_refused(datagram: bytes) -> None:
    try:
        packet = rtp.unpack(datagram)
    except rtp.NotRtp:
        return
    assert len(packet.payload) <= len(datagram) - 12


def test_csrcs_extension_and_padding_are_no_payload() -> None:
    head = bytes([0x80 | 0x20 | 0x10 | 1, 0]) + bytes(10)
    extended = head + b"CSRC" + b"\x00\x00\x00\x01" + b"xext" + b"voice" + b"\x00\x02"
    assert rtp.unpack(extended).payload == b"voice"


def test_silence_has_no_sound_and_speech_has() -> None:
    assert not rtp.has_sound(rtp.SILENCE)
    assert not rtp.has_sound(b"\x7f" * 160)
    assert rtp.has_sound(_VOICE)


def test_loss_order_and_jitter_are_told_apart() -> None:
    arrivals = rtp.Arrivals()
    for sequence, at_s in ((65534, 0.0), (65535, 0.02), (1, 0.06), (0, 0.061), (4, 0.12)):
        arrivals.take(rtp.Packet(sequence, ((sequence + 2) % 65536) * 160, b""), at_s)
    assert (arrivals.num_received, arrivals.num_lost, arrivals.num_reordered) == (5, 2, 1)
    assert arrivals.gaps_s == pytest.approx([0.02, 0.04, 0.001, 0.059])
    assert 0.0 < arrivals.jitter_s < 0.01


class SlowPeer(threading.Thread):
    """Sends silence back for every frame but each tenth, and sound _ANSWER_S after speech."""

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(20)
        self.port: int = self._sock.getsockname()[1]
        self._num_frames = num_frames
        self.took_s: float | None = None
        """From the speech to the sound, where this thread could."""

    def run(self) -> None:
        spoke_s = float("inf")
        with self._sock:
            for count in range(self._num_frames):
                datagram, caller = self._sock.recvfrom(2048)
                packet = rtp.unpack(datagram)
                now_s = time.monotonic()
                if rtp.has_sound(packet.payload):
                    spoke_s = now_s
                answers = now_s - spoke_s >= _ANSWER_S
                if answers and self.took_s is None:
                    self.took_s = now_s - spoke_s
                payload = _VOICE if answers else rtp.SILENCE
                if count % 10 != 5:
                    self._sock.sendto(
                        rtp.pack(count, packet.timestamp, 1, payload, is_first=False), caller
                    )


def test_a_frame_that_leaves_late_says_so_and_arrivals_are_the_kernels() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        plan = VoicePlan("127.0.0.1", peer.getsockname()[1], (Call(0.1, 1.0, ()),))
        callers = voice.Callers(plan)
        ((sock, line),) = callers._lines.items()
        line.send(0.15)
        assert line.delays_s == pytest.approx([0.05])
        _, caller = peer.recvfrom(2048)
        numbers, give_up_s = itertools.count(), time.monotonic() + 5.0
        while time.monotonic() < give_up_s:  # kernels begin to stamp packets a while after asked
            for _ in range(2):
                packet = rtp.pack(next(numbers), 0, 1, rtp.SILENCE, is_first=False)
                peer.sendto(packet, caller)
            sent_s = time.clock_gettime(time.CLOCK_REALTIME)
            time.sleep(0.05)  # the caller is busy
            callers._read(line, sent_s)
            if line.arrivals._last_s <= 0.0:
                break
        assert line.arrivals._last_s <= 0.0
        assert line.arrivals.num_received == next(numbers)
        sock.close()


def test_a_call_is_paced_heard_and_timed(tmp_path: Path) -> None:
    peer = SlowPeer(num_frames=60)
    peer.start()
    call = Call(0.01, 1.2, utterances=((0.1, 0.4), (3.0, 0.1)))
    plan = VoicePlan("127.0.0.1", peer.port, (call,))
    (tmp_path / "plan").write_bytes(msgspec.msgpack.encode(plan))
    command = ["-m", "loadtests.clients.voice", str(tmp_path / "plan"), str(tmp_path / "reports")]
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.stdin is not None
        process.stdin.write(f"{time.monotonic() + 0.1!r}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
    peer.join(60)
    (report,) = msgspec.msgpack.decode((tmp_path / "reports").read_bytes(), type=list[CallReport])
    assert report.num_sent == len(report.schedule_delays_s) == 60
    assert report.num_received == 54
    assert report.num_lost == 6
    assert min(report.schedule_delays_s) >= 0.0
    # The peer counts from when it heard the last frame, 20 ms before that frame is over.
    answered_s, never = report.answers_s
    assert never is None
    assert answered_s is not None
    assert peer.took_s is not None
    latest_s = peer.took_s + max(report.schedule_delays_s) + 0.25
    assert _ANSWER_S - 0.021 <= answered_s < latest_s
