"""A generation as its consumer holds it, across restarts of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.delivered import Delivered
from gateway.core.generation import FinishReason, GenerationEnd, TokenFrame
from gateway.runtime.inbox import Inbox

if TYPE_CHECKING:
    from gateway.core.errors import EngineError
    from gateway.core.generation import GenerationEvent, GenerationRequest


class LiveStream:
    """Buffers a generation's events for one consumer and knows what was received.

    The buffer never makes the engine wait; it is bounded by the request's `max_tokens`.
    """

    def __init__(self, key: int, request: GenerationRequest) -> None:
        self.key = key
        self.request = request
        self.num_crashes = 0
        """How often an engine process died with this generation in it."""
        self.num_fruitless = 0
        """How often in a row without a new token in between."""
        self._received = Delivered(request)
        self._events: Inbox[GenerationEvent] = Inbox()

    def remaining_request(self) -> GenerationRequest:
        """What another engine needs to go on after the tokens received so far."""
        return self._received.remaining_request()

    def receive(self, event: GenerationEvent) -> None:
        """An engine produced this. Raises ValueError when tokens before it are missing."""
        if isinstance(event, TokenFrame):
            fresh = self._received.take(event)
            if fresh is None:
                return
            event = fresh
            self.num_fruitless = 0
        self._events.put(event)

    def fail(self, error: EngineError) -> None:
        """Nothing more will come; the consumer gets what is buffered, then the error."""
        self._events.fail(error)

    def expired(self) -> GenerationEnd:
        """The end of a stream that no engine has begun in time."""
        request = self.request
        return GenerationEnd(FinishReason.EXPIRED, len(request.prompt), len(request.resume))

    async def next(self) -> GenerationEvent:
        """The next event. Raises the error that ended the stream."""
        return await self._events.next()


def is_end(event: GenerationEvent) -> bool:
    """Whether nothing follows this event."""
    return isinstance(event, GenerationEnd)
