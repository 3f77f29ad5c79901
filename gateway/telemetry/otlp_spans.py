"""Spans as OTLP messages, at a part of what the SDK's encoder takes.

The SDK's asks for the hash of the resource with every span, which writes the resource out as JSON,
and goes through ten functions for each. A site's spans all have one resource, one scope and neither
events nor links, so they are put together from parts in the wire format, most of which were
serialised before.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
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
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanKind, StatusCode

_PARENT_KNOWN: Final = 0x100
_PARENT_IS_REMOTE: Final = 0x200
"""Flags of OTLP's trace.proto: whether the parent's being remote is known, and whether it is."""
_KIND_OFFSET: Final = 1
"""OTLP counts the kinds of spans from 1, the SDK from 0."""
_OWN: Final = Struct("<2s16s2s8scQcQ")
_TRACE_ID_TAG, _SPAN_ID_TAG, _PARENT_TAG = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_START_TAG, _END_TAG = b"\x39", b"\x41"
_SPANS_TAG, _ATTRIBUTES_TAG = b"\x12", b"\x4a"
"""Field numbers and wire types of trace.proto; ids with their lengths, times as fixed64."""


def export_request(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """The request that carries these spans, which share the first one's resource and scope."""
    if not spans:
        return ExportTraceServiceRequest()
    resource, scope = spans[0].resource, spans[0].instrumentation_scope
    of_scope = ScopeSpans(scope=None if scope is None else InstrumentationScope(name=scope.name))
    of_scope.MergeFromString(b"".join(_field(_SPANS_TAG, _span(span)) for span in spans))
    of_resource = ResourceSpans(
        resource=Resource(attributes=[_attribute(*one) for one in resource.attributes.items()]),
        scope_spans=[of_scope],
        schema_url=resource.schema_url,
    )
    return ExportTraceServiceRequest(resource_spans=[of_resource])


def _field(tag: bytes, message: bytes) -> bytes:
    """A message inside another: tag, length as a base-128 number, content."""
    length, head = len(message), bytearray(tag)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + message


def _span(span: ReadableSpan) -> bytes:
    """A serialised `Span`."""
    context, parent, status = span.context, span.parent, span.status
    flags, parent_id = _PARENT_KNOWN, b""
    if parent is not None:
        parent_id = _PARENT_TAG + parent.span_id.to_bytes(8)
        if parent.is_remote:
            flags |= _PARENT_IS_REMOTE
    own = _OWN.pack(
        _TRACE_ID_TAG, context.trace_id.to_bytes(16), _SPAN_ID_TAG, context.span_id.to_bytes(8),
        _START_TAG, span.start_time or 0, _END_TAG, span.end_time or 0,
    )  # fmt: skip
    shared = _shared(span.name, span.kind, status.status_code, status.description or "", flags)
    attributes = (span.attributes or {}).items()
    return b"".join((own, parent_id, shared, *(_attribute_field(*one) for one in attributes)))


@lru_cache(maxsize=256)
def _shared(name: str, kind: SpanKind, code: StatusCode, description: str, flags: int) -> bytes:
    """What many spans have in common, serialised."""
    return Span(
        name=name,
        kind=Span.SpanKind.ValueType(kind.value + _KIND_OFFSET),
        status=Status(code=Status.StatusCode.ValueType(code.value), message=description),
        flags=flags,
    ).SerializeToString()


@lru_cache(maxsize=1024, typed=True)
def _attribute_field(key: str, value: object) -> bytes:
    """Most of what spans say was said before."""
    return _field(_ATTRIBUTES_TAG, _attribute(key, value).SerializeToString())


def _attribute(key: str, value: object) -> KeyValue:
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
