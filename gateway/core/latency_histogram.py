"""Latencies counted in exponential buckets, so that the histograms of many sites add up.

All sites use the same buckets, therefore merging loses nothing: a quantile of the merged histogram
is as near to the exact one as that of a single site's.
"""

from __future__ import annotations

from math import ceil, log2
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALE: Final = 4
"""Sixteen buckets an octave, as OpenTelemetry's scale 4: a quantile, read in the middle of its
bucket, is off by at most 2.2 % (2^(1/32) - 1)."""
BUCKETS_PER_OCTAVE: Final = 1 << SCALE
FIRST_BUCKET: Final = -10 * BUCKETS_PER_OCTAVE
"""Begins at 2^-10 s, about 1 ms; what is shorter counts here."""
NUM_BUCKETS: Final = 16 * BUCKETS_PER_OCTAVE
"""Up to 2^6 = 64 s; what is longer counts in the last one."""
_MAX_COUNT: Final = 1_000_000_000

BucketCount = Annotated[int, msgspec.Meta(ge=0, le=_MAX_COUNT)]


def bucket_of(seconds: float) -> int:
    """The bucket i of a latency: above 2^(i/16) s, up to 2^((i+1)/16) s."""
    if seconds <= 0.0:
        return FIRST_BUCKET
    bucket = ceil(log2(seconds) * BUCKETS_PER_OCTAVE) - 1
    if bucket < FIRST_BUCKET:
        return FIRST_BUCKET
    return bucket if bucket < FIRST_BUCKET + NUM_BUCKETS else FIRST_BUCKET + NUM_BUCKETS - 1


class LatencyHistogram(msgspec.Struct, frozen=True, array_like=True):
    """Counts by bucket, as they travel: `gaps_and_counts` holds, for each bucket that is not empty,
    how many empty ones lie before it and its count. A minute of one site takes some 100 bytes.

    Raises ValueError for what is no histogram.
    """

    gaps_and_counts: Annotated[tuple[BucketCount, ...], msgspec.Meta(max_length=2 * NUM_BUCKETS)]

    def __post_init__(self) -> None:
        """Whoever sent it may have made it up."""
        packed = self.gaps_and_counts
        if len(packed) % 2 or sum(packed[::2]) + len(packed) // 2 > NUM_BUCKETS:
            raise ValueError("a histogram has more buckets than there are")

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> LatencyHistogram:
        """From counts by `bucket_of`; those at 0 are left out."""
        packed: list[int] = []
        next_bucket = FIRST_BUCKET
        for bucket in sorted(counts):
            if counts[bucket] > 0:
                packed += (bucket - next_bucket, min(counts[bucket], _MAX_COUNT))
                next_bucket = bucket + 1
        return cls(tuple(packed))

    def add_to(self, counts: dict[int, int]) -> None:
        """Merge into counts by bucket."""
        bucket = FIRST_BUCKET
        pairs = iter(self.gaps_and_counts)
        for gap, count in zip(pairs, pairs, strict=True):
            bucket += gap
            counts[bucket] = counts.get(bucket, 0) + count
            bucket += 1

    @property
    def num_values(self) -> int:
        """How many latencies were counted."""
        return sum(self.gaps_and_counts[1::2])

    def quantile_s(self, quantile: float) -> float | None:
        """The nearest-rank quantile (0..1) in seconds, to 2.2 %; None when nothing was counted."""
        num_left = max(1, ceil(quantile * self.num_values))
        bucket = FIRST_BUCKET
        pairs = iter(self.gaps_and_counts)
        for gap, count in zip(pairs, pairs, strict=True):
            bucket += gap
            num_left -= count
            if num_left <= 0:
                return float(2.0 ** ((bucket + 0.5) / BUCKETS_PER_OCTAVE))
            bucket += 1
        return None


EMPTY: Final = LatencyHistogram(())
