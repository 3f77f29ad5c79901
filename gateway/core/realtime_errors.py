"""What a Realtime session refuses beside what every turn may be refused for."""

from __future__ import annotations

from typing import ClassVar

from gateway.core.errors import CapacityError, InvalidRequest, RequestError, quoted


class ResponseActive(InvalidRequest):
    """One response at a time is answered into a conversation."""

    code: ClassVar[str] = "conversation_already_has_active_response"

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"the conversation has an active response, {response_id}; await its response.done "
            "or cancel it before response.create",
            param=None,
        )


class ResponseNotActive(InvalidRequest):
    """There is nothing to cancel."""

    code: ClassVar[str] = "response_cancel_not_active"

    def __init__(self) -> None:
        super().__init__("no such response is active", param=None)


class ItemNotFound(InvalidRequest):
    """The conversation has no such item."""

    code: ClassVar[str] = "item_not_found"

    def __init__(self, item_id: str, *, param: str = "item_id") -> None:
        super().__init__(f"the conversation has no item {quoted(item_id)}", param=param)


class AudioBufferEmpty(InvalidRequest):
    """Nothing was heard since the last turn."""

    code: ClassVar[str] = "input_audio_buffer_commit_empty"

    def __init__(self) -> None:
        super().__init__("nothing was heard since the last turn", param=None)


class VoiceMissing(RequestError):
    """This site neither hears nor speaks; `param` is what asked for it."""

    code: ClassVar[str] = "voice_missing"

    def __init__(self, reason: str, *, param: str | None = None) -> None:
        super().__init__(f"this site has no voice: {reason}; text sessions are served")
        self.param = param


class CallNotFound(RequestError):
    """No call with that id is kept here (any more)."""

    code: ClassVar[str] = "call_not_found"

    def __init__(self, call_id: str) -> None:
        super().__init__(f"no call has the id {quoted(call_id)} at this site")


class SessionExpired(CapacityError):
    """The session has lasted as long as sessions may."""

    code: ClassVar[str] = "session_expired"
    retryable = False

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the session has reached its {limit_s:g} s; begin a new one")
