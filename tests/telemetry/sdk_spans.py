"""The same spans as the SDK makes them: what our encoder is held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.core.stages import Outcome
from gateway.core.turn import name_and_digest
from gateway.telemetry import instruments
from gateway.telemetry.turn_spans import session_ids, turn_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.resources import Resource

    from gateway.core.stages import TurnRecord
    from gateway.telemetry.records import KeptTurn
    from gateway.telemetry.trace_context import TraceContext

_SCOPE = InstrumentationScope("firsthop")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def spans_of(turn: KeptTurn, resource: Resource) -> Iterator[ReadableSpan]:
    """The turn's spans at its own site, the root last; made as finished spans, since a tracer
    chooses ids and reads clocks, and here both are given."""
    record, trace, started_ns = turn.record, turn.trace, turn.started_ns
    root = _span_context(trace.root, is_remote=False)
    for index, span in enumerate(record.spans, start=1):
        stage = str(span.stage)
        yield ReadableSpan(
            name=stage,
            context=SpanContext(
                root.trace_id, (root.span_id + index) % (1 << 64) or 1, False, _SAMPLED
            ),
            parent=root,
            resource=resource,
            attributes={"firsthop.stage": stage},
            kind=SpanKind.INTERNAL,
            start_time=started_ns + round(span.offset_s * 1e9),
            end_time=started_ns + round(span.end_s * 1e9),
            instrumentation_scope=_SCOPE,
        )
    model = name_and_digest(record.model)[0]
    yield ReadableSpan(
        name=f"{instruments.OPERATION_NAME} {model}".rstrip(),
        context=root,
        parent=None if trace.caller is None else _span_context(trace.caller, is_remote=True),
        resource=resource,
        links=_links(record),
        attributes=turn_attributes(record),
        kind=SpanKind.SERVER,
        status=_status(record),
        start_time=started_ns,
        end_time=started_ns + round(record.duration_s * 1e9),
        instrumentation_scope=_SCOPE,
    )


def _status(record: TurnRecord) -> Status:
    if record.outcome in (Outcome.SHED, Outcome.FAILED):
        return Status(StatusCode.ERROR, record.error)
    return Status(StatusCode.UNSET)


def _span_context(context: TraceContext, *, is_remote: bool) -> SpanContext:
    return SpanContext(context.trace_id, context.span_id, is_remote, _SAMPLED)


def _links(record: TurnRecord) -> list[Link]:
    ids = session_ids(record)
    return [] if ids is None else [Link(SpanContext(*ids, is_remote=True))]
