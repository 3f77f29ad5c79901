"""The border between the gateway and whatever runs the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.generation import EngineLoad, GenerationEvent, GenerationRequest


class TextEngine(Protocol):
    """A running language model.

    `generate` yields `TokenFrame`s with consecutive `first_index` and, last, one `GenerationEnd`;
    it raises EngineUnavailable when the engine is gone and did not come back. A request that gets
    no slot by its first-token deadline ends EXPIRED, whether or not there is an engine. Closing the
    generator (`aclose`, cancellation of its consumer) aborts the generation: its slot is free
    within one engine step. Events are buffered without blocking the engine; the buffer is bounded
    by the request's `max_tokens`.
    """

    @property
    def max_context_tokens(self) -> int:
        """Prompt and answer together."""
        ...

    def load(self) -> EngineLoad:
        """The latest known load, with all that waits; never waits, may be called in any thread."""
        ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Start a generation when first iterated."""
        ...
