"""The coders of a call's codec."""

from __future__ import annotations

from typing import Protocol

from gateway.media.worker.audio_terms import Codec
from gateway.media.worker.g711 import G711Decoder, G711Encoder
from gateway.media.worker.opus import OpusDecoder, OpusEncoder


class Decoder(Protocol):
    """One stream's packets to int16 mono at `HEARD_HZ`. `ticks` are units of its timestamps."""

    @property
    def clock_hz(self) -> int:
        """Ticks a second."""
        ...

    def ticks(self, payload: bytes) -> int:
        """How much sound a packet holds; 0: it is none."""
        ...

    def announces_silence(self, payload: bytes) -> bool:
        """Whether nothing may follow a packet for a while."""
        ...

    def decode(self, payload: bytes) -> bytes:
        """A packet's sound."""
        ...

    def recover(self, following: bytes, ticks: int) -> bytes:
        """The sound of the lost packet before `following`, as well as the codec can."""
        ...

    def conceal(self, ticks: int) -> bytes:
        """Sound for a lost packet."""
        ...


class Encoder(Protocol):
    """Frames of int16 mono at `SAID_HZ` to packets."""

    @property
    def clock_hz(self) -> int:
        """Timestamp units a second."""
        ...

    def adapt(self, loss_ratio: float) -> None:
        """So much of what is sent is lost."""
        ...

    def encode(self, pcm: bytes) -> bytes:
        """The packet of one frame."""
        ...

    def restart(self) -> None:
        """What was sent last is another encoder's: the next packet builds on nothing before it."""
        ...

    def silence(self, last: bytes) -> bytes:
        """The packet after `last` that says silence follows."""
        ...


def decoder_of(codec: Codec) -> Decoder:
    """A decoder for one stream. Raises SetupError where the machine lacks the codec's library."""
    match codec:
        case Codec.OPUS:
            return OpusDecoder()
        case Codec.PCMU:
            return G711Decoder("pcmu")
        case Codec.PCMA:
            return G711Decoder("pcma")


def encoder_of(codec: Codec, *, bitrate_bps: int, complexity: int) -> Encoder:
    """Likewise an encoder; bit rate and complexity (0 to 10) are Opus's."""
    match codec:
        case Codec.OPUS:
            return OpusEncoder(bitrate_bps=bitrate_bps, complexity=complexity)
        case Codec.PCMU:
            return G711Encoder("pcmu")
        case Codec.PCMA:
            return G711Encoder("pcma")
