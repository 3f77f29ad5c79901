"""What a round trip to a peer takes, from samples of it."""

from __future__ import annotations

from math import inf

_WINDOW_S = 10.0
"""As BBR's minimum filter (Cardwell et al., 2016): a longer path is believed after it."""
_MAX_S = 60.0
_WEIGHT = 0.125  # RFC 6298's gain for the smoothed round trip


class RoundTrip:
    """The least round trip of the last one to two windows, and what is usually added to it.

    The least is the path; the rest is queues and busy processors.
    """

    __slots__ = ("_before_s", "_window_ends_s", "_window_min_s", "jitter_s", "min_s")

    def __init__(self) -> None:
        self.min_s = 0.0
        """Seconds; 0 until there is a sample."""
        self.jitter_s = 0.0
        """Mean excess over the least."""
        self._window_min_s = inf
        self._before_s = inf
        self._window_ends_s = -inf

    @property
    def is_known(self) -> bool:
        """Whether there was a sample."""
        return self._window_ends_s != -inf

    def add(self, rtt_s: float, now_s: float) -> None:
        """A round trip that ended at `now_s`. Raises ValueError below 0 s or above a minute."""
        if not 0.0 <= rtt_s <= _MAX_S:
            raise ValueError(f"a round trip cannot take {rtt_s:g} s")
        first = not self.is_known
        if now_s >= self._window_ends_s:
            self._before_s = self._window_min_s
            self._window_min_s = rtt_s
            self._window_ends_s = now_s + _WINDOW_S
        self._window_min_s = min(self._window_min_s, rtt_s)
        self.min_s = min(self._window_min_s, self._before_s)
        if not first:
            self.jitter_s += _WEIGHT * (rtt_s - self.min_s - self.jitter_s)
