"""How a site's report lies in a message of the fabric: MessagePack, typed and bounded."""

from __future__ import annotations

import msgspec

from gateway.core.membership import SiteReport

MAX_PAYLOAD_BYTES = 8192
"""An ordinary report has about 500; the largest that the fields allow is below."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SiteReport)


class PayloadError(Exception):
    """The bytes are no report of a site."""


def encode_report(report: SiteReport) -> bytes:
    """A message's bytes."""
    return _encoder.encode(report)


def decode_report(payload: bytes) -> SiteReport:
    """Raises PayloadError."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadError(f"{len(payload)} bytes, of {MAX_PAYLOAD_BYTES} at most")
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise PayloadError(str(error)) from error
