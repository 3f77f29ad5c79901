"""The gateway's errors as events of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.wire.realtime.server_events import ErrorEvent, ErrorFacts
from gateway.wire.status import param_of, status_of

if TYPE_CHECKING:
    from gateway.core.errors import GatewayError


def error_event(error: GatewayError, event_id: str | None = None) -> ErrorEvent:
    """An error in the session's words; `event_id` is of the client's event it answers."""
    return ErrorEvent(
        error=ErrorFacts(
            type=status_of(error).openai_type,
            message=error.message,
            code=error.code,
            param=param_of(error),
            event_id=event_id,
        )
    )
