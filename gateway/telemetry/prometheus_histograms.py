"""The gateway's own histograms as Prometheus reads them, with exemplars.

OpenTelemetry's exporter for Prometheus drops exemplars, which lead from a bucket to the trace of a
turn in it. They are in the OpenMetrics text only: the classic format has no place for them.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final, cast

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric

_UNITS: Final = {"s": "seconds"}
"""As OpenTelemetry names them on the way to Prometheus; what counts things has none."""


class HistogramCollector(Collector):
    """Has a registry collect `metrics`: histograms with explicit buckets."""

    def __init__(self, metrics: Callable[[], Iterable[Metric]]) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Family]:
        """Nothing beforehand: names are the table's, and cannot collide."""
        return ()

    def collect(self) -> Iterator[Family]:
        """All of them that have counted something."""
        for metric in self._metrics():
            if metric.data.data_points:
                yield _family(metric)


def _family(metric: Metric) -> Family:
    unit = _UNITS.get(metric.unit or "", "")
    family = Family(_label(metric.name), metric.description or "", "histogram", unit)
    for point in metric.data.data_points:
        _add(family, cast("HistogramDataPoint", point))
    return family


def _add(family: Family, point: HistogramDataPoint) -> None:
    labels = {_label(name): str(value) for name, value in (point.attributes or {}).items()}
    bounds, buckets = point.explicit_bounds, f"{family.name}_bucket"
    exemplars = {bisect_left(bounds, one.value): _exemplar(one) for one in point.exemplars or ()}
    for place, count in enumerate(accumulate(point.bucket_counts)):
        bound = str(float(bounds[place])) if place < len(bounds) else "+Inf"
        family.add_sample(buckets, {**labels, "le": bound}, count, exemplar=exemplars.get(place))
    family.add_sample(f"{family.name}_count", labels, point.count)
    family.add_sample(f"{family.name}_sum", labels, point.sum)


def _exemplar(one: SdkExemplar) -> Exemplar:
    ids = {"trace_id": f"{one.trace_id or 0:032x}", "span_id": f"{one.span_id or 0:016x}"}
    return Exemplar(ids, one.value, one.time_unix_nano / 1e9)


def _label(name: str) -> str:
    return name.replace(".", "_")
