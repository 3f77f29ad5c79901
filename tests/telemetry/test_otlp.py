"""A real OTLP receiver gets the spans and metrics of real records."""

from __future__ import annotations

import asyncio
import queue
from concurrent import futures
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Metric,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.telemetry.metrics import SiteFigures
from gateway.telemetry.site_telemetry import SiteTelemetry
from gateway.telemetry.trace_context import TurnTrace
from tests.telemetry.turns import MODEL, answered, shed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

    from gateway.config.telemetry import OtlpProtocol

    Register = Callable[[object, grpc.Server], None]

# The generated registration functions carry no types.
register_traces: Register = trace_grpc.add_TraceServiceServicer_to_server
register_metrics: Register = metrics_grpc.add_MetricsServiceServicer_to_server

pytestmark = pytest.mark.flow

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
RECEIVE_TIMEOUT_S = 60.0


class Receiver:
    """Takes what an OpenTelemetry collector would."""

    def __init__(self) -> None:
        self.traces: queue.Queue[trace_pb.ExportTraceServiceRequest] = queue.Queue()
        self.metrics: queue.Queue[metrics_pb.ExportMetricsServiceRequest] = queue.Queue()
        self.endpoint = ""

    def spans(self) -> list[Span]:
        """The spans received until now, after waiting for the first."""
        requests = [self.traces.get(timeout=RECEIVE_TIMEOUT_S)]
        while not self.traces.empty():
            requests.append(self.traces.get())
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def latest_metrics(self) -> dict[str, Metric]:
        """The last export, by metric name."""
        request = self.metrics.get(timeout=RECEIVE_TIMEOUT_S)
        while not self.metrics.empty():
            request = self.metrics.get()
        (resource,) = request.resource_metrics
        assert attributes_of(resource.resource.attributes)["service.instance.id"] == "edge-a"
        return {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}


class _Traces(trace_grpc.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def Export(
        self, request: trace_pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_pb.ExportTraceServiceResponse:
        self._receiver.traces.put(request)
        return trace_pb.ExportTraceServiceResponse()


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def Export(
        self, request: metrics_pb.ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> metrics_pb.ExportMetricsServiceResponse:
        self._receiver.metrics.put(request)
        return metrics_pb.ExportMetricsServiceResponse()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    register_traces(_Traces(receiver), server)
    register_metrics(_Metrics(receiver), server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield receiver
    server.stop(None).wait()


def telemetry(
    endpoint: str,
    *,
    protocol: OtlpProtocol = "grpc",
    export_timeout_s: float = RECEIVE_TIMEOUT_S,
) -> SiteTelemetry:
    return SiteTelemetry(
        site="edge-a",
        version="1.2.3",
        figures=lambda: SiteFigures(3, 2, 1, 0),
        otlp_endpoint=endpoint,
        otlp_protocol=protocol,
        metrics_interval_s=3600.0,
        spans_interval_s=3600.0,
        export_timeout_s=export_timeout_s,
    )


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, object]:
    values = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        value = getattr(pair.value, kind)
        values[pair.key] = (
            tuple(item.string_value for item in value.values) if kind == "array_value" else value
        )
    return values


def test_spans_arrive_with_parents_places_and_attributes(receiver: Receiver) -> None:
    site = telemetry(receiver.endpoint)
    record = answered(traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")
    site.sink.record(record)
    site.sink.record(answered(request_id="unwanted-1", started_s=7.0))
    asyncio.run(site.close())

    spans = receiver.spans()
    of_turn = [span for span in spans if span.trace_id.hex() == TRACE_ID]
    (root,) = [span for span in of_turn if span.parent_span_id.hex() == SPAN_ID]
    stages = [span for span in of_turn if span is not root]
    assert root.name == "chat subscriber-care"
    assert root.kind == Span.SPAN_KIND_SERVER
    expected = TurnTrace.of("turn-1", 100.0, record.traceparent).root
    assert root.span_id.hex() == f"{expected.span_id:016x}"
    assert root.end_time_unix_nano - root.start_time_unix_nano == 530_000_000
    assert [(span.name, span.parent_span_id) for span in stages] == [
        (stage.stage.value, root.span_id) for stage in record.spans
    ]
    assert [span.start_time_unix_nano - root.start_time_unix_nano for span in stages] == [
        round(stage.offset_s * 1e9) for stage in record.spans
    ]
    assert [span.end_time_unix_nano - root.start_time_unix_nano for span in stages] == [
        round(stage.end_s * 1e9) for stage in record.spans
    ]
    attributes = attributes_of(root.attributes)
    assert attributes["gen_ai.response.model"] == MODEL
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert attributes["gen_ai.usage.output_tokens"] == 41
    assert attributes["firsthop.budget_ms"] == 500.0
    assert attributes["firsthop.chosen"] == "edge-a"
    assert attributes["firsthop.within_budget"] is True
    assert len(spans) == len(record.spans) + 1, "the turn nobody asked about was traced too"


def test_a_shed_turn_arrives_as_an_error_of_its_own_trace(receiver: Receiver) -> None:
    site = telemetry(receiver.endpoint)
    record = shed()
    site.sink.record(record)
    asyncio.run(site.close())

    (root,) = [span for span in receiver.spans() if not span.parent_span_id]
    assert root.trace_id.hex() == TurnTrace.of("turn-2", 100.0).root.trace_hex
    assert root.status.code == Status.STATUS_CODE_ERROR
    assert attributes_of(root.attributes)["error.type"] == "slo_unattainable"


def test_histograms_arrive_exponential_and_the_rest_as_it_is(receiver: Receiver) -> None:
    site = telemetry(receiver.endpoint)
    for prefill_s in (0.1, 0.1, 0.6):
        site.sink.record(answered(prefill_s=prefill_s))
    asyncio.run(site.close())

    metrics = receiver.latest_metrics()
    ttft = metrics["gen_ai.server.time_to_first_token"].exponential_histogram
    assert ttft.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = ttft.data_points
    assert point.count == 3
    assert [point.sum, point.min, point.max] == pytest.approx([0.89, 0.13, 0.63])
    buckets = {
        point.positive.offset + index: count
        for index, count in enumerate(point.positive.bucket_counts)
        if count
    }
    low_s, high_s = (2.0 ** ((min(buckets) + step) / 2**point.scale) for step in (0, 1))
    assert low_s < 0.13 <= high_s
    assert sorted(buckets.values()) == [1, 2]
    attainment = metrics["firsthop.slo.attainment"].sum
    assert attainment.is_monotonic
    assert {
        attributes_of(seen.attributes)["met"]: seen.as_int for seen in attainment.data_points
    } == {"true": 2, "false": 1}
    assert metrics["firsthop.turns.active"].gauge.data_points[0].as_int == 3


def test_a_receiver_that_is_not_there_is_given_up(
    caplog: pytest.LogCaptureFixture, unused_endpoint: str
) -> None:
    site = telemetry(unused_endpoint, export_timeout_s=0.2)
    site.sink.record(shed())

    asyncio.run(site.close())

    assert any(line.startswith("Failed to export") for line in caplog.messages)


@pytest.fixture
def unused_endpoint() -> str:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.stop(None).wait()
    return f"http://127.0.0.1:{port}"
