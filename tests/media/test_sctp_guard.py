"""Packets that a trusting SCTP parser may be given, and those that would keep it busy."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from aiortc.rtcsctptransport import (
    DataChunk,
    HeartbeatChunk,
    InitChunk,
    ReconfigChunk,
    SackChunk,
    parse_packet,
    serialize_packet,
)
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.worker.sctp_guard import is_acceptable

HEADER = struct.pack("!HHL", 5000, 5000, 1) + bytes(4)


def packet(*chunks: bytes) -> bytes:
    return HEADER + b"".join(chunks)


def chunk(kind: int, body: bytes, length: int | None = None) -> bytes:
    stated = len(body) + 4 if length is None else length
    return struct.pack("!BBH", kind, 0, stated) + body + bytes(-len(body) % 4)


def data(text: bytes) -> DataChunk:
    made = DataChunk(flags=3)
    made.user_data = text
    return made


def sack(gaps: list[tuple[int, int]]) -> SackChunk:
    made = SackChunk()
    made.cumulative_tsn, made.advertised_rwnd, made.gaps, made.duplicates = 1, 1000, gaps, [5]
    return made


def with_parameters(made: InitChunk | HeartbeatChunk | ReconfigChunk) -> bytes:
    made.params = [(1, b"odd"), (13, bytes(12))]
    return serialize_packet(5000, 5000, 1, made)


@pytest.mark.parametrize(
    "sound",
    [
        serialize_packet(5000, 5000, 1, data(b"hello")),
        serialize_packet(5000, 5000, 1, sack([(2, 3), (5, 5)])),
        with_parameters(InitChunk()),
        with_parameters(HeartbeatChunk()),
        with_parameters(ReconfigChunk()),
        packet(chunk(10, b"cookie"), chunk(0, bytes(13))),
        packet(chunk(99, b"unknown")),
    ],
)
def test_sound_packets_pass(sound: bytes) -> None:
    assert is_acceptable(sound)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        HEADER,
        packet(chunk(0, bytes(12), length=3)),
        packet(chunk(0, bytes(12), length=400)),
        packet(chunk(0, bytes(8))),
        packet(chunk(1, bytes(15))),
        packet(chunk(4, struct.pack("!HH", 1, 0))),
        packet(chunk(130, struct.pack("!HH", 13, 3))),
        packet(chunk(9, struct.pack("!HH", 1, 500))),
        packet(chunk(3, struct.pack("!LLHH", 1, 1, 9, 0))),
        packet(chunk(3, struct.pack("!LLHHHH", 1, 1, 1, 0, 1, 65535))),
        packet(chunk(3, struct.pack("!LLHHHHHH", 1, 1, 2, 0, 5, 9, 3, 4))),
        packet(chunk(192, bytes(6))),
    ],
)
def test_packets_that_lie_about_lengths_do_not(broken: bytes) -> None:
    assert not is_acceptable(broken)


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40), st.integers(0, 60)), max_size=4)
)
def test_what_passes_is_parsed_in_no_time(chunks: list[tuple[int, bytes, int]]) -> None:
    made = packet(*(chunk(kind, body, length) for kind, body, length in chunks))
    if is_acceptable(made):
        checksum = struct.pack("<L", crc32c(made))
        # A body that is too short for its kind is an error of the parser's own, and no loop.
        with suppress(struct.error):
            parse_packet(made[:8] + checksum + made[12:])
