"""The OTLP exporters. Imported only when an endpoint is configured: they load a second gRPC API."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.telemetry.otlp_http import HttpMetricExporter, HttpTurnExporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace import ReadableSpan

    from gateway.config.telemetry import OtlpProtocol
    from gateway.telemetry.records import KeptTurn
    from gateway.telemetry.tracing import TurnExporter
    from gateway.telemetry.turn_spans import TurnSpans


class _Sender(OTLPSpanExporter):
    """The SDK's way to a collector, with retries, for turns that our encoder knows."""

    def __init__(self, spans: TurnSpans, *, endpoint: str, timeout_s: float) -> None:
        super().__init__(endpoint=endpoint, timeout=timeout_s)
        self._spans = spans

    def _translate_data(self, data: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        turns = cast("Sequence[KeptTurn]", data)  # as `_TurnExporter` has it
        return ExportTraceServiceRequest.FromString(self._spans.request(turns))


class _TurnExporter:
    """A `TurnExporter`."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender

    def export(self, turns: list[KeptTurn]) -> None:
        """Send them, or say in the log why not."""
        self._sender.export(cast("list[ReadableSpan]", turns))

    def close(self) -> None:
        """Hang up."""
        self._sender.shutdown()


def turn_exporter(
    endpoint: str, spans: TurnSpans, *, protocol: OtlpProtocol, timeout_s: float
) -> TurnExporter:
    """Spans to `endpoint`, an http:// (plain) or https:// (TLS) address of a receiver.

    A request is given up after `timeout_s`, retries included. Headers and certificates come from
    the OTEL_EXPORTER_OTLP_* environment, as usual.
    """
    if protocol == "http/protobuf":
        return HttpTurnExporter(endpoint, spans, timeout_s=timeout_s)
    return _TurnExporter(_Sender(spans, endpoint=endpoint, timeout_s=timeout_s))


def metric_exporter(endpoint: str, *, protocol: OtlpProtocol, timeout_s: float) -> MetricExporter:
    """Metrics to `endpoint`, as above."""
    if protocol == "http/protobuf":
        return HttpMetricExporter(endpoint, timeout_s=timeout_s)
    return OTLPMetricExporter(endpoint=endpoint, timeout=timeout_s)
