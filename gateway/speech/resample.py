"""Sound at another rate, piece by piece, by polyphase windowed-sinc interpolation."""

from __future__ import annotations

from math import ceil, gcd
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF_TAPS = 16
"""Samples of the lower rate on each side that an output sample is made of."""
_PASSED_RATIO = 0.94
"""Of the lower of the two half rates that passes; the rest is the filter's slope."""
_KAISER_BETA = 8.0
"""About 80 dB of stop band (Oppenheim and Schafer, Discrete-Time Signal Processing, 7.5)."""


class Resampler:
    """Turns int16 sound of one rate into another's; the delay of the filter is taken off.

    Where the sound is `live` the delay stays: as much comes out as goes in, at every piece.
    """

    def __init__(self, from_hz: int, to_hz: int, *, is_live: bool = False) -> None:
        common = gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._half = max(_HALF_TAPS, ceil(_HALF_TAPS * from_hz / to_hz))
        cutoff = min(1.0, to_hz / from_hz) * _PASSED_RATIO
        self._filters = _filters(self._up, cutoff, self._half)
        self._kept = np.zeros(2 * self._half if is_live else self._half, np.float32)
        """Input that further output needs; its first sample is `_kept_from`."""
        self._kept_from = -self._half
        self._num_made = 0

    def feed(self, pcm: bytes) -> bytes:
        """The output that more input makes possible. Both int16, little endian, mono."""
        if self._up == self._down:
            return pcm
        return self._make(np.frombuffer(pcm, "<i2").astype(np.float32))

    def flush(self) -> bytes:
        """What is left at the end."""
        if self._up == self._down:
            return b""
        return self._make(np.zeros(self._half, np.float32))

    def _make(self, more: NDArray[np.float32]) -> bytes:
        x = np.concatenate((self._kept, more))
        # Output m lies at input m * down / up and needs `_half` inputs on each side of it.
        end = self._kept_from + len(x) - self._half
        num_possible = max(self._num_made, -(-end * self._up // self._down))
        if num_possible == self._num_made:
            self._kept = x
            return b""
        at = np.arange(self._num_made, num_possible, dtype=np.int64) * self._down
        first = at // self._up - self._half + 1 - self._kept_from
        windows = np.lib.stride_tricks.sliding_window_view(x, 2 * self._half)
        y = np.empty(len(at), np.float32)
        for place in range(min(self._up, len(at))):  # outputs `up` apart share a filter
            these = first[place :: self._up]
            weights = self._filters[at[place] % self._up]
            y[place :: self._up] = windows[these[0] : these[-1] + 1 : self._down] @ weights
        self._num_made = num_possible
        needed_from = num_possible * self._down // self._up - self._half + 1
        self._kept = x[max(0, needed_from - self._kept_from) :]
        self._kept_from = max(self._kept_from, needed_from)
        whole: NDArray[np.int16] = np.clip(np.rint(y), -32768, 32767).astype("<i2")
        return whole.tobytes()


def _filters(num_phases: int, cutoff: float, half: int) -> NDArray[np.float32]:
    """One row of 2 * half weights for each place between two input samples."""
    offsets = np.arange(-half + 1, half + 1)
    distance = offsets[None, :] - np.arange(num_phases)[:, None] / num_phases
    inside = np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))
    taps = cutoff * np.sinc(cutoff * distance) * np.i0(_KAISER_BETA * inside)
    filters: NDArray[np.float32] = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return filters
