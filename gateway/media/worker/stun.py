"""STUN as an ICE-lite server needs it: binding requests in, answers out (RFC 8489, RFC 8445).

It knows bytes and keys. Whose request it is, and what follows from it, is `ice`'s business.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct
from typing import Final
from zlib import crc32

MAX_USERNAME_BYTES: Final = 513
"""RFC 8489, section 14.3."""

_MAGIC: Final = 0x2112A442
_HEADER: Final = Struct("!HHI12s")
_ATTRIBUTE: Final = Struct("!HH")
_BINDING_REQUEST, _BINDING_SUCCESS, _BINDING_ERROR = 0x0001, 0x0101, 0x0111

_USERNAME, _INTEGRITY, _ERROR_CODE, _UNKNOWN = 0x0006, 0x0008, 0x0009, 0x000A
_XOR_MAPPED_ADDRESS, _PRIORITY, _USE_CANDIDATE, _FINGERPRINT = 0x0020, 0x0024, 0x0025, 0x8028
_UNDERSTOOD: Final = frozenset((_USERNAME, _INTEGRITY, _PRIORITY, _USE_CANDIDATE))
_COMPREHENSION_OPTIONAL: Final = 0x8000
"""Attributes from here on may be skipped by who does not know them."""
_INTEGRITY_BYTES: Final = 24
_FINGERPRINT_BYTES: Final = 8
_FINGERPRINT_XOR: Final = 0x5354554E
_ERROR_420: Final = b"\0\0\4\x14"
"""Class 4, number 20, no text: unknown attributes."""


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """A well-formed binding request with an intact fingerprint; whether it is genuine is open."""

    transaction: bytes
    username: str
    is_nominating: bool
    unknown: tuple[int, ...]
    """Attributes that the sender wants understood and that are not."""
    signed: bytes
    """The message up to its integrity attribute, its length as the signature counts it."""
    signature: bytes

    def is_signed_with(self, password: bytes) -> bool:
        """Whether the sender knows the password (short-term credentials)."""
        return hmac.compare_digest(hmac.digest(password, self.signed, "sha1"), self.signature)


def read_request(datagram: bytes) -> BindingRequest | None:
    """The binding request in a datagram; None for anything else or anything broken."""
    num_bytes = len(datagram)
    if num_bytes < _HEADER.size + _INTEGRITY_BYTES + _FINGERPRINT_BYTES:
        return None
    kind, body_bytes, magic, transaction = _HEADER.unpack_from(datagram)
    if (kind, magic) != (_BINDING_REQUEST, _MAGIC) or body_bytes + _HEADER.size != num_bytes:
        return None
    if not _has_fingerprint(datagram):
        return None
    return _read_attributes(datagram, transaction)


def success(request: BindingRequest, address: tuple[str, int], password: bytes) -> bytes:
    """The answer to a genuine request: the address it came from, signed."""
    body = _xor_address(address, request.transaction)
    return _signed(_BINDING_SUCCESS, request.transaction, body, password)


def unknown_attributes(request: BindingRequest, password: bytes) -> bytes:
    """The answer to a genuine request that wants more understood than we do (error 420)."""
    names = b"".join(attribute.to_bytes(2, "big") for attribute in request.unknown)
    body = _attribute(_ERROR_CODE, _ERROR_420) + _attribute(_UNKNOWN, names)
    return _signed(_BINDING_ERROR, request.transaction, body, password)


def _has_fingerprint(datagram: bytes) -> bool:
    at = len(datagram) - _FINGERPRINT_BYTES
    if _ATTRIBUTE.unpack_from(datagram, at) != (_FINGERPRINT, 4):
        return False
    return int.from_bytes(datagram[at + 4 :], "big") == crc32(datagram[:at]) ^ _FINGERPRINT_XOR


def _read_attributes(datagram: bytes, transaction: bytes) -> BindingRequest | None:
    username: bytes | None = None
    is_nominating = False
    unknown: list[int] = []
    at, end = _HEADER.size, len(datagram) - _FINGERPRINT_BYTES
    while at + 4 <= end:
        kind, value_bytes = _ATTRIBUTE.unpack_from(datagram, at)
        value = datagram[at + 4 : at + 4 + value_bytes]
        if at + 4 + value_bytes > end:
            return None
        if kind == _INTEGRITY:
            # Nothing after it is signed, so nothing after it counts.
            if username is None or value_bytes != _INTEGRITY_BYTES - 4:
                return None
            signed = _with_length(datagram[:at], at + _INTEGRITY_BYTES)
            name = username.decode("ascii", "replace")
            return BindingRequest(transaction, name, is_nominating, tuple(unknown), signed, value)
        if kind == _USERNAME and username is None and value_bytes <= MAX_USERNAME_BYTES:
            username = value
        elif kind == _USE_CANDIDATE:
            is_nominating = True
        elif kind < _COMPREHENSION_OPTIONAL and kind not in _UNDERSTOOD:
            unknown.append(kind)
        at += 4 + value_bytes + -value_bytes % 4
    return None


def _xor_address(address: tuple[str, int], transaction: bytes) -> bytes:
    ip = ip_address(address[0])
    pad = _MAGIC.to_bytes(4, "big") + transaction
    masked = bytes(a ^ b for a, b in zip(ip.packed, pad, strict=False))
    family = b"\0\1" if ip.version == 4 else b"\0\2"
    port = (address[1] ^ _MAGIC >> 16).to_bytes(2, "big")
    return _attribute(_XOR_MAPPED_ADDRESS, family + port + masked)


def _signed(kind: int, transaction: bytes, body: bytes, password: bytes) -> bytes:
    message = _HEADER.pack(kind, 0, _MAGIC, transaction) + body
    message = _with_length(message, len(message) + _INTEGRITY_BYTES)
    message += _attribute(_INTEGRITY, hmac.digest(password, message, "sha1"))
    message = _with_length(message, len(message) + _FINGERPRINT_BYTES)
    fingerprint = crc32(message) ^ _FINGERPRINT_XOR
    return message + _attribute(_FINGERPRINT, fingerprint.to_bytes(4, "big"))


def _with_length(message: bytes, num_bytes: int) -> bytes:
    """The message with the header of one that is `num_bytes` long, the header included."""
    return message[:2] + (num_bytes - _HEADER.size).to_bytes(2, "big") + message[4:]


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)
