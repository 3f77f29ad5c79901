"""Whether an SCTP packet can be given to a parser that trusts its lengths (RFC 9260).

aiortc walks parameters by the length they state, forever where that is zero, and gap blocks one
number after the other. One packet could keep a worker's other calls waiting for seconds.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Final

_COMMON_HEADER_BYTES: Final = 12
_DATA, _INIT, _INIT_ACK, _SACK, _HEARTBEAT, _HEARTBEAT_ACK, _ABORT = range(7)
_ERROR, _RECONFIG, _FORWARD_TSN = 9, 130, 192
_FIXED_BYTES: Final = {
    _DATA: 16, _INIT: 20, _INIT_ACK: 20, _SACK: 16, _HEARTBEAT: 4, _HEARTBEAT_ACK: 4, _ABORT: 4,
    _ERROR: 4, _RECONFIG: 4, _FORWARD_TSN: 8,
}  # fmt: skip
"""Bytes of a chunk before its parameters or its data, the chunk's header included."""
_WITH_PARAMETERS: Final = frozenset(
    (_INIT, _INIT_ACK, _HEARTBEAT, _HEARTBEAT_ACK, _ABORT, _ERROR, _RECONFIG)
)
_MAX_GAP_CHUNKS: Final = 2048
"""How far past its acknowledgement a client can have chunks: we never have as many under way."""


def is_acceptable(packet: bytes) -> bool:
    """Whether every length in the packet is one that its chunks and parameters have."""
    at, num_bytes = _COMMON_HEADER_BYTES, len(packet)
    if num_bytes < at + 4:
        return False
    while at + 4 <= num_bytes:
        kind, _, length = unpack_from("!BBH", packet, at)
        if length < _FIXED_BYTES.get(kind, 4) or at + length > num_bytes:
            return False
        if not _is_sound(kind, packet[at : at + length]):
            return False
        at += length + -length % 4
    return True


def _is_sound(kind: int, chunk: bytes) -> bool:
    if kind == _SACK:
        return _has_sound_gaps(chunk)
    if kind == _FORWARD_TSN:
        return len(chunk) % 4 == 0
    return kind not in _WITH_PARAMETERS or _has_sound_parameters(chunk, _FIXED_BYTES[kind])


def _has_sound_parameters(chunk: bytes, at: int) -> bool:
    while at + 4 <= len(chunk):
        length = int.from_bytes(chunk[at + 2 : at + 4], "big")
        if length < 4 or at + length > len(chunk):
            return False
        at += length + -length % 4
    return True


def _has_sound_gaps(chunk: bytes) -> bool:
    num_gaps, num_duplicates = unpack_from("!HH", chunk, 12)
    if len(chunk) != 16 + 4 * (num_gaps + num_duplicates):
        return False
    reached = 0
    for at in range(16, 16 + 4 * num_gaps, 4):
        begin, end = unpack_from("!HH", chunk, at)
        if not reached < begin <= end <= _MAX_GAP_CHUNKS:
            return False
        reached = end
    return True
