"""Values land in the right bucket of both shapes, and attribute sets cannot grow without bound."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

from gateway.core.latency_histogram import SCALE
from gateway.telemetry import instruments
from gateway.telemetry.instruments import INSTRUMENTS, Instrument, Kind
from gateway.telemetry.series import MAX_NUM_CELLS, CounterSeries, HistogramSeries

WAITING = Instrument(
    name="waiting",
    kind=Kind.HISTOGRAM,
    unit="s",
    description="d",
    attributes=("who", "why"),
    buckets=(0.1, 0.5, 2.0),
)
TICKS = Instrument(
    name="ticks", kind=Kind.COUNTER, unit="1", description="d", attributes=("who", "why")
)


def explicit(series: HistogramSeries) -> list[HistogramDataPoint]:
    points = series.explicit(now_ns=2).data.data_points
    return [point for point in points if isinstance(point, HistogramDataPoint)]


def exponential(series: HistogramSeries) -> list[ExponentialHistogramDataPoint]:
    points = series.exponential(now_ns=2).data.data_points
    return [point for point in points if isinstance(point, ExponentialHistogramDataPoint)]


def test_a_value_on_a_bound_counts_below_it() -> None:
    series = HistogramSeries(WAITING, started_ns=1)
    for value in (0.5, 0.5000001, 9.0, 0.0):
        series.cell("a", "b").observe(value)

    (point,) = explicit(series)

    assert point.bucket_counts == (1, 1, 1, 1)
    assert (point.count, point.min, point.max) == (4, 0.0, 9.0)
    assert point.sum == pytest.approx(10.0000001)
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1, 2)


@given(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=30))
def test_every_value_lies_inside_its_exponential_bucket(values: list[float]) -> None:
    for value in values:
        series = HistogramSeries(WAITING, started_ns=1)
        series.cell("a", "b").observe(value)
        (point,) = exponential(series)
        low, high = (2.0 ** ((point.positive.offset + i) / 2**SCALE) for i in (0, 1))
        assert point.positive.bucket_counts == (1,)
        assert low * (1 - 1e-12) < value <= high * (1 + 1e-12)

    series = HistogramSeries(WAITING, started_ns=1)
    for value in values:
        series.cell("a", "b").observe(value)
    (point,) = exponential(series)
    assert sum(point.positive.bucket_counts) == point.count == len(values)


def test_nothing_and_less_than_nothing_count_as_zero() -> None:
    series = HistogramSeries(WAITING, started_ns=1)
    series.cell("a", "b").observe(0.0)
    series.cell("a", "b").observe(-1.0)

    (point,) = exponential(series)

    assert (point.count, point.zero_count, point.sum, point.min) == (2, 2, 0.0, 0.0)
    assert point.positive.bucket_counts == ()


def test_attribute_sets_are_kept_apart_and_empty_values_left_out() -> None:
    series = HistogramSeries(WAITING, started_ns=1)
    series.cell("a", "x").observe(1.0)
    series.cell("a", "").observe(1.0)
    series.cell("never", "seen")

    assert [dict(point.attributes or {}) for point in explicit(series)] == [
        {"who": "a", "why": "x"},
        {"who": "a"},
    ]


def test_attribute_sets_beyond_the_limit_share_one_cell() -> None:
    series, counter = HistogramSeries(WAITING, started_ns=1), CounterSeries(TICKS)
    for index in range(MAX_NUM_CELLS + 7):
        series.cell("a", str(index)).observe(1.0)
        counter.add("a", str(index))
    counter.add("a", "0")

    points, observations = explicit(series), counter.observations()

    assert len(points) == len(observations) == MAX_NUM_CELLS + 1
    assert dict(points[-1].attributes or {}) == {"otel.metric.overflow": True}
    assert points[-1].count == 7
    assert observations[-1].attributes == {"otel.metric.overflow": True}
    assert observations[-1].value == 7
    assert observations[0].value == 2


@pytest.mark.parametrize(
    "row",
    [
        instruments.TIME_TO_FIRST_TOKEN,
        instruments.REQUEST_DURATION,
        instruments.TURN_DURATION,
    ],
)
def test_every_time_of_a_turn_has_a_bound_on_every_default_budget(row: Instrument) -> None:
    assert {0.5, 2.0} <= set(row.buckets)


def test_the_table_is_sound() -> None:
    names = [row.name for row in INSTRUMENTS]
    assert len(set(names)) == len(names)
    for row in INSTRUMENTS:
        assert row.name.startswith(("gen_ai.", "firsthop."))
        assert (row.kind is Kind.HISTOGRAM) == bool(row.buckets)
        assert list(row.buckets) == sorted(set(row.buckets))
        assert all(math.isfinite(bound) for bound in row.buckets)
