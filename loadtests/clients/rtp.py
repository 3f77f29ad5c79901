"""RTP as far as a caller that measures needs it: packets, and what their arrival says.

Packets follow RFC 3550 section 5.1, without CSRCs, extension or padding when sent; G.711 mu-law
(payload type 0, RFC 3551) at 8 kHz, one frame every 20 ms.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

FRAME_S = 0.02
FRAME_SAMPLES = 160
CLOCK_HZ = 8000
SILENCE = b"\xff" * FRAME_SAMPLES

_HEADER = struct.Struct("!BBHII")
_VERSION_2 = 0x80
_MARKER = 0x80
_PCMU = 0
_LOUD = 0x30
"""A mu-law byte counts as sound when its inverted magnitude is above this: about -40 dBov."""
_LOUD_SAMPLES = FRAME_SAMPLES // 8


class Packet(NamedTuple):
    """One received frame."""

    sequence: int
    timestamp: int
    payload: bytes


class NotRtp(ValueError):
    """A datagram that is no RTP packet."""


def pack(sequence: int, timestamp: int, ssrc: int, payload: bytes, *, is_first: bool) -> bytes:
    """A packet; `is_first` marks the begin of a talk spurt."""
    kind = _PCMU | (_MARKER if is_first else 0)
    head = _HEADER.pack(
        _VERSION_2, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc & 0xFFFFFFFF
    )
    return head + payload


def unpack(datagram: bytes) -> Packet:
    """Raises NotRtp."""
    if len(datagram) < _HEADER.size or datagram[0] >> 6 != 2:
        raise NotRtp("no RTP version 2 header")
    first, _, sequence, timestamp, _ = _HEADER.unpack_from(datagram)
    at = _HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:
        if len(datagram) < at + 4:
            raise NotRtp("the header extension is cut off")
        at += 4 + 4 * int.from_bytes(datagram[at + 2 : at + 4])
    end = len(datagram) - (datagram[-1] if first & 0x20 else 0)
    if at > end:
        raise NotRtp("the header is longer than the packet")
    return Packet(sequence, timestamp, datagram[at:end])


def has_sound(payload: bytes) -> bool:
    """Whether a mu-law frame is more than silence and line noise."""
    loud = sum((~byte & 0x7F) > _LOUD for byte in payload)
    return loud >= _LOUD_SAMPLES


@dataclass(slots=True)
class Arrivals:
    """What one stream's packets say about the way they came. Instants in seconds."""

    num_received: int = 0
    num_reordered: int = 0
    jitter_s: float = 0.0
    """Interarrival jitter, RFC 3550 section 6.4.1."""
    gaps_s: list[float] = field(default_factory=list)
    _first: int = 0
    _highest: int = 0
    _last_s: float = 0.0
    _last_timestamp: int = 0

    @property
    def num_lost(self) -> int:
        """Packets between the first and the latest that never came."""
        if not self.num_received:
            return 0
        return max(0, self._highest - self._first + 1 - self.num_received)

    def take(self, packet: Packet, at_s: float) -> None:
        """A packet arrived."""
        if not self.num_received:
            self._first = self._highest = packet.sequence
        else:
            step = (packet.sequence - self._highest + 0x8000) % 0x10000 - 0x8000
            self.num_reordered += step < 0
            self._highest = max(self._highest, self._highest + step)
            self.gaps_s.append(at_s - self._last_s)
            ticks = (packet.timestamp - self._last_timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
            off_s = abs(at_s - self._last_s - ticks / CLOCK_HZ)
            self.jitter_s += (off_s - self.jitter_s) / 16
        self.num_received += 1
        self._last_s, self._last_timestamp = at_s, packet.timestamp
