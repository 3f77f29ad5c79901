"""The border between the edge and whatever answers a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.stages import TurnTrail
    from gateway.core.turn import ModelInfo, Turn, TurnEvent


class TurnRunner(Protocol):
    """Answers turns.

    `run` yields deltas and, last, one `TurnEnd`. It raises a GatewayError before the first event
    for anything that is refused, or between events for a turn that failed on its way. Closing the
    generator aborts the turn down to the engine's slot. It marks its own stages on the trail.
    """

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """What is served; the first is the default."""
        ...

    async def check(self, turn: Turn) -> None:
        """Raise what `run` would raise because of the turn itself; nothing is done or counted."""
        ...

    def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        """Answer one turn; nothing is done before it is first iterated."""
        ...
