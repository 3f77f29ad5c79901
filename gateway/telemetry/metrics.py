"""Metrics out of the process: Prometheus text on request, OTLP on a timer when configured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Metric,
    MetricExporter,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gateway.core.slo import BURN_RULES
from gateway.telemetry import instruments
from gateway.telemetry.prometheus_histograms import HistogramCollector
from gateway.telemetry.voice_metrics import VoiceWorkerFigures, voice_readings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.sdk.resources import Resource

    from gateway.core.slo import ClassState
    from gateway.telemetry.instruments import Instrument
    from gateway.telemetry.series import CounterSeries
    from gateway.telemetry.turn_metrics import TurnMetrics
    from gateway.telemetry.voice_metrics import Reading

SCOPE = "firsthop"


class SiteFigures(msgspec.Struct, frozen=True):
    """What is going on at the site right now."""

    num_turns_active: int
    num_engine_active: int
    num_engine_queued: int
    num_engine_restarts: int
    """Since the site started."""
    num_traces_dropped: int = 0
    """Since the site started."""
    num_records_dropped: int = 0
    """Since the site started."""
    voice_workers: dict[int, VoiceWorkerFigures] = {}
    """Those that run, by their place in the configuration."""
    num_voice_restarts: int = 0
    """Since the site started."""


class MetricsPipeline:
    """The SDK's meter provider with its readers.

    `figures` is called from the collecting threads and must only read plain attributes; `slo` too,
    and says how each class stands. An `exporter` is fed every `export_interval_s`.
    """

    def __init__(
        self,
        turn_metrics: TurnMetrics,
        figures: Callable[[], SiteFigures],
        resource: Resource,
        *,
        slo: Callable[[], Iterable[ClassState]] = tuple,
        exporter: MetricExporter | None = None,
        export_interval_s: float = 10.0,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(HistogramCollector(turn_metrics.explicit))
        readers: list[MetricReader] = [
            PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        ]
        if exporter is not None:
            readers.append(_PeriodicReader(turn_metrics, exporter, export_interval_s))
        self._provider = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._register_counters(turn_metrics)
        self._register_figures(figures)
        self._register_voice(figures)
        self._register_slo(slo)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text, and its content type, as the `Accept` header wants them.

        OpenMetrics when that is asked for, else the classic Prometheus format. Takes
        milliseconds: call it off the event loop.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what was not sent yet and end the readers; waits up to `timeout_s`."""
        self._provider.shutdown(timeout_millis=timeout_s * 1e3)

    def _register_counters(self, turn_metrics: TurnMetrics) -> None:
        def reader(series: CounterSeries) -> Callable[[CallbackOptions], Iterable[Observation]]:
            return lambda _: turn_metrics.observations(series)

        for series in turn_metrics.counters:
            self._observe(series.instrument, reader(series))

    def _register_figures(self, figures: Callable[[], SiteFigures]) -> None:
        def reader(field: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
            return lambda _: (Observation(getattr(figures(), field)),)

        for instrument, field in (
            (instruments.TURNS_ACTIVE, "num_turns_active"),
            (instruments.ENGINE_ACTIVE, "num_engine_active"),
            (instruments.ENGINE_QUEUED, "num_engine_queued"),
            (instruments.ENGINE_RESTARTS, "num_engine_restarts"),
            (instruments.TRACES_DROPPED, "num_traces_dropped"),
            (instruments.RECORDS_DROPPED, "num_records_dropped"),
            (instruments.VOICE_RESTARTS, "num_voice_restarts"),
        ):
            self._observe(instrument, reader(field))

    def _register_voice(self, figures: Callable[[], SiteFigures]) -> None:
        def reader(reading: Reading) -> Callable[[CallbackOptions], Iterable[Observation]]:
            return lambda _: reading(figures().voice_workers)

        for instrument, reading in voice_readings():
            self._observe(instrument, reader(reading))

    def _register_slo(self, slo: Callable[[], Iterable[ClassState]]) -> None:
        def reader(
            seen: Callable[[ClassState], Iterable[Observation]],
        ) -> Callable[[CallbackOptions], Iterable[Observation]]:
            return lambda _: [one for state in slo() for one in seen(state)]

        self._observe(instruments.SLO_OBJECTIVE, reader(_objective))
        self._observe(instruments.SLO_BURN_RATE, reader(_burn_rates))
        self._observe(instruments.SLO_BURNING, reader(_burning))

    def _observe(
        self, row: Instrument, callback: Callable[[CallbackOptions], Iterable[Observation]]
    ) -> None:
        meter = self._provider.get_meter(SCOPE)
        if row.kind is instruments.Kind.COUNTER:
            meter.create_observable_counter(row.name, [callback], row.unit, row.description)
        else:
            meter.create_observable_gauge(row.name, [callback], row.unit, row.description)


def _objective(state: ClassState) -> Iterable[Observation]:
    yield Observation(state.objective_ratio, {"class": state.turn_class.value})


def _burn_rates(state: ClassState) -> Iterable[Observation]:
    for window in state.windows:
        if window.burn_rate is not None:
            attributes = {"class": state.turn_class.value, "window": window.label}
            yield Observation(window.burn_rate, attributes)


def _burning(state: ClassState) -> Iterable[Observation]:
    for rule in BURN_RULES:
        attributes = {"class": state.turn_class.value, "rule": rule.name}
        yield Observation(int(rule.name in state.burning), attributes)


class _PeriodicReader(PeriodicExportingMetricReader):
    """Adds the gateway's own histograms, in exponential buckets, to what the SDK collects."""

    def __init__(
        self, turn_metrics: TurnMetrics, exporter: MetricExporter, interval_s: float
    ) -> None:
        self._turn_metrics = turn_metrics
        super().__init__(exporter, export_interval_millis=interval_s * 1e3)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        joined = _joined(metrics_data, self._turn_metrics.exponential())
        super()._receive_metrics(joined, timeout_millis, **kwargs)


def _joined(data: MetricsData, histograms: list[Metric]) -> MetricsData:
    """`data` with more metrics in its one scope."""
    resource = data.resource_metrics[0]
    scope = resource.scope_metrics[0]
    present = [metric for metric in histograms if metric.data.data_points]
    scope = replace(scope, metrics=[*scope.metrics, *present])
    return MetricsData([replace(resource, scope_metrics=[scope])])
