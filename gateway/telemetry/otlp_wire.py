"""Parts of OTLP's trace messages, put together in the wire format of protobuf.

The SDK's encoder, and protobuf's own objects for it, take several times as long, under the
interpreter lock: a span has some ten nested messages, most of which are two short texts.
Field numbers are those of opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

AttributeValue = str | bool | int | float | tuple[str, ...]

_CHILD: Final = Struct("<2s16s2s8s2s8scQcQ")
_ROOT: Final = Struct("<2s16s2s8scQcQ")
_TRACE_ID, _SPAN_ID, _PARENT = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
"""Tags of ids, with their lengths."""
_START, _END = b"\x39", b"\x41"
_NAME, _KIND, _ATTRIBUTES, _STATUS = b"\x2a", b"\x30", b"\x4a", b"\x7a"
_STATUS_MESSAGE, _STATUS_CODE = b"\x12", b"\x18"
_ERROR: Final = _STATUS_CODE + b"\x02"
_FLAGS: Final = Struct("<2sI")
_FLAGS_TAG = b"\x85\x01"
_PARENT_KNOWN, _PARENT_IS_REMOTE = 0x100, 0x200
"""Whether it is known if the parent is of another process, and whether it is."""
_LINKS = b"\x6a"
_FLAGS_IN_LINK: Final = Struct("<cI")
_FLAGS_IN_LINK_TAG = b"\x35"
_LINK_FLAGS: Final = _PARENT_KNOWN | _PARENT_IS_REMOTE
_KEY, _VALUE = b"\x0a", b"\x12"
_STRING, _INT, _ARRAY, _ARRAY_VALUES = b"\x0a", b"\x18", b"\x2a", b"\x0a"
_TRUE, _FALSE = b"\x10\x01", b"\x10\x00"
_DOUBLE: Final = Struct("<cd")
_DOUBLE_TAG = b"\x21"
_RESOURCE_SPANS, _RESOURCE, _SCOPE_SPANS, _SCHEMA = b"\x0a", b"\x0a", b"\x12", b"\x1a"
_SCOPE, _SCOPE_NAME, _SPANS = b"\x0a", b"\x0a", b"\x12"
_RESOURCE_ATTRIBUTES = b"\x0a"
_64_BITS: Final = (1 << 64) - 1


class Kind(IntEnum):
    """A span's."""

    INTERNAL = 1
    SERVER = 2


class Shape(NamedTuple):
    """What spans have in common, as `described` returns it."""

    head: bytes
    """Of a span that has a parent."""
    rest: bytes


def child_span(
    shape: Shape, trace_id: bytes, span_id: int, parent_id: bytes, start_ns: int, end_ns: int
) -> bytes:
    """A span with a parent, as the field of its scope that it goes into."""
    own = _CHILD.pack(
        _TRACE_ID, trace_id, _SPAN_ID, span_id.to_bytes(8), _PARENT, parent_id,
        _START, start_ns, _END, end_ns,
    )  # fmt: skip
    return shape.head + own + shape.rest


def root_span(shape: Shape, trace_id: bytes, span_id: int, start_ns: int, end_ns: int) -> bytes:
    """A span without one."""
    own = _ROOT.pack(
        _TRACE_ID, trace_id, _SPAN_ID, span_id.to_bytes(8), _START, start_ns, _END, end_ns
    )
    return field(_SPANS, own + shape.rest)


def described(
    name: str,
    kind: Kind,
    attributes: Mapping[str, AttributeValue],
    *,
    error: str | None = None,
    parent_is_remote: bool = False,
    linked_to: tuple[int, int] | None = None,
) -> Shape:
    """What spans say of themselves; `error` None: nothing went wrong.

    `linked_to` is the trace and the span of another process that belongs to it.
    """
    flags = _PARENT_KNOWN | _PARENT_IS_REMOTE if parent_is_remote else _PARENT_KNOWN
    rest = b"".join(
        (
            field(_NAME, name.encode()),
            _KIND + kind.to_bytes(),
            *(
                _number(*one) if type(one[1]) is float else _said_before(*one)
                for one in attributes.items()
            ),
            b"" if linked_to is None else _link(*linked_to),
            _status(error),
            _FLAGS.pack(_FLAGS_TAG, flags),
        )
    )
    return Shape(_SPANS + varint(_CHILD.size + len(rest)), rest)


def _link(trace_id: int, span_id: int) -> bytes:
    ids = _TRACE_ID + trace_id.to_bytes(16) + _SPAN_ID + span_id.to_bytes(8)
    return field(_LINKS, ids + _FLAGS_IN_LINK.pack(_FLAGS_IN_LINK_TAG, _LINK_FLAGS))


def _status(error: str | None) -> bytes:
    if error is None:
        return field(_STATUS, b"")
    message = field(_STATUS_MESSAGE, error.encode("utf-8", "replace")) if error else b""
    return field(_STATUS, message + _ERROR)


class SpansOf:
    """Makes the part of a request that has the spans of one process."""

    def __init__(
        self, resource: Mapping[str, AttributeValue], scope: str, schema_url: str = ""
    ) -> None:
        attributes = (field(_RESOURCE_ATTRIBUTES, key_value(*one)) for one in resource.items())
        self._resource = field(_RESOURCE, b"".join(attributes))
        self._scope = field(_SCOPE, field(_SCOPE_NAME, scope.encode()))
        self._schema = field(_SCHEMA, schema_url.encode()) if schema_url else b""

    def __call__(self, spans: Iterable[bytes]) -> bytes:
        """Of what `child_span` and `root_span` returned. Such parts in a row are a request."""
        of_scope = field(_SCOPE_SPANS, b"".join((self._scope, *spans)))
        return field(_RESOURCE_SPANS, b"".join((self._resource, of_scope, self._schema)))


def varint(number: int) -> bytes:
    """A number from 0 on, seven bits a byte, the lowest first."""
    if number < 0x80:
        return number.to_bytes()
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(tag: bytes, content: bytes) -> bytes:
    """A message or text inside another."""
    return tag + varint(len(content)) + content


def _number(name: str, value: AttributeValue) -> bytes:
    """An attribute that is hardly ever the same twice."""
    return _number_head(name) + _DOUBLE.pack(_DOUBLE_TAG, value)


@lru_cache(256)
def _number_head(name: str) -> bytes:
    whole = field(_ATTRIBUTES, key_value(name, 0.0))
    return whole[: -_DOUBLE.size]


@lru_cache(1024, typed=True)
def _said_before(name: str, value: AttributeValue) -> bytes:
    """An attribute; most of what spans say was said before."""
    return field(_ATTRIBUTES, key_value(name, value))


def key_value(name: str, value: AttributeValue) -> bytes:
    """A `KeyValue`."""
    return _key(name) + field(_VALUE, _any_value(value))


@lru_cache(256)
def _key(name: str) -> bytes:
    """Names are the gateway's own, and few."""
    return field(_KEY, name.encode())


def _any_value(value: AttributeValue) -> bytes:
    match value:
        case str():
            return field(_STRING, value.encode("utf-8", "replace"))
        case bool():
            return _TRUE if value else _FALSE
        case float():
            return _DOUBLE.pack(_DOUBLE_TAG, value)
        case int():
            return _INT + varint(value & _64_BITS)
        case tuple():
            values = (field(_ARRAY_VALUES, _any_value(one)) for one in value)
            return field(_ARRAY, b"".join(values))
