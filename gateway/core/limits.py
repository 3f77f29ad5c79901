"""A key's limits: requests and tokens per minute as token buckets, and turns at the same time.

A bucket holds one minute's allowance, so a quiet key may use a minute's worth at once and its
rate over any long stretch is the one agreed. Tokens are known only when a turn has ended: they
are charged then, the bucket may go into debt, and a key in debt waits until it is paid.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

MINUTE_S = 60.0
CONCURRENCY_RETRY_S = 1.0
"""When a running turn ends is not known; this is what a refused caller is told (assumed)."""
_ROUNDING = 1e-6
"""Units that the arithmetic of refilling may lose."""


class Limits(msgspec.Struct, frozen=True):
    """What a key may use; None does not limit."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_concurrent: int | None = None


class LimitReached(msgspec.Struct, frozen=True):
    """A turn that is not admitted: which limit, how much it allows and when to come back."""

    limit: str
    allowed: float
    retry_after_s: float


@dataclass(slots=True)
class Bucket:
    """`capacity` units, refilled at `capacity` per minute. Instants are monotonic seconds."""

    capacity: float
    level: float
    as_of_s: float

    @classmethod
    def full(cls, capacity: float, now_s: float) -> Bucket:
        """A bucket nothing was taken from."""
        return cls(capacity, capacity, now_s)

    def refill(self, now_s: float) -> None:
        """Bring the level up to date; a clock that went back changes nothing."""
        if now_s > self.as_of_s:
            self.level += (now_s - self.as_of_s) * self.capacity / MINUTE_S
            self.level = min(self.capacity, self.level)
            self.as_of_s = now_s

    def wait_s(self, units: float) -> float:
        """How long until `units` (at most the capacity) are there; 0 when they are."""
        missing = min(units, self.capacity) - self.level
        return missing * MINUTE_S / self.capacity if missing > _ROUNDING else 0.0


class LimitMeter:
    """What one key has used. Not shared between threads; the caller passes the time in."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self.limits = limits
        self.num_running = 0
        self._requests = _bucket(limits.requests_per_minute, now_s)
        self._tokens = _bucket(limits.tokens_per_minute, now_s)

    def change(self, limits: Limits, now_s: float) -> None:
        """Other limits from now on; running turns stay counted, changed buckets start full."""
        if limits.requests_per_minute != self.limits.requests_per_minute:
            self._requests = _bucket(limits.requests_per_minute, now_s)
        if limits.tokens_per_minute != self.limits.tokens_per_minute:
            self._tokens = _bucket(limits.tokens_per_minute, now_s)
        self.limits = limits

    def admit(self, now_s: float) -> LimitReached | None:
        """Count a turn in, or say why not; a refused turn uses nothing."""
        refusal = self._refusal(now_s)
        if refusal is None:
            if self._requests is not None:
                self._requests.level -= 1.0
            self.num_running += 1
        return refusal

    def charge_tokens(self, num_tokens: int, now_s: float) -> None:
        """Count tokens that a turn used."""
        if self._tokens is not None:
            self._tokens.refill(now_s)
            self._tokens.level -= num_tokens

    def release(self) -> None:
        """Count a turn out."""
        self.num_running -= 1

    def _refusal(self, now_s: float) -> LimitReached | None:
        at_once = self.limits.max_concurrent
        if at_once is not None and self.num_running >= at_once:
            return LimitReached("turns at the same time", at_once, CONCURRENCY_RETRY_S)
        for bucket, limit in (
            (self._requests, "requests per minute"),
            (self._tokens, "tokens per minute"),
        ):
            if bucket is not None:
                bucket.refill(now_s)
                if (wait_s := bucket.wait_s(1.0)) > 0.0:
                    return LimitReached(limit, bucket.capacity, wait_s)
        return None


def _bucket(per_minute: float | None, now_s: float) -> Bucket | None:
    return None if per_minute is None else Bucket.full(per_minute, now_s)
