"""The OTLP exporters. Imported only when an endpoint is configured: they load a second gRPC API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

from gateway.telemetry.otlp_spans import export_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter


class _SpanExporter(OTLPSpanExporter):
    """The SDK's sender with our encoder."""

    def _translate_data(self, data: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        return export_request(data)


def span_exporter(endpoint: str, *, timeout_s: float) -> SpanExporter:
    """Spans to `endpoint`, an http:// (plain) or https:// (TLS) address of a gRPC receiver.

    A batch is given up after `timeout_s`, retries included. Headers and certificates come from
    the OTEL_EXPORTER_OTLP_* environment, as usual.
    """
    return _SpanExporter(endpoint=endpoint, timeout=timeout_s)


def metric_exporter(endpoint: str, *, timeout_s: float) -> MetricExporter:
    """Metrics to `endpoint`, as above."""
    return OTLPMetricExporter(endpoint=endpoint, timeout=timeout_s)
