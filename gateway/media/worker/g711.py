"""G.711 (mu-law and A-law, 8 kHz) by tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from gateway.core.voice_line import HEARD_HZ, SAID_HZ
from gateway.speech.resample import Resampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

Law = Literal["pcmu", "pcma"]
CLOCK_HZ: Final = 8000

_MU_BIAS = 132


def _mu_law() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    magnitude = ((((code & 0x0F) << 3).astype(np.int32) + _MU_BIAS) << (code >> 4 & 7)) - _MU_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_law() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    step, exponent = (code & 0x0F).astype(np.int32), (code >> 4 & 7).astype(np.int32)
    fine = (step << 4) + 8
    magnitude = np.where(exponent == 0, fine, (fine + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _nearest_codes(table: NDArray[np.int16]) -> NDArray[np.uint8]:
    """For each int16 (as its low 16 bits, unsigned) the code whose value is nearest."""
    order = np.argsort(table, kind="stable")
    values = table[order].astype(np.int32)
    borders = (values[1:] + values[:-1] + 1) // 2
    samples = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    return order[np.searchsorted(borders, samples, side="right")].astype(np.uint8)


_DECODE: Final = {"pcmu": _mu_law(), "pcma": _a_law()}
_ENCODE: Final = {law: _nearest_codes(table) for law, table in _DECODE.items()}


def expand(payload: bytes, law: Law) -> NDArray[np.int16]:
    """The samples of a payload, at 8 kHz."""
    return _DECODE[law][np.frombuffer(payload, np.uint8)]


def compress(samples: NDArray[np.int16], law: Law) -> bytes:
    """The payload of samples at 8 kHz."""
    return _ENCODE[law][samples.view(np.uint16)].tobytes()


_MIRRORED = 0.3
_WIDENING: Final = np.array([1 + _MIRRORED, 1 - _MIRRORED], np.float32)
"""Recognisers know speech up to 8 kHz, and take its absence above 4 kHz for another sound. The
mirror image there rises and falls as speech does (spectral folding; Makhoul and Berouti 1979)."""


class G711Decoder:
    """One stream's packets to int16 mono at `HEARD_HZ`. Durations are in samples at 8 kHz."""

    clock_hz: Final = CLOCK_HZ

    def __init__(self, law: Law) -> None:
        self._law: Law = law
        self._resampler = Resampler(CLOCK_HZ, HEARD_HZ, is_live=True)
        self._last = np.zeros(0, np.int16)

    def ticks(self, payload: bytes) -> int:
        """How much sound a packet holds."""
        return len(payload)

    def announces_silence(self, payload: bytes) -> bool:
        """Never: silence is announced by another payload type (comfort noise, RFC 3389)."""
        return False

    def decode(self, payload: bytes) -> bytes:
        """A packet's sound."""
        self._last = expand(payload, self._law)
        return self._heard()

    def recover(self, following: bytes, ticks: int) -> bytes:
        """As `conceal`: G.711 has no redundancy."""
        return self.conceal(ticks)

    def conceal(self, ticks: int) -> bytes:
        """Sound for a lost packet: what came before, again and quieter."""
        if not len(self._last):
            self._last = np.zeros(ticks, np.int16)
        self._last = np.resize(self._last, ticks) // np.int16(2)
        return self._heard()

    def _heard(self) -> bytes:
        """The newest sound, with its mirror image above 4 kHz: even samples louder than odd."""
        pcm = np.frombuffer(self._resampler.feed(self._last.tobytes()), "<i2")
        wide = np.clip(pcm.reshape(-1, 2) * _WIDENING, -32768, 32767)
        return wide.astype("<i2").tobytes()


class G711Encoder:
    """Frames of int16 mono at `SAID_HZ` to packets."""

    clock_hz: Final = CLOCK_HZ

    def __init__(self, law: Law) -> None:
        self._law: Law = law
        self._resampler = Resampler(SAID_HZ, CLOCK_HZ, is_live=True)

    def adapt(self, loss_ratio: float) -> None:
        """G.711 has nothing to adapt."""

    def encode(self, pcm: bytes) -> bytes:
        """The packet of one frame."""
        return compress(np.frombuffer(self._resampler.feed(pcm), "<i2"), self._law)

    def restart(self) -> None:
        """No packet builds on another."""

    def silence(self, last: bytes) -> bytes:
        """A packet of silence as long as `last`."""
        return compress(np.zeros(len(last), np.int16), self._law)
