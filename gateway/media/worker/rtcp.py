"""RTCP (RFC 3550 section 6): what the two ends of a call tell each other of its packets.

Sent are compound packets of a sender or receiver report and a name. Read is what a caller reports
of our stream and that it says goodbye; all else is skipped.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_SR, _RR, _SDES, _BYE = 200, 201, 202, 203
_CNAME = 1
_HEAD = struct.Struct("!BBH")
_SSRC = struct.Struct("!I")
_SENDER = struct.Struct("!IIIII")
_BLOCK = struct.Struct("!IIIIII")
_MAX_LOST = 0x7FFFFF


class Heard(NamedTuple):
    """What a receiver reports of one stream (a report block)."""

    ssrc: int
    loss_ratio: float
    """Of the packets since its last report."""
    num_lost: int
    highest_sequence: int
    jitter_ticks: int


class Sent(NamedTuple):
    """What a sender reports of its stream."""

    clock_s: float
    """The instant of `timestamp`, on any clock of the sender's that does not jump (section 4)."""
    timestamp: int
    num_packets: int
    num_bytes: int


class Goodbye(NamedTuple):
    """A stream's source has left."""

    ssrc: int


def parse(compound: bytes, ssrc: int) -> list[Heard | Goodbye]:
    """What a compound packet says of the stream `ssrc`, and who has left."""
    said: list[Heard | Goodbye] = []
    for kind, count, body in _packets(compound):
        if kind in (_SR, _RR):
            at = _SSRC.size + (20 if kind == _SR else 0)
            for index in range(count):
                begin = at + index * _BLOCK.size
                if begin + _BLOCK.size <= len(body):
                    block = _block(body, begin)
                    if block.ssrc == ssrc:
                        said.append(block)
        elif kind == _BYE and len(body) >= 4 * count:
            said += [Goodbye(_SSRC.unpack_from(body, 4 * at)[0]) for at in range(count)]
    return said


def build(ssrc: int, name: bytes, *, sent: Sent | None, heard: Heard | None) -> bytes:
    """A compound packet of the stream `ssrc`: a sender report where it has sent, and its name."""
    blocks = b"" if heard is None else _block_bytes(heard)
    count = 0 if heard is None else 1
    body = _SSRC.pack(ssrc) + (b"" if sent is None else _sender_bytes(sent)) + blocks
    item = bytes((_CNAME, len(name))) + name
    chunk = _SSRC.pack(ssrc) + item + bytes(4 - len(item) % 4)
    report = _packet(_RR if sent is None else _SR, count, body)
    return report + _packet(_SDES, 1, chunk)


def goodbye(ssrc: int, name: bytes) -> bytes:
    """The compound packet that ends a stream."""
    return build(ssrc, name, sent=None, heard=None) + _packet(_BYE, 1, _SSRC.pack(ssrc))


def _packets(compound: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + _HEAD.size <= len(compound):
        first, kind, words = _HEAD.unpack_from(compound, at)
        end = at + _HEAD.size + 4 * words
        if first >> 6 != 2 or end > len(compound):
            return
        yield kind, first & 0x1F, compound[at + _HEAD.size : end]
        at = end


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80 | count, kind, len(body) // 4) + body


def _block(body: bytes, at: int) -> Heard:
    ssrc, lost, highest, jitter, _, _ = _BLOCK.unpack_from(body, at)
    num_lost = lost & 0xFFFFFF
    signed = num_lost - (1 << 24) if num_lost > _MAX_LOST else num_lost
    return Heard(ssrc, (lost >> 24) / 256, signed, highest, jitter)


def _block_bytes(heard: Heard) -> bytes:
    fraction = min(255, int(256 * heard.loss_ratio))
    lost = fraction << 24 | min(_MAX_LOST, max(0, heard.num_lost))
    return _BLOCK.pack(
        heard.ssrc, lost, heard.highest_sequence & 0xFFFFFFFF, heard.jitter_ticks, 0, 0
    )


def _sender_bytes(sent: Sent) -> bytes:
    ntp = int(sent.clock_s * (1 << 32))
    return _SENDER.pack(
        ntp >> 32 & 0xFFFFFFFF,
        ntp & 0xFFFFFFFF,
        sent.timestamp & 0xFFFFFFFF,
        sent.num_packets & 0xFFFFFFFF,
        sent.num_bytes & 0xFFFFFFFF,
    )
