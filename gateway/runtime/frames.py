"""Frames between the processes of a site: how typed messages lie on a socket.

A frame is a length (4 bytes, big endian) and a MessagePack array whose first element names the
kind. Nothing here reads a socket: bytes in, messages out.
"""

from __future__ import annotations

import struct
from typing import Final, Generic, TypeVar

import msgspec

from gateway.core.errors import InvalidRequest

MAX_FRAME_BYTES: Final = 32 << 20
"""Far above the largest prompt; a longer frame means the stream is out of step."""

_LENGTH = struct.Struct(">I")
_Frame = TypeVar("_Frame")
_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The peer's bytes are no frames; the connection is of no use any more."""


def encode(frame: msgspec.Struct) -> bytes:
    """A frame's bytes. Raises FrameError for one that is too long."""
    body = _encoder.encode(frame)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


class FrameDecoder(Generic[_Frame]):
    """Cuts a byte stream into frames of one direction."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[_Frame]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[_Frame]:
        """The frames that `data` completes. Raises FrameError."""
        self._buffer += data
        frames: list[_Frame] = []
        at = 0
        while len(self._buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            if length > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {length} bytes is over {MAX_FRAME_BYTES}")
            end = at + _LENGTH.size + length
            if end > len(self._buffer):
                break
            frames.append(self._decode(bytes(self._buffer[at + _LENGTH.size : end])))
            at = end
        del self._buffer[:at]
        return frames

    def _decode(self, body: bytes) -> _Frame:
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, InvalidRequest) as error:
            raise FrameError(f"a frame cannot be read: {error}") from error
