import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.worker import rtcp, rtp
from gateway.media.worker.telephone_event import KeyPresses


@given(
    st.integers(0, 127),
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=40),
)
def test_what_is_built_is_parsed(
    kind: int, marker: bool, sequence: int, timestamp: int, ssrc: int, payload: bytes
) -> None:
    packet = rtp.RtpPacket(kind, marker, sequence, timestamp, ssrc, payload)
    assert rtp.parse(rtp.build(packet)) == packet


def test_sources_extensions_and_padding_are_skipped() -> None:
    head = bytes((0x80 | 0x20 | 0x10 | 2, 111)) + bytes(10)
    extension = bytes((0xBE, 0xDE, 0, 1)) + b"\x10\xff\x00\x00"
    packet = rtp.parse(head + bytes(8) + extension + b"sound" + b"\x00\x00\x03")
    assert packet is not None
    assert packet.payload == b"sound"


@given(st.binary(max_size=64))
def test_anything_is_survived(data: bytes) -> None:
    rtp.parse(data)
    rtcp.parse(data, 0)
    KeyPresses().feed(0, data)


@given(st.integers(0x80, 0xBF), st.binary(max_size=40))
def test_lengths_that_lie_are_no_packet_or_within_it(first: int, data: bytes) -> None:
    whole = bytes((first,)) + data
    packet = rtp.parse(whole)
    assert packet is None or packet.payload in whole


def test_a_press_is_one_digit_however_many_packets_tell_of_it() -> None:
    keys = KeyPresses()
    press = [bytes((5, 10, 0, 160)), bytes((5, 10, 1, 64)), bytes((5, 0x8A, 1, 224))]
    said = [keys.feed(4000, payload) for payload in [*press, press[-1], press[-1]]]
    assert said == ["5", None, None, None, None]
    assert keys.feed(9000, press[-1]) == "5", "a new press whose first packets were lost"
    assert keys.feed(9900, bytes((11, 10, 0, 0))) == "#"
    assert keys.feed(9990, bytes((16, 10, 0, 0))) is None, "a flash is no key"


def test_reports_are_read_as_they_were_written() -> None:
    heard = rtcp.Heard(ssrc=7, loss_ratio=0.25, num_lost=3, highest_sequence=70_000, jitter_ticks=9)
    sent = rtcp.Sent(clock_s=1e5, timestamp=1 << 33, num_packets=5, num_bytes=600)
    for what in (sent, None):
        compound = rtcp.build(1, b"site", sent=what, heard=heard)
        assert len(compound) % 4 == 0
        assert rtcp.parse(compound, 7) == [heard]
        assert rtcp.parse(compound, 8) == []
    assert rtcp.goodbye(1, b"site")[-4:] == bytes((0, 0, 0, 1))
    assert rtcp.parse(rtcp.goodbye(1, b"site"), 7) == [rtcp.Goodbye(1)]


@pytest.mark.parametrize("name", [b"", b"abc", b"abcd", b"abcdef"])
def test_names_are_padded_as_the_standard_says(name: bytes) -> None:
    assert len(rtcp.build(1, name, sent=None, heard=None)) % 4 == 0
