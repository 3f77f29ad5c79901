"""A call's RTP and RTCP, with a transport that only notes what it is given."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from gateway.core.voice_line import (
    ClientMessage,
    LineChange,
    LineEvent,
    LineState,
    PlayBegan,
    PlayEnded,
)
from gateway.media.frames import SoundSettings
from gateway.media.worker import rtcp, rtp
from gateway.media.worker.audio_terms import AudioTerms, Codec, Direction
from gateway.media.worker.voice_call import VoiceCall

if TYPE_CHECKING:
    from gateway.media.worker.peer_call import PeerCall

FRAME_S, FRAME_TICKS = 0.02, 960
SSRC, THEIR_SSRC = 5, 9
CELT_FROM = 16
"""Opus configurations from this one on are the transform half's (RFC 6716 section 3.1)."""


@dataclass
class NotingTransport:
    """In a PeerCall's place."""

    direction: Direction = Direction.SENDRECV
    codec: Codec = Codec.OPUS
    bitrate_bps: int = 16_000
    packets: list[rtp.RtpPacket] = field(default_factory=list)
    reports: list[bytes] = field(default_factory=list)
    closed_for: str | None = None

    @property
    def audio(self) -> AudioTerms:
        return AudioTerms(
            codec=self.codec,
            payload_type=111,
            clock_hz=48_000,
            telephone_events={},
            peer_fmtp={"maxaveragebitrate": str(self.bitrate_bps)},
            packet_s=FRAME_S,
            direction=self.direction,
            ssrc=SSRC,
            cname="us",
            peer_ssrc=None,
        )

    def send_rtp(self, packet: bytes) -> None:
        parsed = rtp.parse(packet)
        assert parsed is not None
        self.packets.append(parsed)

    def send_rtcp(self, packet: bytes) -> None:
        self.reports.append(packet)

    def restart(self, offer_sdp: str) -> str:
        self.direction = Direction(offer_sdp)
        return "answer"

    def close(self, reason: str) -> None:
        self.closed_for = reason


@dataclass
class Call:
    """A connected call and a clock that is moved by hand."""

    transport: NotingTransport = field(default_factory=NotingTransport)
    now_s: float = 50.0
    events: list[LineEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.call = VoiceCall(SoundSettings(), self.events.append, lambda: self.now_s)
        self.call.begin(cast("PeerCall", self.transport))
        self.call.connected()

    def say(self, utterance: int, num_frames: int) -> None:
        at = np.arange(480 * num_frames) / 24_000
        pcm = (8000 * np.sin(2 * np.pi * 300 * at)).astype("<i2").tobytes()
        self.call.say(utterance, pcm, is_last=True, now_s=self.now_s)

    def wait(self, duration_s: float) -> None:
        for _ in range(round(duration_s / 0.005)):
            self.now_s += 0.005
            if self.call.mouth.due_s <= self.now_s + 0.0025:
                self.call.mouth.step(self.now_s)

    @property
    def packets(self) -> list[rtp.RtpPacket]:
        return self.transport.packets


def test_packets_follow_each_other_and_time_goes_on_in_silence() -> None:
    call = Call()
    call.say(1, 10)
    call.wait(1.0)
    spurt = list(call.packets)
    call.say(2, 10)
    call.wait(1.0)
    sequences = [packet.sequence for packet in call.packets]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    ticks = [packet.timestamp - spurt[0].timestamp for packet in spurt]
    assert ticks == [FRAME_TICKS * n for n in range(len(spurt))]
    first_again = call.packets[len(spurt)]
    assert first_again.timestamp - spurt[0].timestamp == 48_000
    assert [packet.marker for packet in spurt] == [True] + [False] * (len(spurt) - 1)
    assert first_again.marker
    # The last word is followed by a little silence and the announcement of more.
    assert 11 <= len(spurt) <= 16
    assert len(spurt[-1].payload) <= 2
    assert {packet.ssrc for packet in spurt} == {SSRC}


def test_a_caller_that_reports_loss_gets_redundancy() -> None:
    call = Call()
    call.say(1, 10)
    call.wait(0.5)
    assert {packet.payload[0] >> 3 >= CELT_FROM for packet in call.packets[:10]} == {True}
    heard = rtcp.Heard(SSRC, loss_ratio=0.1, num_lost=3, highest_sequence=9, jitter_ticks=0)
    call.call.rtcp(rtcp.build(THEIR_SSRC, b"them", sent=None, heard=heard))
    call.say(2, 20)
    call.wait(0.5)
    # The codec changes halves over a few frames.
    assert call.packets[-12].payload[0] >> 3 < CELT_FROM


def test_a_client_that_wants_to_hear_nothing_gets_nothing() -> None:
    call = Call(NotingTransport(Direction.RECVONLY))
    call.say(1, 10)
    call.wait(0.5)
    assert not call.packets
    assert any(isinstance(event, PlayEnded) for event in call.events)


def test_a_client_on_hold_hears_nothing_until_it_offers_to() -> None:
    call = Call()
    call.say(1, 50)
    call.wait(0.1)
    num_packets = len(call.packets)
    assert call.call.restart("inactive") == "answer"
    call.wait(0.1)
    assert len(call.packets) == num_packets
    call.call.restart("sendrecv")
    call.wait(0.1)
    assert len(call.packets) > num_packets


def test_reports_say_what_was_sent_and_heard() -> None:
    call = Call()
    call.call.report(call.now_s)
    assert call.transport.reports[-1][1] == 201, "who has sent nothing is a receiver"
    call.say(1, 10)
    call.wait(0.5)
    packet = rtp.RtpPacket(111, False, 7, 0, THEIR_SSRC, call.packets[0].payload)
    call.call.rtp(rtp.build(packet), call.now_s)
    call.call.report(call.now_s)
    assert call.transport.reports[-1][1] == 200
    (heard,) = rtcp.parse(call.transport.reports[-1], THEIR_SSRC)
    assert isinstance(heard, rtcp.Heard)
    assert (heard.num_lost, heard.highest_sequence) == (0, 7)


def test_while_the_client_is_lost_nothing_is_said() -> None:
    call = Call()
    call.say(1, 20)
    call.wait(0.1)
    call.call.lost()
    num_packets = len(call.packets)
    call.wait(1.0)
    assert len(call.packets) == num_packets
    call.call.connected()
    call.wait(1.0)
    states = [event.state for event in call.events if isinstance(event, LineChange)]
    assert states == [LineState.CONNECTED, LineState.LOST, LineState.CONNECTED]
    ended = call.events[-1]
    assert isinstance(ended, PlayEnded)
    assert ended.played_s == pytest.approx(0.4)
    assert ended.is_whole


def test_an_end_says_goodbye_and_what_was_not_played() -> None:
    call = Call()
    call.call.message("hello")
    call.say(1, 20)
    call.call.close("done")
    assert call.transport.closed_for == "done"
    assert rtcp.parse(call.transport.reports[-1], 0) == [rtcp.Goodbye(SSRC)]
    call.call.closed("done")  # as the transport tells it
    assert call.events[1] == ClientMessage("hello")
    assert isinstance(call.events[2], PlayBegan)
    ended, closed = call.events[3:]
    assert isinstance(ended, PlayEnded)
    assert not ended.is_whole
    assert closed == LineChange(LineState.CLOSED, "done")
