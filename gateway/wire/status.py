"""The one table from error codes to HTTP status, OpenAI error type and gRPC status.

gRPC codes are the numbers of google.rpc.Code, so that this file needs no gRPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    RegionNotAllowed,
    UnknownModel,
    UnsupportedTools,
)
from gateway.core.realtime_errors import VoiceMissing

if TYPE_CHECKING:
    from gateway.core.errors import GatewayError


class WireStatus(NamedTuple):
    """How one error code looks to each kind of client."""

    http: int
    openai_type: str
    grpc: int


_INVALID_ARGUMENT, _DEADLINE, _NOT_FOUND, _DENIED, _EXHAUSTED = 3, 4, 5, 7, 8
_PRECONDITION, _INTERNAL, _UNAVAILABLE, _UNAUTHENTICATED, _ABORTED = 9, 13, 14, 16, 10

STATUS_OF_CODE: dict[str, WireStatus] = {
    "invalid_request": WireStatus(400, "invalid_request_error", _INVALID_ARGUMENT),
    "invalid_schema": WireStatus(400, "invalid_request_error", _INVALID_ARGUMENT),
    "unsupported_tools": WireStatus(400, "invalid_request_error", _INVALID_ARGUMENT),
    "context_length_exceeded": WireStatus(400, "invalid_request_error", _INVALID_ARGUMENT),
    "payload_too_large": WireStatus(413, "invalid_request_error", _EXHAUSTED),
    "invalid_offer": WireStatus(400, "invalid_request_error", _INVALID_ARGUMENT),
    "lines_busy": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "calls_too_fast": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "voice_unavailable": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "unsupported_encoding": WireStatus(415, "invalid_request_error", _INVALID_ARGUMENT),
    "unsupported_media_type": WireStatus(415, "invalid_request_error", _INVALID_ARGUMENT),
    "model_not_found": WireStatus(404, "invalid_request_error", _NOT_FOUND),
    "region_not_allowed": WireStatus(403, "permission_error", _PRECONDITION),
    "site_not_allowed": WireStatus(403, "permission_error", _PRECONDITION),
    "request_not_found": WireStatus(404, "invalid_request_error", _NOT_FOUND),
    "site_not_found": WireStatus(404, "invalid_request_error", _NOT_FOUND),
    "session_not_found": WireStatus(404, "invalid_request_error", _NOT_FOUND),
    "call_not_found": WireStatus(404, "invalid_request_error", _NOT_FOUND),
    "item_not_found": WireStatus(404, "invalid_request_error", _NOT_FOUND),
    "conversation_already_has_active_response": WireStatus(
        409, "invalid_request_error", _PRECONDITION
    ),
    "response_cancel_not_active": WireStatus(409, "invalid_request_error", _PRECONDITION),
    "input_audio_buffer_commit_empty": WireStatus(400, "invalid_request_error", _PRECONDITION),
    "voice_missing": WireStatus(501, "invalid_request_error", _PRECONDITION),
    "session_moved": WireStatus(409, "invalid_request_error", _ABORTED),
    "turn_failed": WireStatus(503, "server_error", _UNAVAILABLE),
    "forbidden": WireStatus(403, "permission_error", _DENIED),
    "host_not_allowed": WireStatus(403, "permission_error", _DENIED),
    "class_not_allowed": WireStatus(403, "permission_error", _DENIED),
    "invalid_api_key": WireStatus(401, "authentication_error", _UNAUTHENTICATED),
    "rate_limit_exceeded": WireStatus(429, "rate_limit_error", _EXHAUSTED),
    "slo_unattainable": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "session_expired": WireStatus(408, "timeout_error", _ABORTED),
    "site_draining": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "turn_cut_off": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "too_many_readers": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "unavailable": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "deadline_exceeded": WireStatus(504, "timeout_error", _DEADLINE),
    "client_stalled": WireStatus(408, "timeout_error", _ABORTED),
    "engine_error": WireStatus(500, "server_error", _INTERNAL),
    "engine_unavailable": WireStatus(503, "server_error", _UNAVAILABLE),
    "upstream_error": WireStatus(502, "server_error", _UNAVAILABLE),
    "upstream_refused": WireStatus(502, "server_error", _PRECONDITION),
    "upstream_unavailable": WireStatus(503, "server_error", _UNAVAILABLE),
    "upstream_busy": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "upstream_timeout": WireStatus(504, "timeout_error", _DEADLINE),
    "speech_error": WireStatus(500, "server_error", _INTERNAL),
    "speech_lost": WireStatus(503, "server_error", _UNAVAILABLE),
    "speech_unavailable": WireStatus(503, "server_error", _UNAVAILABLE),
    "speech_busy": WireStatus(503, "overloaded_error", _UNAVAILABLE),
    "internal_error": WireStatus(500, "server_error", _INTERNAL),
}


def status_of(error: GatewayError) -> WireStatus:
    """How to answer this error; set-up errors never reach a client and look internal."""
    return STATUS_OF_CODE.get(error.code, STATUS_OF_CODE["internal_error"])


def param_of(error: GatewayError) -> str | None:
    """Which field of the request, or which header, the caller must change; None: none of them."""
    match error:
        case InvalidRequest() | UnsupportedTools() | VoiceMissing():
            return error.param
        case UnknownModel():
            return "model"
        case RegionNotAllowed():
            return "x-firsthop-residency"
        case ContextLengthExceeded():
            return "messages"
        case _:
            return None
