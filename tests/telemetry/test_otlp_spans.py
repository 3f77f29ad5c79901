"""The own encoder says what the SDK's says."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource

from gateway.telemetry.otlp_spans import export_request
from gateway.telemetry.records import KeptTurn
from gateway.telemetry.tracing import spans_of
from tests.telemetry.turns import answered, shed

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("resource", [Resource.create({"service.name": "a"}), Resource.get_empty()])
def test_it_says_what_the_sdk_says(resource: Resource) -> None:
    records = [answered(), answered(traceparent=PARENT), shed(), answered(budget_s=None)]
    spans = [
        span
        for number, record in enumerate(records)
        for span in spans_of(KeptTurn(record, 1_790_000_000_000_000_000 + number), resource)
    ]
    assert export_request(spans) == encode_spans(spans)
    assert export_request([]) == encode_spans([])
