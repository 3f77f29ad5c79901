"""The words site and engine process exchange, and how they lie on the socket.

A frame is a length (4 bytes, big endian) and a MessagePack array whose first element names the
kind. Nothing here reads a socket: bytes in, messages out.
"""

from __future__ import annotations

import struct
from typing import Generic, TypeVar

import msgspec

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.core.errors import InvalidRequest
from gateway.core.generation import Constraint, EngineLoad, GenerationEvent, GenerationRequest

MAX_FRAME_BYTES = 32 << 20
"""Far above the largest prompt; a longer frame means the stream is out of step."""

_LENGTH = struct.Struct(">I")
_Frame = TypeVar("_Frame")


class Start(msgspec.Struct, frozen=True, array_like=True, tag="start"):
    """Site to worker, first and once: what to serve and how."""

    bundle_path: str
    num_slots: int = 8
    max_context_tokens: int = 0
    """Prompt and answer together, by which the KV rows are sized; 0: all the model can."""
    num_threads: int = 0
    """Threads inside an operator; 0: as many as are fastest, of the cores that are not spared."""
    spare_cores: int = 1
    """Cores left to the site and its media when the number of threads is chosen."""
    allow_spinning: bool = False
    """Threads wait actively between operators: faster alone, harmful to whoever shares cores."""
    chunk_tokens: int = 64
    max_num_queued: int = 512
    cache_bytes: int = 64 << 20
    """Memory for KV rows that keep prompts beside those of the slots."""
    inter_token_budget_s: float = 0.05
    """A stream's tokens may be so far apart while other prompts are prefilled."""
    frame_interval_s: float = 0.02
    """A stream's first token leaves at once, later ones at most one frame per interval."""
    accelerator: str = "cpu"
    """`cpu`, or `emulated:PROFILE`: made-up tokens at the speed of a step-time profile."""


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag="prepare"):
    """Site to worker: turns will bring this constraint; have it compiled by then.

    What is wrong with it shows when one does.
    """

    constraint: Constraint


class Submit(msgspec.Struct, frozen=True, array_like=True, tag="submit"):
    """Site to worker: generate under a key that is new on this connection."""

    key: int
    request: GenerationRequest
    is_resubmission: bool = False
    """An engine process took it before and died: the queue's bound was passed then."""


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """Site to worker: nobody wants this any more. Unknown keys are ignored."""

    key: int


class Shutdown(msgspec.Struct, frozen=True, array_like=True, tag="shutdown"):
    """Site to worker: exit now."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """Worker to site: the model is loaded, has run once, and takes requests."""

    max_context_tokens: int
    vocab_size: int
    num_slots: int
    startup_s: float
    load: EngineLoad


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="batch"):
    """Worker to site: what a step produced, by key."""

    events: tuple[tuple[int, GenerationEvent], ...]


class Load(msgspec.Struct, frozen=True, array_like=True, tag="load"):
    """Worker to site: its load after the first `num_submits_seen` Submits of this connection."""

    load: EngineLoad
    num_submits_seen: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Worker to site, last: it cannot serve; one line says why."""

    message: str


SiteFrame = Start | Prepare | Submit | Cancel | Shutdown
WorkerFrame = Ready | Batch | Load | Failed

_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The peer's bytes are no frames; the connection is of no use any more."""


def encode(frame: SiteFrame | WorkerFrame) -> bytes:
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


def site_frames() -> FrameDecoder[SiteFrame]:
    """For what the site sends."""
    return FrameDecoder(msgspec.msgpack.Decoder(SiteFrame))


def worker_frames() -> FrameDecoder[WorkerFrame]:
    """For what the worker sends."""
    return FrameDecoder(msgspec.msgpack.Decoder(WorkerFrame))
