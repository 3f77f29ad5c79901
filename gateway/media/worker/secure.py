"""DTLS-SRTP of one call (RFC 5763, RFC 5764): datagrams in and out, no socket, no clock.

OpenSSL speaks through memory; the caller carries the datagrams and asks when to try again.
"""

from __future__ import annotations

import datetime
import secrets
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

import pylibsrtp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DATAGRAM_BYTES: Final = 1200
"""What passes every path in use (RFC 9000, section 14)."""

_DTLS_1_2: Final = 0xFEFD
_RECORD_HEADER_BYTES: Final = 13
_MAX_RECORD_BYTES: Final = 1 << 14
_READ_BYTES: Final = 4096
"""More than a flight of a handshake, and no strain on the allocator."""
_MAX_NUM_SOURCES: Final = 8
"""Synchronization sources of one client: libsrtp keeps each until the call ends."""
_REPLAY_WINDOW_PACKETS: Final = 1024
_MAX_NUM_REPEATS: Final = 8
"""Of a flight, on a client's demand: what comes to more than that is no loss but a flood."""
_CERTIFICATE_DAYS: Final = 3650
"""Longer than any worker runs: clients go by the fingerprint."""
_CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256"
)
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha-256": hashes.SHA256(),
    "sha-384": hashes.SHA384(),
    "sha-512": hashes.SHA512(),
}


class _Profile(NamedTuple):
    """One way to protect RTP: OpenSSL's name, libsrtp's number, bytes of key and salt."""

    name: bytes
    number: int
    key_bytes: int
    salt_bytes: int


