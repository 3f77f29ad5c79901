"""A generation as its consumer holds it, across restarts of the engine."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from gateway.core.generation import FinishReason, GenerationEnd, TokenFrame

if TYPE_CHECKING:
    from gateway.core.errors import EngineError
    from gateway.core.generation import GenerationEvent, GenerationRequest


class LiveStream:
    """Buffers a generation's events for one consumer and knows what was received.

    The buffer never makes the engine wait; it is bounded by the request's `max_tokens`. Tokens
    are recognised by their index, so whatever an engine repeats reaches the consumer once.
    """

    def __init__(self, key: int, request: GenerationRequest) -> None:
        self.key = key
        self.request = request
        self.num_crashes = 0
        """How often an engine process died with this generation in it."""
        self.num_fruitless = 0
        """How often in a row without a new token in between."""
        self._tokens = list(request.resume)
        self._events: deque[GenerationEvent] = deque()
        self._error: EngineError | None = None
        self._changed = asyncio.Event()

    def remaining_request(self) -> GenerationRequest:
        """What another engine needs to go on after the tokens received so far."""
        if len(self._tokens) == len(self.request.resume):
            return self.request
        return msgspec.structs.replace(
            self.request, resume=tuple(self._tokens), first_token_deadline_s=None
        )

    def receive(self, event: GenerationEvent) -> None:
        """An engine produced this. Raises ValueError when tokens before it are missing."""
        if isinstance(event, TokenFrame):
            num_known = len(self._tokens) - event.first_index
            if num_known < 0:
                raise ValueError(f"{-num_known} tokens of a generation are missing")
            if num_known >= len(event.ids):
                return
            event = _without_first(event, num_known)
            self._tokens += event.ids
            self.num_fruitless = 0
        self._events.append(event)
        self._changed.set()

    def fail(self, error: EngineError) -> None:
        """Nothing more will come; the consumer gets what is buffered, then the error."""
        self._error = error
        self._changed.set()

    def expired(self) -> GenerationEnd:
        """The end of a stream that no engine has begun in time."""
        request = self.request
        return GenerationEnd(FinishReason.EXPIRED, len(request.prompt), len(request.resume))

    async def next(self) -> GenerationEvent:
        """The next event. Raises the error that ended the stream."""
        while not self._events:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()


def is_end(event: GenerationEvent) -> bool:
    """Whether nothing follows this event."""
    return isinstance(event, GenerationEnd)


def _without_first(frame: TokenFrame, num_known: int) -> TokenFrame:
    if num_known == 0:
        return frame
    return msgspec.structs.replace(
        frame,
        first_index=frame.first_index + num_known,
        ids=frame.ids[num_known:],
        logprobs=frame.logprobs[num_known:],
    )
