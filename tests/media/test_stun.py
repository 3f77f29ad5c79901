"""Binding requests and answers, against the samples of RFC 5769 and another implementation."""

from __future__ import annotations

from zlib import crc32

import pytest
from aioice import stun as other
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.worker.stun import (
    BindingRequest,
    _xor_address,
    read_request,
    success,
    unknown_attributes,
)

# RFC 5769, section 2.1: short-term credentials, with SOFTWARE and ICE-CONTROLLED before USERNAME.
SAMPLE = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
SAMPLE_PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")


def request(*, password: bytes = SAMPLE_PASSWORD, nominate: bool = False) -> bytes:
    message = other.Message(other.Method.BINDING, other.Class.REQUEST)
    message.attributes["USERNAME"] = "us:them"
    message.attributes["PRIORITY"] = 5
    if nominate:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(password)
    return bytes(message)


def read(datagram: bytes) -> BindingRequest:
    found = read_request(datagram)
    assert found is not None
    return found


def test_the_sample_request_of_rfc_5769_is_read_and_genuine() -> None:
    found = read(SAMPLE)
    assert found.username == "evtj:h6vY"
    assert found.transaction == TRANSACTION
    assert not found.is_nominating
    assert found.unknown == ()
    assert found.is_signed_with(SAMPLE_PASSWORD)
    assert not found.is_signed_with(b"another password")


@pytest.mark.parametrize(
    ("address", "attribute"),
    [
        (("192.0.2.1", 32853), "002000080001a147e112a643"),
        (
            ("2001:db8:1234:5678:11:2233:4455:6677", 32853),
            "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
        ),
    ],
)
def test_addresses_are_masked_as_in_the_sample_answers(
    address: tuple[str, int], attribute: str
) -> None:
    assert _xor_address(address, TRANSACTION).hex() == attribute


@pytest.mark.parametrize("host", ["127.0.0.1", "2001:db8::1"])
def test_another_implementation_accepts_the_answer(host: str) -> None:
    asked = read(request(nominate=True))
    assert asked.is_nominating
    answer = other.parse_message(success(asked, (host, 5000), b"key"))
    assert answer.check_message_integrity(b"key")
    assert answer.message_class is other.Class.RESPONSE
    assert answer.transaction_id == asked.transaction
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == (host, 5000)


def test_what_is_not_understood_is_named() -> None:
    message = other.Message(other.Method.BINDING, other.Class.REQUEST)
    message.attributes["USERNAME"] = "us:them"
    message.attributes["CHANGE-REQUEST"] = 0
    message.add_message_integrity(b"key")
    asked = read(bytes(message))
    assert asked.unknown == (0x0003,)
    answer = other.parse_message(unknown_attributes(asked, b"key"))
    assert answer.check_message_integrity(b"key")
    assert answer.error_code == 420


def test_what_stands_behind_the_signature_does_not_count() -> None:
    message = other.Message(other.Method.BINDING, other.Class.REQUEST)
    message.attributes["USERNAME"] = "us:them"
    message.add_message_integrity(b"key")
    del message.attributes["FINGERPRINT"]
    message.attributes["USE-CANDIDATE"] = None
    message.add_fingerprint()
    assert not read(bytes(message)).is_nominating


def test_other_messages_are_none_of_ours() -> None:
    message = other.Message(other.Method.BINDING, other.Class.INDICATION)
    message.attributes["USERNAME"] = "us:them"
    message.add_message_integrity(b"key")
    assert read_request(bytes(message)) is None
    unsigned = other.Message(other.Method.BINDING, other.Class.REQUEST)
    unsigned.attributes["USERNAME"] = "a name that is long enough"
    unsigned.add_fingerprint()
    assert read_request(bytes(unsigned)) is None


@given(st.binary(max_size=200), st.integers(0, 200))
def test_nothing_that_is_broken_is_read(noise: bytes, at: int) -> None:
    assert read_request(noise) is None
    assert read_request(SAMPLE[: at % len(SAMPLE)]) is None
    position = at % len(SAMPLE)
    flipped = SAMPLE[:position] + bytes([SAMPLE[position] ^ 1]) + SAMPLE[position + 1 :]
    assert read_request(flipped) is None, "the fingerprint covers every byte"


@given(st.binary(max_size=120))
def test_attributes_of_any_shape_are_survived(body: bytes) -> None:
    length = (len(body) + 8).to_bytes(2, "big")
    message = b"\0\1" + length + SAMPLE[4:20] + body
    fingerprint = (crc32(message) ^ 0x5354554E).to_bytes(4, "big")
    found = read_request(message + b"\x80\x28\0\4" + fingerprint)
    assert found is None or not found.is_signed_with(SAMPLE_PASSWORD)