_PROFILES: Final = (
    _Profile(b"SRTP_AEAD_AES_128_GCM", pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    _Profile(b"SRTP_AEAD_AES_256_GCM", pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    _Profile(b"SRTP_AES128_CM_SHA1_80", pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
)
"""The cheapest first; the last is the one every WebRTC client has (RFC 8827, section 6.5)."""


class Identity:
    """The certificate of a voice worker, made at its start and shared by all of its calls."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(key)
        self.fingerprint = f"sha-256 {_fingerprint(certificate, 'sha-256')}"
        """As an answer states it."""
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.set_min_proto_version(_DTLS_1_2)
        # Records of 1.3 have another shape than those that `_datagrams` reads.
        self.context.set_max_proto_version(_DTLS_1_2)
        self.context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU)
        # Certificates are self-signed: what counts is the fingerprint, checked afterwards.
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)
        self.context.set_cipher_list(_CIPHERS)
        self.context.set_tlsext_use_srtp(b":".join(profile.name for profile in _PROFILES))


class LinkState(Enum):
    """How far a call's DTLS has come."""

    HANDSHAKE = auto()
    OPEN = auto()
    CLOSED = auto()


class SecureLink:
    """One call's DTLS and SRTP.

    After each call of a method that takes something in, `to_send` has what must go out.
    """

    def __init__(
        self, identity: Identity, fingerprints: tuple[tuple[str, str], ...], *, is_server: bool
    ) -> None:
        self.state = LinkState.HANDSHAKE
        self.failure = ""
        """Why it is closed: one line, empty where the client said goodbye."""
        self._fingerprints = fingerprints
        self._is_server = is_server
        self._inward: pylibsrtp.Session
        self._outward: pylibsrtp.Session
        self._sources: set[bytes] = set()
        self._flight: list[bytes] = []
        self._num_repeats = 0
        self._is_answer_due = False
        self._tls = SSL.Connection(identity.context)
        self._tls.set_ciphertext_mtu(MAX_DATAGRAM_BYTES)
        if is_server:
            self._tls.set_accept_state()
        else:
            self._tls.set_connect_state()

    def start(self) -> None:
        """Say hello, where that is ours to do."""
        if not self._is_server:
            self._shake_hands()

    def receive(self, datagram: bytes) -> list[bytes]:
        """Take a DTLS datagram in; returns the application data in it, record by record."""
        if self.state is LinkState.CLOSED:
            return []
        self._tls.bio_write(datagram)
        if self.state is LinkState.HANDSHAKE:
            self._shake_hands()
            self._is_answer_due = self._is_server
        return list(self._application_data()) if self.state is LinkState.OPEN else []

    def send(self, data: bytes) -> None:
        """Send one record of application data; a link that is not open drops it."""
        if self.state is not LinkState.OPEN:
            return
        try:
            self._tls.send(data)
        except SSL.Error as error:
            self._close(f"DTLS: {_reason(error)}")

    def close(self) -> None:
        """Say goodbye."""
        if self.state is LinkState.OPEN:
            try:
                self._tls.shutdown()
            except SSL.Error as error:
                self.failure = f"DTLS: {_reason(error)}"
        self.state = LinkState.CLOSED

    def to_send(self) -> list[bytes]:
        """Datagrams that must go out now."""
        is_answer_due, self._is_answer_due = self._is_answer_due, False
        stream = self._read_out()
        if not stream:
            return self._repeat() if is_answer_due else []
        sent = list(datagrams(stream))
        if self.state is LinkState.HANDSHAKE:
            self._flight = sent
        return sent

    def _read_out(self) -> bytes:
        stream = b""
        while len(stream) % _READ_BYTES == 0:
            try:
                stream += self._tls.bio_read(_READ_BYTES)
            except SSL.WantReadError:
                break
        return stream

    def _repeat(self) -> list[bytes]:
        """Our last flight, for a client that says again what we have answered: it was lost.

        OpenSSL waits for its own timer, a second; browsers ask again after 50 ms. Where the client
        was merely slow, it knows the records by their numbers and drops them.
        """
        if self.state is not LinkState.HANDSHAKE or self._num_repeats == _MAX_NUM_REPEATS:
            return []
        self._num_repeats += 1
        return self._flight

    def timeout_s(self) -> float | None:
        """In how many seconds `try_again` is due unless something comes; None: never."""
        return self._tls.DTLSv1_get_timeout() if self.state is LinkState.HANDSHAKE else None

    def try_again(self) -> None:
        """Send again what the client has not confirmed."""
        try:
            self._tls.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._close(f"DTLS: {_reason(error)}")

    def protect(self, packet: bytes) -> bytes:
        """The SRTP packet of an RTP packet, on an open link.

        Raises ValueError for what is no RTP packet, or one far older than the last.
        """
        try:
            return self._outward.protect(packet)
        except pylibsrtp.Error as error:
            raise ValueError(f"cannot be sent as SRTP: {error}") from None

    def protect_rtcp(self, packet: bytes) -> bytes:
        """The SRTCP packet of an RTCP packet, on an open link; ValueError if it is none."""
        try:
            return self._outward.protect_rtcp(packet)
        except pylibsrtp.Error as error:
            raise ValueError(f"cannot be sent as SRTCP: {error}") from None

    def unprotect(self, packet: bytes) -> bytes | None:
        """The RTP packet in an SRTP packet; None if it is not the client's, or was seen before."""
        source = packet[8:12]
        is_new = source not in self._sources
        if self.state is not LinkState.OPEN or (is_new and len(self._sources) >= _MAX_NUM_SOURCES):
            return None
        try:
            plain = self._inward.unprotect(packet)
        except (pylibsrtp.Error, ValueError):
            return None
        if is_new:
            self._sources.add(source)
        return plain

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """The RTCP packet in an SRTCP packet; None if it is not the client's."""
        if self.state is not LinkState.OPEN:
            return None
        try:
            return self._inward.unprotect_rtcp(packet)
        except (pylibsrtp.Error, ValueError):
            return None

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            self._close(f"the DTLS handshake failed: {_reason(error)}")
            return
        if not self._is_the_offered_client():
            self._close("the client's certificate is not the one of its offer")
            return
        self._export_keys()

    def _application_data(self) -> Iterator[bytes]:
        while self.state is LinkState.OPEN:
            try:
                yield self._tls.recv(_MAX_RECORD_BYTES)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self._close("")
            except SSL.Error as error:
                self._close(f"DTLS: {_reason(error)}")

    def _is_the_offered_client(self) -> bool:
        certificate = self._tls.get_peer_certificate(as_cryptography=True)
        return certificate is not None and any(
            _fingerprint(certificate, algorithm) == value for algorithm, value in self._fingerprints
        )

    def _export_keys(self) -> None:
        chosen = self._tls.get_selected_srtp_profile()
        profile = next((profile for profile in _PROFILES if profile.name == chosen), None)
        if profile is None:
            self._close("the client offers no SRTP profile that we have")
            return
        # RFC 5764, section 4.2: client key, server key, client salt, server salt.
        key, salt = profile.key_bytes, profile.salt_bytes
        material = self._tls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        salts = material[2 * key :]
        clients, servers = material[:key] + salts[:salt], material[key : 2 * key] + salts[salt:]
        inward, outward = (clients, servers) if self._is_server else (servers, clients)
        self._inward = _session(profile, inward, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._outward = _session(profile, outward, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.state = LinkState.OPEN

    def _close(self, failure: str) -> None:
        self.failure = failure
        self.state = LinkState.CLOSED


def datagrams(stream: bytes) -> Iterator[bytes]:
    """DTLS records packed into datagrams of at most `MAX_DATAGRAM_BYTES`, where a record allows.

    OpenSSL's memory keeps no borders between datagrams; a record must not be cut in two.
    """
    begin = end = 0
    while end + _RECORD_HEADER_BYTES <= len(stream):
        next_end = end + _RECORD_HEADER_BYTES + int.from_bytes(stream[end + 11 : end + 13], "big")
        if next_end - begin > MAX_DATAGRAM_BYTES and end > begin:
            yield stream[begin:end]
            begin = end
        end = next_end
    if end > begin:
        yield stream[begin:end]


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(8))])
    now = datetime.datetime.now(tz=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )


def _fingerprint(certificate: x509.Certificate, algorithm: str) -> str:
    return certificate.fingerprint(_HASHES[algorithm]).hex(":").upper()


def _session(profile: _Profile, key: bytes, sources: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=sources, srtp_profile=profile.number)
    policy.window_size = _REPLAY_WINDOW_PACKETS
    # The media side may repeat a packet, as retransmission does.
    policy.allow_repeat_tx = True
    return pylibsrtp.Session(policy)


def _reason(error: SSL.Error) -> str:
    """OpenSSL's own words for its last complaint."""
    complaints = error.args[0] if error.args else []
    return str(complaints[-1][-1]) if complaints else type(error).__name__
