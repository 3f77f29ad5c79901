"""What can be wrong with a session that is to go on elsewhere."""

from __future__ import annotations

from gateway.core.errors import GatewayError, RequestError


class SessionNotFound(RequestError):
    """No site of the grid has this caller's session (any more)."""

    code = "session_not_found"

    def __init__(self) -> None:
        super().__init__(
            "no site that can be reached keeps a session of yours for this token; begin a new one "
            "with the conversation so far as its history"
        )


class SessionMoved(GatewayError):
    """The session was resumed elsewhere, so it ends here."""

    code = "session_moved"

    def __init__(self) -> None:
        super().__init__("the session was resumed and goes on there; this call is over")


class TurnFailedBefore(GatewayError):
    """The turn had failed before the session was resumed; nothing of it was kept."""

    code = "turn_failed"
    retryable = True

    def __init__(self) -> None:
        super().__init__("the turn failed before the session was resumed; send its message again")
