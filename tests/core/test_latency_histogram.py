"""Quantiles of merged histograms, and histograms that somebody made up."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.latency_histogram import (
    EMPTY,
    FIRST_BUCKET,
    NUM_BUCKETS,
    LatencyHistogram,
    bucket_of,
)


def counted(values_s: list[float]) -> LatencyHistogram:
    counts: dict[int, int] = {}
    for value_s in values_s:
        counts[bucket_of(value_s)] = counts.get(bucket_of(value_s), 0) + 1
    return LatencyHistogram.of(counts)


def exact(values_s: list[float], quantile: float) -> float:
    ordered = sorted(values_s)
    return ordered[max(1, math.ceil(quantile * len(ordered))) - 1]


@given(
    st.lists(st.lists(st.floats(0.001, 60.0), max_size=50), min_size=1, max_size=5),
    st.sampled_from([0.5, 0.9, 0.99, 1.0]),
)
def test_a_quantile_of_merged_sites_is_within_3_percent(
    sites_s: list[list[float]], quantile: float
) -> None:
    merged: dict[int, int] = {}
    for values_s in sites_s:
        counted(values_s).add_to(merged)
    together = [value_s for values_s in sites_s for value_s in values_s]
    found_s = LatencyHistogram.of(merged).quantile_s(quantile)
    if not together:
        assert found_s is None
        return
    assert found_s == pytest.approx(exact(together, quantile), rel=0.03)


@given(st.lists(st.floats(0.0, 1e6), max_size=80))
def test_what_travels_comes_back_as_it_was(values_s: list[float]) -> None:
    histogram = counted(values_s)
    assert histogram.num_values == len(values_s)
    counts: dict[int, int] = {}
    histogram.add_to(counts)
    assert LatencyHistogram.of(counts) == histogram
    sent = msgspec.msgpack.encode(histogram)
    assert msgspec.msgpack.decode(sent, type=LatencyHistogram) == histogram


def test_a_minute_of_a_busy_site_is_small() -> None:
    chance = random.Random(1)
    histogram = counted([chance.lognormvariate(math.log(0.15), 0.5) for _ in range(6000)])
    assert len(msgspec.msgpack.encode(histogram)) < 220


def test_out_of_range_counts_at_the_ends() -> None:
    assert bucket_of(0.0) == bucket_of(-1.0) == bucket_of(1e-9) == FIRST_BUCKET
    assert bucket_of(1e9) == FIRST_BUCKET + NUM_BUCKETS - 1
    assert EMPTY.quantile_s(0.99) is None


@pytest.mark.parametrize(
    "made_up",
    [(1,), (NUM_BUCKETS, 1), (0, 1) * (NUM_BUCKETS + 1), (200, 1, 200, 1), (-1, 1), (0, 1 << 40)],
)
def test_what_is_no_histogram_is_not_read(made_up: tuple[int, ...]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode((made_up,)), type=LatencyHistogram)
