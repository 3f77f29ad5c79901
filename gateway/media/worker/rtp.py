"""RTP (RFC 3550 section 5.1): packets of sound, taken apart and put together."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

HEADER_BYTES: Final = 12

_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_VERSION_2 = 0x80
_PADDED, _EXTENDED, _MARKER = 0x20, 0x10, 0x80


class RtpPacket(NamedTuple):
    """A packet; contributing sources, extensions and padding were skipped."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(packet: bytes) -> RtpPacket | None:
    """None for what is no RTP packet."""
    if len(packet) < HEADER_BYTES:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
    if first & 0xC0 != _VERSION_2:
        return None
    begin, end = HEADER_BYTES, len(packet)
    if first & 0x3F:
        begin += 4 * (first & 0x0F)
        if first & _EXTENDED:
            if end < begin + _EXTENSION.size:
                return None
            begin += _EXTENSION.size + 4 * _EXTENSION.unpack_from(packet, begin)[1]
        if first & _PADDED:
            end -= packet[-1]
        if end < begin:
            return None
    return RtpPacket(second & 0x7F, second >= _MARKER, sequence, timestamp, ssrc, packet[begin:end])


def build(packet: RtpPacket) -> bytes:
    """The packet's bytes; `sequence` and `timestamp` wrap."""
    second = packet.payload_type | (_MARKER if packet.marker else 0)
    head = _HEADER.pack(
        _VERSION_2, second, packet.sequence & 0xFFFF, packet.timestamp & 0xFFFFFFFF, packet.ssrc
    )
    return head + packet.payload
