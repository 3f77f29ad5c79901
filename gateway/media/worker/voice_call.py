"""One WebRTC call: its transport's packets to ears, its mouth's frames to packets."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from gateway.core.voice_line import ClientMessage, LineChange, LineState
from gateway.media.worker import rtcp, rtp
from gateway.media.worker.codecs import encoder_of
from gateway.media.worker.ears import Ears, StreamCounters
from gateway.media.worker.hearing import Hearing
from gateway.media.worker.mouth import Mouth
from gateway.media.worker.opus import LOSSY_RATIO, MAX_QUIET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.voice_line import LineEvent
    from gateway.media.frames import SoundSettings
    from gateway.media.worker.audio_terms import AudioTerms
    from gateway.media.worker.peer_call import PeerCall
    from gateway.media.worker.prompts import Prompt
    from gateway.media.worker.utterances import Frame

_NUM_TAIL_FRAMES: Final = 5
"""A client's buffer that counts frames (aiortc: 4) must not keep the last word."""


class VoiceCall:
    """A call under way: `PeerEvents` to its transport, a `Line` to the worker's timer.

    `tell` gets the call's events; after the last, LineState.CLOSED, there are none.
    """

    def __init__(
        self,
        sound: SoundSettings,
        tell: Callable[[LineEvent], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hearing = Hearing()
        self._settings = sound
        self._tell = tell
        self._monotonic = monotonic
        self._peer: PeerCall

    def begin(self, peer: PeerCall) -> None:
        """The transport is there; before, nothing of the call may be used."""
        self._peer = peer
        self._terms = peer.audio
        self.ears = Ears(peer.audio, self.hearing, self._tell, now_s=self._monotonic())
        self._stream = _Stream(peer, self._settings, now_s=self._monotonic())
        self.mouth = Mouth(
            self._stream,
            frame_s=peer.audio.packet_s,
            num_tail_frames=_NUM_TAIL_FRAMES,
            tell=self._tell,
        )

    @property
    def is_waiting(self) -> bool:
        """Whether packets wait for a missing one."""
        return self.ears.is_waiting

    def advance(self, now_s: float) -> None:
        """Hand on the sound that is due."""
        self.ears.advance(now_s)

    def report(self, now_s: float) -> None:
        """Tell the client what was lost of its stream, and of ours where it stands."""
        heard = self.ears.report()
        self._peer.send_rtcp(self._stream.report(heard, now_s))

    def say(self, utterance: int, pcm: bytes, *, is_last: bool, now_s: float) -> None:
        """More of an utterance; see `core.voice_line`."""
        self.mouth.say(utterance, pcm, is_last=is_last, now_s=now_s)

    def say_prompt(self, utterance: int, prompt: Prompt, *, now_s: float) -> None:
        """Likewise a prompt."""
        self.mouth.say_prompt(utterance, prompt, now_s=now_s)

    def hold(self) -> None:
        """Say nothing, and keep it."""
        self.mouth.hold()

    def hush(self, now_s: float) -> None:
        """Drop what was not played."""
        self.mouth.hush(now_s)

    def write(self, text: str) -> None:
        """A message on the data channel."""
        self._peer.send_message(text)

    def restart(self, offer_sdp: str) -> str:
        """Another offer of the same client; its answer. Raises OfferRefused."""
        answer = self._peer.restart(offer_sdp)
        self._terms = self.ears.terms = self._stream.terms = self._peer.audio
        return answer

    def close(self, reason: str) -> None:
        """End the call; its last events follow."""
        self._peer.send_rtcp(rtcp.goodbye(self._terms.ssrc, self._terms.cname.encode()))
        self._peer.close(reason)

    def rtp(self, packet: bytes, arrived_s: float) -> None:
        """From the transport."""
        self.ears.rtp(packet, arrived_s)

    def rtcp(self, packet: bytes) -> None:
        """From the transport: how well the client hears us."""
        for said in rtcp.parse(packet, self._terms.ssrc):
            if isinstance(said, rtcp.Heard):
                self._stream.adapt(said.loss_ratio)

    def message(self, text: str) -> None:
        """From the transport."""
        self._tell(ClientMessage(text))

    def connected(self) -> None:
        """From the transport."""
        self._tell(LineChange(LineState.CONNECTED))
        self.mouth.open(self._monotonic())

    def lost(self) -> None:
        """From the transport."""
        self.mouth.shut()
        self._tell(LineChange(LineState.LOST))

    def closed(self, reason: str) -> None:
        """From the transport: nothing will be said any more."""
        self.mouth.hush(self._monotonic())
        self._tell(LineChange(LineState.CLOSED, reason))

    @property
    def counters(self) -> StreamCounters:
        """What became of the caller's packets."""
        return self.ears.counters


class _Stream:
    """Frames as RTP packets of one source; nothing is sent in silence, and time goes on."""

    def __init__(self, peer: PeerCall, sound: SoundSettings, *, now_s: float) -> None:
        terms: AudioTerms = peer.audio
        self._peer = peer
        self.terms = terms
        limit_bps = int(terms.peer_fmtp.get("maxaveragebitrate", "0") or 0)
        self._is_narrow = 0 < limit_bps < sound.bitrate_bps
        self._encoder = encoder_of(
            terms.codec,
            bitrate_bps=limit_bps if self._is_narrow else sound.bitrate_bps,
            complexity=sound.complexity,
        )
        self._sequence = secrets.randbits(15)
        self._begun_s = now_s
        self._first_ticks = secrets.randbits(31)
        self._last = b""
        self._was_quiet = True
        self._num_silent = 0
        self._follows_prompt = False
        self._loss_ratio = 0.0
        self.num_packets = self.num_bytes = 0

    def send(self, frame: Frame, at_s: float) -> None:
        """A frame whose place in time is `at_s`."""
        payload = self._coded(frame)
        is_quiet = len(payload) <= MAX_QUIET_BYTES
        if not (is_quiet and self._was_quiet):  # the first such packet announces the silence
            self._emit(payload, at_s, marker=self._was_quiet)
        self._was_quiet = is_quiet
        self._last = payload
        self._last_s = at_s

    def _coded(self, frame: Frame) -> bytes:
        """The packet of a frame: ready where it is a prompt's, the same again in silence."""
        is_silent = frame.pcm == bytes(len(frame.pcm))
        self._num_silent = self._num_silent + 1 if is_silent else 0
        if self._num_silent > 1:  # libopus takes longer for silence than for speech
            is_long = self._num_silent > _NUM_TAIL_FRAMES
            return self._encoder.silence(self._last) if is_long else self._last
        if frame.ready is not None and not self._is_narrow and self._loss_ratio < LOSSY_RATIO:
            self._follows_prompt = True
            return frame.ready.packet(self.terms.codec, len(frame.pcm))
        if self._follows_prompt:
            self._encoder.restart()
            self._follows_prompt = False
        return self._encoder.encode(frame.pcm)

    def pause(self) -> None:
        """No frame follows for now."""
        self._num_silent = 0
        if self._last and not self._was_quiet:
            quiet = self._encoder.silence(self._last)
            self._emit(quiet, self._last_s + self.terms.packet_s, marker=False)
        self._was_quiet = True

    def adapt(self, loss_ratio: float) -> None:
        """The client reports loss; it is believed at once and forgotten slowly."""
        self._loss_ratio = max(loss_ratio, 0.7 * self._loss_ratio)
        self._encoder.adapt(self._loss_ratio)

    def report(self, heard: rtcp.Heard | None, now_s: float) -> bytes:
        """The compound RTCP packet of now."""
        sent = rtcp.Sent(now_s, self._ticks(now_s), self.num_packets, self.num_bytes)
        return rtcp.build(
            self.terms.ssrc,
            self.terms.cname.encode(),
            sent=sent if self.num_packets else None,
            heard=heard,
        )

    def _emit(self, payload: bytes, at_s: float, *, marker: bool) -> None:
        if not self.terms.can_send:
            return
        packet = rtp.RtpPacket(
            self.terms.payload_type,
            marker,
            self._sequence,
            self._ticks(at_s),
            self.terms.ssrc,
            payload,
        )
        self._peer.send_rtp(rtp.build(packet))
        self._sequence += 1
        self.num_packets += 1
        self.num_bytes += len(payload)

    def _ticks(self, at_s: float) -> int:
        return self._first_ticks + round((at_s - self._begun_s) * self._encoder.clock_hz)
