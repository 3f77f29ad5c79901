"""Two links shake hands in memory, whatever the path between them does."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.worker.secure import (
    MAX_DATAGRAM_BYTES,
    Identity,
    LinkState,
    SecureLink,
    datagrams,
)

SERVER, CLIENT = Identity(), Identity()
RTP = struct.pack("!BBHII", 0x80, 111, 1, 960, 77) + b"sound"


def prints(identity: Identity) -> tuple[tuple[str, str], ...]:
    algorithm, value = identity.fingerprint.split()
    return ((algorithm, value),)


def pair(known_client: Identity = CLIENT) -> tuple[SecureLink, SecureLink]:
    server = SecureLink(SERVER, prints(known_client), is_server=True)
    client = SecureLink(CLIENT, prints(SERVER), is_server=False)
    client.start()
    return server, client


def exchange(server: SecureLink, client: SecureLink, lost: frozenset[int] = frozenset()) -> None:
    """Carry datagrams both ways until none is left, but for those whose number is lost."""
    number = 0
    while True:
        there, back = client.to_send(), server.to_send()
        if not there and not back:
            return
        for link, batch in ((server, there), (client, back)):
            for datagram in batch:
                if number not in lost:
                    link.receive(datagram)
                number += 1


def connected() -> tuple[SecureLink, SecureLink]:
    server, client = pair()
    exchange(server, client)
    assert (server.state, client.state) == (LinkState.OPEN, LinkState.OPEN)
    return server, client


def test_both_sides_read_each_others_media_and_nobody_elses() -> None:
    server, client = connected()
    assert server.unprotect(client.protect(RTP)) == RTP
    assert client.unprotect(server.protect(RTP)) == RTP
    report = struct.pack("!BBHI", 0x80, 201, 1, 77)
    assert server.unprotect_rtcp(client.protect_rtcp(report)) == report
    stranger, _ = connected()
    assert server.unprotect(stranger.protect(RTP)) is None
    assert server.unprotect(RTP) is None
    assert server.unprotect(b"\x80" * 3000) is None
    assert server.unprotect_rtcp(b"\x80\xc9") is None


def test_a_packet_is_taken_once() -> None:
    server, client = connected()
    packet = client.protect(RTP)
    assert server.unprotect(packet) == RTP
    assert server.unprotect(packet) is None


def test_a_client_has_few_sources() -> None:
    server, client = connected()
    packets = [client.protect(RTP[:8] + struct.pack("!I", n) + b"sound") for n in range(12)]
    assert sum(server.unprotect(packet) is not None for packet in packets) == 8
    assert server.unprotect(client.protect(struct.pack("!BBHII", 0x80, 111, 2, 1, 0) + b"s"))


def test_application_data_passes_record_by_record() -> None:
    server, client = connected()
    for n in range(20):
        client.send(bytes([n]) * 1000)
    sent = client.to_send()
    assert all(len(datagram) <= MAX_DATAGRAM_BYTES for datagram in sent)
    received = [record for datagram in sent for record in server.receive(datagram)]
    assert received == [bytes([n]) * 1000 for n in range(20)]


def test_a_client_with_another_certificate_is_turned_away() -> None:
    server, client = pair(known_client=Identity())
    exchange(server, client)
    assert server.state is LinkState.CLOSED
    assert "certificate" in server.failure
    assert server.unprotect(RTP) is None


@pytest.mark.parametrize("lost", [{0}, {1}, {2}, {3}, {0, 1}, {1, 3}])
def test_a_handshake_survives_loss(lost: set[int]) -> None:
    server, client = pair()
    exchange(server, client, frozenset(lost))
    for _ in range(8):
        if server.state is client.state is LinkState.OPEN:
            break
        # Who waits sends again when its time has come; OpenSSL's own clock says when.
        for link in (client, server):
            time.sleep(link.timeout_s() or 0.0)
            link.try_again()
        exchange(server, client)
    assert (server.state, client.state) == (LinkState.OPEN, LinkState.OPEN)


def test_a_lost_flight_is_sent_again_when_the_client_asks_again() -> None:
    server, client = pair()
    [hello] = client.to_send()
    server.receive(hello)
    flight = server.to_send()
    assert flight
    assert server.to_send() == []
    for _ in range(8):
        server.receive(hello)
        assert server.to_send() == flight
    server.receive(hello)
    assert server.to_send() == [], "no client needs more"
    for datagram in flight:
        client.receive(datagram)
    exchange(server, client)
    assert (server.state, client.state) == (LinkState.OPEN, LinkState.OPEN)


def test_goodbye_ends_the_other_side_too() -> None:
    server, client = connected()
    client.close()
    exchange(server, client)
    assert server.state is LinkState.CLOSED
    assert server.failure == ""
    server.send(b"nobody hears this")
    assert server.to_send() == []


@given(st.binary(min_size=1, max_size=300), st.sampled_from([20, 21, 22, 23, 63]))
def test_noise_neither_raises_nor_opens_a_link(noise: bytes, kind: int) -> None:
    server, _ = pair()
    server.receive(bytes([kind]) + noise)
    server.receive(bytes([kind]) + b"\xfe\xfd" + bytes(8) + len(noise).to_bytes(2, "big") + noise)
    server.to_send()
    assert server.state is not LinkState.OPEN


@given(st.lists(st.integers(0, 1500), max_size=12))
def test_records_are_packed_whole_and_in_order(sizes: list[int]) -> None:
    records = [
        b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2, "big") + bytes([size % 251]) * size
        for size in sizes
    ]
    packed = list(datagrams(b"".join(records)))
    assert b"".join(packed) == b"".join(records)
    for datagram in packed:
        assert len(datagram) <= MAX_DATAGRAM_BYTES or datagram in records
