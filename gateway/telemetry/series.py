"""Counters and histograms kept by the gateway itself, for the OpenTelemetry SDK to collect.

The SDK's own recording costs some 10 us a value, and a turn has about fifteen values. Here a
value costs below 0.3 us and goes into both shapes of histogram: explicit buckets for Prometheus,
whose Python exporter knows no others, and base-2 exponential ones for OTLP.

Nothing here locks; the owner of the series does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.metrics import Exemplar

    from gateway.telemetry.instruments import Instrument

MAX_NUM_CELLS = 1000
"""Attribute sets per instrument; later ones share one cell, as the SDK does it."""

_OVERFLOW: dict[str, str | bool] = {"otel.metric.overflow": True}


class HistogramCell:
    """The values of one attribute set, in both shapes.

    Values wait until `settle` sorts them into the buckets together: bisecting a sorted batch by
    the bounds takes a third of what looking up the buckets of each value takes.
    """

    __slots__ = (
        "_bounds", "_exemplars", "_waiting", "counts", "exponential", "max", "min", "num_zero",
        "observe", "sum",
    )  # fmt: skip

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._waiting: list[float] = []
        self._exemplars: dict[int, Exemplar] = {}
        """The newest of each bucket."""
        self.observe: Callable[[float], None] = self._waiting.append
        """Counts one value; what is not above 0 counts as 0. Whoever owns the series must settle
        it now and then, because values wait without bound."""
        self.counts = [0] * (len(bounds) + 1)
        """This and what follows is as of the last `settle`."""
        self.exponential: dict[int, int] = {}
        """Counts by index i: values above 2^(i/16), up to 2^((i+1)/16)."""
        self.num_zero = 0
        self.sum = 0.0
        self.min = inf
        self.max = -inf

    def exemplify(self, exemplar: Exemplar) -> None:
        """A value that was observed has a trace; it stands for its bucket from now on."""
        self._exemplars[bisect_left(self._bounds, exemplar.value)] = exemplar

    @property
    def exemplars(self) -> list[Exemplar]:
        """At most one for each bucket."""
        return list(self._exemplars.values())

    def settle(self) -> None:
        """Sort what waits into the buckets."""
        if not self._waiting:
            return
        values = sorted(self._waiting)
        self._waiting.clear()
        if values[0] < 0.0:
            values = [max(0.0, value) for value in values]
        begin = 0
        for bucket, bound in enumerate(self._bounds):
            end = bisect_right(values, bound, begin)
            self.counts[bucket] += end - begin
            begin = end
        self.counts[-1] += len(values) - begin
        begin = bisect_right(values, 0.0)
        self.num_zero += begin
        while begin < len(values):
            index = ceil(log2(values[begin]) * BUCKETS_PER_OCTAVE) - 1
            end = bisect_right(values, 2.0 ** ((index + 1) / BUCKETS_PER_OCTAVE), begin + 1)
            self.exponential[index] = self.exponential.get(index, 0) + end - begin
            begin = end
        self.sum += sum(values)
        self.min, self.max = min(self.min, values[0]), max(self.max, values[-1])


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

    def settle(self) -> None:
        """Sort all values that wait into the buckets."""
        for _, cell in self._points:
            cell.settle()

    def _settled(self) -> list[tuple[Mapping[str, str | bool], HistogramCell]]:
        self.settle()
        return self._points

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
                exemplars=cell.exemplars,
            )
            for attributes, cell in self._settled()
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
                exemplars=cell.exemplars,
            )
            for attributes, cell in self._settled()
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
