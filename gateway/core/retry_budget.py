"""How much may be sent a second time: retries after failures, and hedges against slow answers.

Without a bound, second attempts add load exactly when there is too much of it.
"""

from __future__ import annotations

MAX_TOKENS = 10.0
TOKENS_PER_SUCCESS = 0.1
"""Both as in gRPC's retry throttling (proposal A6)."""
MAX_LOST = 5
"""Peers that may be lost with one turn, as there: one that ends them all shall not see them all."""


class PeerRetries:
    """Whether turns of one peer may be tried again elsewhere or hedged: gRPC's throttle (A6).

    Every failure takes a token, every success gives a tenth back; with half of them gone nothing
    is tried again until there are successes.
    """

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens = MAX_TOKENS

    def failed(self) -> None:
        """A turn given to the peer failed in a way that a retry can mend."""
        self.tokens = max(0.0, self.tokens - 1.0)

    def succeeded(self) -> None:
        """A turn given to the peer was answered."""
        self.tokens = min(MAX_TOKENS, self.tokens + TOKENS_PER_SUCCESS)

    @property
    def may_retry(self) -> bool:
        """Whether the next failure may be followed by another attempt."""
        return self.tokens > MAX_TOKENS / 2.0


class TrafficShare:
    """A part of all turns that something may be done to, evenly over time.

    Every turn adds `ratio`, every use takes 1; at most `max_saved` uses are saved up.
    """

    __slots__ = ("_ratio", "_saved", "max_saved")

    def __init__(self, ratio: float, max_saved: float = 5.0) -> None:
        self._ratio = ratio
        self.max_saved = max_saved
        self._saved = 0.0

    def count_turn(self) -> None:
        """One more turn."""
        self._saved = min(self.max_saved, self._saved + self._ratio)

    def take(self) -> bool:
        """Use it once, if there is one left."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


def retries() -> TrafficShare:
    """Retries: at most every tenth turn (Google SRE, "Addressing Cascading Failures")."""
    return TrafficShare(0.1, max_saved=10.0)


def hedges() -> TrafficShare:
    """Hedges: at most one turn of 50."""
    return TrafficShare(0.02)
