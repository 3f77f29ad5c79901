"""Counters and histograms kept by the gateway itself, for the OpenTelemetry SDK to collect.

The SDK's own recording costs some 10 us a value, and a turn has about fifteen values. Here a
value costs about 1 us and goes into both shapes of histogram at once: explicit buckets for
Prometheus, whose Python exporter knows no others, and base-2 exponential ones for OTLP.

Nothing here locks; the owner of the series does.
"""

from __future__ import annotations

from bisect import bisect_left
from math import ceil, inf, log2
from typing import TYPE_CHECKING

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Histogram,
    HistogramDataPoint,
    Metric,
)

from gateway.core.latency_histogram import BUCKETS_PER_OCTAVE, SCALE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.telemetry.instruments import Instrument

MAX_NUM_CELLS = 1000
"""Attribute sets per instrument; later ones share one cell, as the SDK does it."""

_OVERFLOW: dict[str, str | bool] = {"otel.metric.overflow": True}


class HistogramCell:
    """The values of one attribute set, in both shapes."""

    __slots__ = ("_bounds", "counts", "exponential", "max", "min", "num_zero", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.exponential: dict[int, int] = {}
        """Counts by index i: values above 2^(i/16), up to 2^((i+1)/16)."""
        self.num_zero = 0
        self.sum = 0.0
        self.min = inf
        self.max = -inf

    def observe(self, value: float) -> None:
        """Count one value; what is not above 0 counts as 0."""
        if value > 0.0:
            index = ceil(log2(value) * BUCKETS_PER_OCTAVE) - 1
            self.exponential[index] = self.exponential.get(index, 0) + 1
        else:
            value = 0.0
            self.num_zero += 1
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value
        if value < self.min:  # min() and max() would take half of the method's time
            self.min = value
        if value > self.max:
            self.max = value


class _Attributes:
    """Attribute sets by their values, at most MAX_NUM_CELLS of them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._num_kept = 0

    def of(self, values: tuple[str, ...]) -> Mapping[str, str | bool] | None:
        """The set for new `values`, empty ones left out; None when there are too many."""
        if self._num_kept >= MAX_NUM_CELLS:
            return None
        self._num_kept += 1
        named = zip(self._names, values, strict=True)
        return {name: str(value) for name, value in named if value}


class HistogramSeries:
    """One histogram instrument: a cell per attribute set."""

    def __init__(self, instrument: Instrument, *, started_ns: int) -> None:
        self.instrument = instrument
        self._started_ns = started_ns
        self._attributes = _Attributes(instrument.attributes)
        self._cells: dict[tuple[str, ...], HistogramCell] = {}
        self._points: list[tuple[Mapping[str, str | bool], HistogramCell]] = []
        self._overflow: HistogramCell | None = None

    def cell(self, *values: str) -> HistogramCell:
        """The cell for these values of the instrument's attributes; "" leaves one out."""
        cell = self._cells.get(values)
        return cell if cell is not None else self._new_cell(values)

    def _new_cell(self, values: tuple[str, ...]) -> HistogramCell:
        attributes = self._attributes.of(values)
        if attributes is None:
            if self._overflow is None:
                self._overflow = self._add_point(_OVERFLOW)
            return self._overflow
        self._cells[values] = cell = self._add_point(attributes)
        return cell

    def _add_point(self, attributes: Mapping[str, str | bool]) -> HistogramCell:
        cell = HistogramCell(self.instrument.buckets)
        self._points.append((attributes, cell))
        return cell

    def explicit(self, now_ns: int) -> Metric:
        """The instrument with explicit buckets, as of `now_ns` (wall clock)."""
        points = [
            HistogramDataPoint(
                attributes=attributes,
                start_time_unix_nano=self._started_ns,
                time_unix_nano=now_ns,
                count=sum(cell.counts),
                sum=cell.sum,
                bucket_counts=tuple(cell.counts),
                explicit_bounds=self.instrument.buckets,
                min=cell.min,
                max=cell.max,
            )
            for attributes, cell in self._points
            if any(cell.counts)
        ]
        return self._metric(Histogram(points, AggregationTemporality.CUMULATIVE))

    def exponential(self, now_ns: int) -> Metric:
        """The instrument with exponential buckets, as of `now_ns` (wall clock)."""
        points = [
            ExponentialHistogramDataPoint(
                attributes=attributes,
                start_time_unix_nano=self._started_ns,
                time_unix_nano=now_ns,
                count=sum(cell.counts),
                sum=cell.sum,
                scale=SCALE,
                zero_count=cell.num_zero,
                positive=_dense(cell.exponential),
                negative=Buckets(0, ()),
                flags=0,
                min=cell.min,
                max=cell.max,
            )
            for attributes, cell in self._points
            if any(cell.counts)
        ]
        return self._metric(ExponentialHistogram(points, AggregationTemporality.CUMULATIVE))

    def _metric(self, data: Histogram | ExponentialHistogram) -> Metric:
        row = self.instrument
        return Metric(name=row.name, description=row.description, unit=row.unit, data=data)


def _dense(counts: dict[int, int]) -> Buckets:
    if not counts:
        return Buckets(0, ())
    first, last = min(counts), max(counts)
    return Buckets(first, tuple(counts.get(index, 0) for index in range(first, last + 1)))


class CounterSeries:
    """One counter instrument: a count per attribute set."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._attributes = _Attributes(instrument.attributes)
        self._counts: dict[tuple[str, ...], int] = {}
        self._sets: dict[tuple[str, ...], Mapping[str, str | bool]] = {}
        self._num_overflowed = 0

    def add(self, *values: str, count: int = 1) -> None:
        """Count under these values of the instrument's attributes; "" leaves one out."""
        so_far = self._counts.get(values)
        if so_far is not None:
            self._counts[values] = so_far + count
        elif (attributes := self._attributes.of(values)) is not None:
            self._sets[values] = attributes
            self._counts[values] = count
        else:
            self._num_overflowed += count

    def observations(self) -> list[Observation]:
        """What the SDK reads."""
        seen = [Observation(count, self._sets[key]) for key, count in self._counts.items()]
        if self._num_overflowed:
            seen.append(Observation(self._num_overflowed, _OVERFLOW))
        return seen
