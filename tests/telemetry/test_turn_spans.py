"""The own encoder says what the SDK's says, and what other sites did besides."""

from __future__ import annotations

import msgspec
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource

from gateway.core.stages import SiteStages, Stage, TurnRecord
from gateway.telemetry.records import KeptTurn
from gateway.telemetry.turn_spans import TurnSpans
from tests.telemetry.sdk_spans import spans_of
from tests.telemetry.turns import answered, shed

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STARTED_NS = 1_790_000_000_000_000_000
LONG = "é" * 100


def decoded(*turns: KeptTurn, resource: Resource | None = None) -> ExportTraceServiceRequest:
    encoded = TurnSpans(resource or Resource.get_empty()).request(turns)
    return ExportTraceServiceRequest.FromString(encoded)


@pytest.mark.parametrize(
    "resource",
    [
        Resource.create({"service.name": "a", "list": ("b", "c"), "n": -3, "x": 0.5, "is": False}),
        Resource.get_empty(),
        Resource({"service.name": LONG}, "https://opentelemetry.io/schemas/1.30.0"),
    ],
)
def test_it_says_what_the_sdk_says(resource: Resource) -> None:
    records = [
        answered(),
        answered(traceparent=PARENT),
        shed(),
        answered(budget_s=None),
        msgspec.structs.replace(answered(), prompt_tokens=1 << 40, tenant=LONG, decisions=()),
        msgspec.structs.replace(shed(), error=""),
        msgspec.structs.replace(answered(), session="session-1"),
    ]
    turns = [KeptTurn(record, STARTED_NS + number) for number, record in enumerate(records)]
    expected = encode_spans([span for turn in turns for span in spans_of(turn, resource)])
    assert decoded(*turns, resource=resource) == expected
    assert decoded() == encode_spans([])


def moved() -> TurnRecord:
    """Answered by another site, which queued it for 20 ms and took 90 ms for the prompt."""
    took_us = {Stage.QUEUE: 20_000, Stage.PREFILL: 90_000}
    part = SiteStages("edge-b", tuple(took_us.get(stage, 0) for stage in Stage))
    return msgspec.structs.replace(
        answered(), site="edge-b", path=("edge-a", "edge-b"), peer_stages=(part,)
    )


def test_what_another_site_did_are_spans_of_that_site_in_the_same_trace() -> None:
    turn = KeptTurn(moved(), STARTED_NS)
    ours, theirs = decoded(turn).resource_spans
    (root,) = [span for span in ours.scope_spans[0].spans if not span.parent_span_id]
    names = {one.key: one.value.string_value for one in theirs.resource.attributes}
    assert names == {"service.name": "firsthop", "service.instance.id": "edge-b"}
    *stages, part = theirs.scope_spans[0].spans
    assert part.kind == Span.SPAN_KIND_SERVER
    assert part.parent_span_id == root.span_id
    assert part.start_time_unix_nano == STARTED_NS + 3_000_000  # this site had decided
    assert part.end_time_unix_nano - part.start_time_unix_nano == 110_000_000
    assert [span.name for span in stages] == ["queue", "prefill"]
    assert {span.parent_span_id for span in stages} == {part.span_id}
    assert stages[0].end_time_unix_nano == stages[1].start_time_unix_nano
    everything = [*ours.scope_spans[0].spans, *theirs.scope_spans[0].spans]
    assert {span.trace_id for span in everything} == {root.trace_id}
    assert len({span.span_id for span in everything}) == len(everything)


def test_turns_of_a_session_are_linked_to_one_thing_and_not_one_trace() -> None:
    first, second, other = (
        msgspec.structs.replace(answered(request_id=request_id), session=session)
        for request_id, session in (("a", "s-1"), ("b", "s-1"), ("c", "s-2"))
    )
    request = decoded(*(KeptTurn(record, STARTED_NS) for record in (first, second, other)))
    spans = request.resource_spans[0].scope_spans[0].spans
    roots = [span for span in spans if not span.parent_span_id]
    links = [root.links[0] for root in roots]
    assert links[0].trace_id == links[1].trace_id != links[2].trace_id
    assert len({root.trace_id for root in roots} | {link.trace_id for link in links}) == 5


def test_turns_of_one_site_share_its_resource() -> None:
    request = decoded(*(KeptTurn(moved(), STARTED_NS + number) for number in range(3)))
    assert len(request.resource_spans) == 2
