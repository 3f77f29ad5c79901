"""Generations that the site's own engine runs, and their leaving it before their end."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from gateway.core.generation import CLASS_RANK, FinishReason, GenerationEnd, TokenFrame
from gateway.core.hops import Admitted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.generation import GenerationEvent
    from gateway.core.route_choice import Choice, Here
    from gateway.engine.port import TextEngine
    from gateway.router.way import Way


class TurnLeaves(Exception):
    """A generation was told to go on elsewhere; `Way.next_choice` says where."""


class LocalTurn:
    """One generation while the engine has it."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self._is_leaving = self._has_left = False
        self._waiting: asyncio.Task[object] | None = None

    def leave(self, choice: Choice) -> None:
        """Go on where `choice` says, which is booked there, before the engine's next event."""
        self.way.next_choice = choice
        self.way.has_moved = True
        self._is_leaving = True
        if self._waiting is not None:
            self._waiting.cancel()

    def forget_plan(self) -> None:
        """It ended before it could leave: nothing comes of what was booked for it."""
        choice, request = self.way.next_choice, self.way.request
        if choice is not None and choice.peer is not None and not self._has_left:
            choice.peer.unbook(request.turn_class, len(request.prompt))
            self.way.next_choice = None

    async def next(self, events: AsyncGenerator[GenerationEvent, None]) -> GenerationEvent:
        """The engine's next event; there is one. Raises TurnLeaves, and what the engine raises."""
        if self._is_leaving:
            self._has_left = True
            raise TurnLeaves
        # As `asyncio.timeout` does it, which costs several microseconds a token.
        self._waiting = asyncio.current_task()
        try:
            return await anext(events)
        except asyncio.CancelledError:
            if self._waiting_was_told_to_leave():
                self._has_left = True
                raise TurnLeaves from None
            raise
        finally:
            self._waiting = None

    def _waiting_was_told_to_leave(self) -> bool:
        """Whether that alone is why its waiting was cancelled."""
        return self._is_leaving and self._waiting is not None and self._waiting.uncancel() == 0


class LocalTurns:
    """All of them."""

    def __init__(self, here: Here, engine: TextEngine, *, monotonic: Callable[[], float]) -> None:
        self._here = here
        self._engine = engine
        self._monotonic = monotonic
        self._running: dict[str, LocalTurn] = {}
        """By generation id: a request id is the caller's, and may be anyone's."""
        self._numbers = itertools.count(1)

    def in_order_of_service(self) -> list[LocalTurn]:
        """Voice first; of a class, first those of which nothing is out yet."""
        return sorted(
            self._running.values(),
            key=lambda turn: (
                CLASS_RANK[turn.way.request.turn_class],
                turn.way.delivered.has_begun,
            ),
        )

    def count_resume(self, generation_id: str) -> None:
        """A running generation went on in another engine process."""
        turn = self._running.get(generation_id)
        if turn is not None:
            turn.way.trail.num_resumes += 1

    async def run(
        self, choice: Choice, way: Way
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """The rest of a generation. Raises TurnLeaves, and what the engine raises."""
        yield Admitted(())
        generation_id = f"{way.request.request_id}#{next(self._numbers)}"
        request = msgspec.structs.replace(
            way.delivered.remaining_request(), request_id=generation_id
        )
        self._running[generation_id] = turn = LocalTurn(way)
        asked_s = self._monotonic()
        try:
            async with aclosing(self._engine.generate(request)) as events:
                event = await turn.next(events)
                if not request.resume:
                    self._note_first(event, choice, way, asked_s)
                while not isinstance(event, GenerationEnd):
                    yield event
                    event = await turn.next(events)
                yield event
        finally:
            del self._running[generation_id]
            turn.forget_plan()

    def _note_first(self, event: GenerationEvent, choice: Choice, way: Way, asked_s: float) -> None:
        """How the estimate turned out, and whether the budget was kept."""
        now_s, turn_class = self._monotonic(), way.request.turn_class
        is_token = isinstance(event, TokenFrame)
        if is_token:
            rank = CLASS_RANK[turn_class]
            self._here.residuals.add(rank, choice.here_s, now_s - asked_s)
        deadline_s = way.budget.first_token_deadline_s
        is_expired = isinstance(event, GenerationEnd) and event.reason is FinishReason.EXPIRED
        if deadline_s is not None and (is_token or is_expired):
            is_met = is_token and now_s <= deadline_s
            self._here.brake.add(turn_class, is_met=is_met, now_s=now_s)
