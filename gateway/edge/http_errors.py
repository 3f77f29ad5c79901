"""Refusals in the words of the OpenAI API: one JSON shape, and the retry headers."""

from __future__ import annotations

import math

import msgspec
from msgspec import UNSET, UnsetType

from gateway.core.call_errors import CallsTooFast
from gateway.core.errors import (
    GatewayError,
    PayloadTooLarge,
    RateLimited,
    SiteDraining,
    SloUnattainable,
    TurnCutOff,
    Unauthenticated,
    UnsupportedEncoding,
    UpstreamBusy,
)
from gateway.edge.turn_view import ms, optional_ms
from gateway.wire.status import param_of, status_of

HttpHeader = tuple[bytes, bytes]

_TIMED = (SloUnattainable, RateLimited, UpstreamBusy, CallsTooFast)
"""Errors that say when to come again."""
_RETRIED_BY_CLIENTS = frozenset({408, 409, 429})
"""What the openai clients retry of themselves, besides every 5xx."""


class _Error(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None
    reason: str | UnsetType = UNSET
    estimate_ms: float | UnsetType = UNSET
    budget_ms: float | UnsetType | None = UNSET


class _ErrorBody(msgspec.Struct):
    error: _Error


_encoder = msgspec.json.Encoder()


def error_body(error: GatewayError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`; a shed turn adds its figures in ms."""
    body = _Error(error.message, status_of(error).openai_type, param_of(error), error.code)
    if isinstance(error, SloUnattainable):
        body.reason = error.reason
        body.estimate_ms = ms(error.estimate_s)
        body.budget_ms = optional_ms(error.budget_s)
    return _encoder.encode(_ErrorBody(body))


def route_error_body(message: str, code: str) -> bytes:
    """The same shape for a request that reached no route."""
    return _encoder.encode(_ErrorBody(_Error(message, "invalid_request_error", None, code)))


def error_headers(error: GatewayError) -> list[HttpHeader]:
    """What the status needs beside the body: when to retry, or that it is useless here."""
    headers: list[HttpHeader] = []
    if isinstance(error, _TIMED) and math.isfinite(error.retry_after_s):
        wait_s = max(0.0, error.retry_after_s)
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(wait_s))))
        headers.append((b"retry-after-ms", b"%d" % math.ceil(wait_s * 1e3)))
    status = status_of(error).http
    if (status >= 500 or status in _RETRIED_BY_CLIENTS) and not _retry_helps_here(error):
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, SloUnattainable | SiteDraining | TurnCutOff) and error.alternates:
        headers.append((b"x-firsthop-alternates", ", ".join(error.alternates).encode()))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, PayloadTooLarge | UnsupportedEncoding | SiteDraining):
        # What is left of the body would have to be read before another request; a draining site
        # wants none.
        headers.append((b"connection", b"close"))
    return headers


def _retry_helps_here(error: GatewayError) -> bool:
    if isinstance(error, SiteDraining):
        return False  # another site is the place to retry
    if isinstance(error, SloUnattainable):
        return math.isfinite(error.retry_after_s)
    return error.retryable
