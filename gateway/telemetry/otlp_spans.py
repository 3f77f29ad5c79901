"""Spans as OTLP messages, at a part of what the SDK's encoder takes.

The SDK's asks for the hash of the resource with every span, which writes the resource out as JSON,
and goes through ten functions for each. A site's spans all have one resource, one scope and neither
events nor links, so they are written down directly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

_PARENT_KNOWN: Final = 0x100
_PARENT_IS_REMOTE: Final = 0x200
"""Flags of OTLP's trace.proto: whether the parent's being remote is known, and whether it is."""
_KIND_OFFSET: Final = 1
"""OTLP counts the kinds of spans from 1, the SDK from 0."""


def export_request(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """The request that carries these spans, which share the first one's resource and scope."""
    if not spans:
        return ExportTraceServiceRequest()
    resource, scope = spans[0].resource, spans[0].instrumentation_scope
    of_scope = ScopeSpans(
        scope=None if scope is None else InstrumentationScope(name=scope.name),
        spans=map(_span, spans),
    )
    of_resource = ResourceSpans(
        resource=Resource(attributes=_attributes(resource.attributes)),
        scope_spans=[of_scope],
        schema_url=resource.schema_url,
    )
    return ExportTraceServiceRequest(resource_spans=[of_resource])


def _span(span: ReadableSpan) -> Span:
    context, parent, status = span.context, span.parent, span.status
    flags = _PARENT_KNOWN
    if parent is not None and parent.is_remote:
        flags |= _PARENT_IS_REMOTE
    return Span(
        trace_id=context.trace_id.to_bytes(16),
        span_id=context.span_id.to_bytes(8),
        parent_span_id=b"" if parent is None else parent.span_id.to_bytes(8),
        name=span.name,
        kind=Span.SpanKind.ValueType(span.kind.value + _KIND_OFFSET),
        start_time_unix_nano=span.start_time or 0,
        end_time_unix_nano=span.end_time or 0,
        attributes=_attributes(span.attributes or {}),
        status=Status(
            code=Status.StatusCode.ValueType(status.status_code.value),
            message=status.description or "",
        ),
        flags=flags,
    )


def _attributes(attributes: Mapping[str, object]) -> Iterable[KeyValue]:
    return [_attribute(key, value) for key, value in attributes.items()]


@lru_cache(maxsize=1024, typed=True)
def _attribute(key: str, value: object) -> KeyValue:
    """Most of what spans say was said before."""
    return KeyValue(key=key, value=_value(value))


def _value(value: object) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case tuple():
            return AnyValue(array_value=ArrayValue(values=map(_value, value)))
        case _:
            return AnyValue(string_value=str(value))
