"""Opus (RFC 6716) by libopus: a thin binding, one mono frame per call, nothing shared.

PyAV's own binding has no concealment, no redundancy and an executor's price; its wheel carries the
library, though, which is taken before one of the system. A coder's state lies in memory of ours,
so there is nothing to free.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.core.errors import SetupError
from gateway.core.voice_line import HEARD_HZ, SAID_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOCK_HZ: Final = 48_000
"""RTP timestamps of Opus count at this rate, whatever rate is coded (RFC 7587 section 4.1)."""
MAX_QUIET_BYTES: Final = 2
"""A packet so short holds no sound: the encoder went silent (DTX)."""

_TICKS_PER_HEARD = CLOCK_HZ // HEARD_HZ
_MAX_TICKS = 120 * CLOCK_HZ // 1000  # the longest packet there is
_STEP_TICKS = CLOCK_HZ // 400  # concealment comes in units of 2.5 ms
_MAX_PACKET_BYTES = 1275
_AUDIO = 2049
"""The application that leaves the choice between the codec's halves to the signal's kind."""
_VOICE, _MUSIC = 3001, 3002
_SET_BITRATE, _SET_COMPLEXITY, _SET_FEC, _SET_LOSS = 4002, 4010, 4012, 4014
_SET_DTX, _SET_SIGNAL, _RESET = 4016, 4024, 4028
LOSSY_RATIO: Final = 0.01
"""From so much loss on packets carry redundancy."""


@cache
def library() -> ctypes.CDLL:
    """libopus, with its functions' types. Raises SetupError where there is none."""
    for path in _candidates():
        try:
            opus = ctypes.CDLL(path)
        except OSError:
            continue
        state, data, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
        opus.opus_decoder_init.argtypes = [state, size, ctypes.c_int]
        opus.opus_decode.argtypes = [state, data, size, state, ctypes.c_int, ctypes.c_int]
        opus.opus_packet_get_nb_samples.argtypes = [data, size, size]
        opus.opus_encoder_init.argtypes = [state, size, ctypes.c_int, ctypes.c_int]
        opus.opus_encode.argtypes = [state, data, ctypes.c_int, state, size]
        opus.opus_encoder_ctl.argtypes = [state, ctypes.c_int]  # and one more, by request
        return opus
    raise SetupError("there is no libopus for calls with Opus: pip install av, or apt libopus0")


def _buffer(num_bytes: int) -> ctypes.Array[ctypes.c_char]:
    return _buffer_type(num_bytes)()


@cache
def _buffer_type(num_bytes: int) -> type[ctypes.Array[ctypes.c_char]]:
    """ctypes makes a new type for each buffer while nobody keeps it."""
    return ctypes.c_char * num_bytes


def _candidates() -> Iterator[str]:
    av = find_spec("av")
    if av is not None and av.origin is not None:
        yield from map(str, sorted((Path(av.origin).parents[1] / "av.libs").glob("libopus*.so*")))
    yield ctypes.util.find_library("opus") or "libopus.so.0"


class OpusDecoder:
    """One stream's packets to int16 mono at `HEARD_HZ`. Durations are in ticks of `CLOCK_HZ`."""

    clock_hz: Final = CLOCK_HZ

    def __init__(self) -> None:
        self._opus = library()
        self._state = _buffer(self._opus.opus_decoder_get_size(1))
        self._opus.opus_decoder_init(self._state, HEARD_HZ, 1)
        self._pcm = _buffer(2 * _MAX_TICKS // _TICKS_PER_HEARD)

    def ticks(self, payload: bytes) -> int:
        """How much sound a packet holds; 0: it is none."""
        num = self._opus.opus_packet_get_nb_samples(payload, len(payload), CLOCK_HZ)
        return num if 0 < num <= _MAX_TICKS else 0

    def announces_silence(self, payload: bytes) -> bool:
        """Whether nothing may follow a packet for a while."""
        return len(payload) <= MAX_QUIET_BYTES

    def decode(self, payload: bytes) -> bytes:
        """A packet's sound; concealment of a packet that cannot be read."""
        return self._run(payload, _MAX_TICKS, 0) or self.conceal(self.ticks(payload))

    def recover(self, following: bytes, ticks: int) -> bytes:
        """The sound of the lost packet before `following`, from the latter's redundancy.

        Where it has none the library conceals.
        """
        return self._run(following, ticks, 1) or self.conceal(ticks)

    def conceal(self, ticks: int) -> bytes:
        """Sound for a lost packet, made up from what came before."""
        return self._run(None, ticks, 0)

    def _run(self, payload: bytes | None, ticks: int, use_fec: int) -> bytes:
        num_ticks = ticks - ticks % _STEP_TICKS
        num = self._opus.opus_decode(
            self._state,
            payload,
            len(payload or b""),
            self._pcm,
            num_ticks // _TICKS_PER_HEARD,
            use_fec,
        )
        return self._pcm.raw[: 2 * num] if num > 0 else b""


class OpusEncoder:
    """Frames of int16 mono at `SAID_HZ` to packets, with discontinuous transmission.

    On a path without loss it is steered to the codec's transform half (CELT): a third of the CPU
    time of the predictive half, which alone has in-band redundancy and takes over on a lossy path.
    """

    clock_hz: Final = CLOCK_HZ

    def __init__(self, *, bitrate_bps: int, complexity: int) -> None:
        self._opus = library()
        self._state = _buffer(self._opus.opus_encoder_get_size(1))
        self._opus.opus_encoder_init(self._state, SAID_HZ, 1, _AUDIO)
        self._packet = _buffer(_MAX_PACKET_BYTES)
        self._set(_SET_BITRATE, bitrate_bps)
        self._set(_SET_COMPLEXITY, complexity)
        self._set(_SET_DTX, 1)
        self.adapt(0.0)

    def adapt(self, loss_ratio: float) -> None:
        """The caller says how much of it is lost: be redundant from 1 % on."""
        is_lossy = loss_ratio >= LOSSY_RATIO
        self._set(_SET_FEC, int(is_lossy))
        self._set(_SET_LOSS, min(100, round(100 * loss_ratio)))
        self._set(_SET_SIGNAL, _VOICE if is_lossy else _MUSIC)

    def encode(self, pcm: bytes) -> bytes:
        """The packet of one frame of 10 or 20 ms."""
        num = self._opus.opus_encode(
            self._state, pcm, len(pcm) // 2, self._packet, _MAX_PACKET_BYTES
        )
        if num < 0:
            raise ValueError(f"a frame of {len(pcm) // 2} samples is no Opus frame")
        return self._packet.raw[:num]

    def restart(self) -> None:
        """What was sent last is another encoder's: the next packet builds on nothing before it."""
        self._opus.opus_encoder_ctl(self._state, _RESET)

    def silence(self, last: bytes) -> bytes:
        """The packet after `last` that tells the decoder of silence: a head without a frame."""
        return bytes((last[0] & 0xFC,))

    def _set(self, request: int, value: int) -> None:
        self._opus.opus_encoder_ctl(self._state, request, ctypes.c_int32(value))
