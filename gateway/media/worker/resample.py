"""From one rate to another, as sound flows: a polyphase filter in numpy."""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUM_ZERO_CROSSINGS = 12
_PASS_RATIO = 0.92
"""The cut-off, of the lower rate's band."""
_KAISER_BETA = 7.0


def as_pcm(samples: NDArray[np.float32]) -> bytes:
    """Samples at int16's scale as int16, little endian."""
    return np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes()


class Resampler:
    """A stream of float32 samples at `from_hz` made one at `to_hz`, in pieces of any length.

    The delay is that of a linear-phase filter of 12 zero crossings a side: 1.5 ms at 8 kHz.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._phases = _phases(self._up, self._down)
        self._past = np.zeros(self._phases.shape[1] - 1, np.float32)
        self._next = 0
        """Where the next output lies, in units of 1 / (from_hz * up), from the first new sample."""

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output that `samples` complete."""
        known = np.concatenate((self._past, samples))
        taps = self._phases.shape[1]
        places = np.arange(self._next, len(samples) * self._up, self._down)
        self._next += len(places) * self._down - len(samples) * self._up
        self._past = known[len(known) - (taps - 1) :]
        if not len(places):
            return np.zeros(0, np.float32)
        at, phase = places // self._up, places % self._up
        windows = np.lib.stride_tricks.sliding_window_view(known, taps)
        out = np.empty(len(places), np.float32)
        for begin in range(self._up):  # outputs of one phase have one filter
            of_phase = slice(begin, None, self._up)
            if len(places) > begin:
                out[of_phase] = windows[at[of_phase]] @ self._phases[phase[begin]]
        return out


@cache
def _phases(up: int, down: int) -> NDArray[np.float32]:
    """A windowed sinc cut into `up` filters, [up, taps], the oldest sample first."""
    widest = max(up, down)
    half = _NUM_ZERO_CROSSINGS * widest
    taps = -(-(2 * half + 1) // up)
    sinc = np.sinc(np.arange(-half, half + 1) * _PASS_RATIO / widest) * _PASS_RATIO * up / widest
    padded = np.zeros(taps * up)
    padded[: 2 * half + 1] = sinc * np.kaiser(2 * half + 1, _KAISER_BETA)
    return np.ascontiguousarray(padded.reshape(taps, up).T[:, ::-1], np.float32)
