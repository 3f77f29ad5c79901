"""An answer that is begun when the caller has probably finished, and told once he has."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from gateway.core.turn import TurnEvent
from gateway.runtime.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


class EarlyAnswer:
    """Holds an answer's events back until it is certain that they are wanted.

    Events are read ahead meanwhile, so that the model works; they are bounded by what it may
    generate.
    """

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        """`tasks` own the reading."""
        self._tasks = tasks
        self._certain = asyncio.Event()
        self._has_failed = False

    @property
    def is_certain(self) -> bool:
        """Whether the caller has finished, with the words that are answered."""
        return self._certain.is_set()

    @property
    def has_failed(self) -> bool:
        """Whether it broke off before it was certain: the turn deserves another attempt."""
        return self._has_failed

    def confirm(self) -> None:
        """The caller has finished: tell the answer."""
        self._certain.set()

    async def until_certain(self) -> None:
        """Return once the caller has finished; never, if he goes on."""
        await self._certain.wait()

    async def held(
        self, events: AsyncGenerator[TurnEvent, None], begin: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[TurnEvent, None]:
        """The events, once it is certain, after `begin`. Raises what they raise."""
        ahead = Inbox[TurnEvent | None]()
        reading = self._tasks.create_task(self._read(events, ahead))
        try:
            await self.until_certain()
            await begin()
            while (event := await ahead.next()) is not None:
                yield event
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(
        self, events: AsyncGenerator[TurnEvent, None], ahead: Inbox[TurnEvent | None]
    ) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    ahead.put(event)
            ahead.put(None)
        except Exception as error:  # noqa: BLE001 (raised where the events are told)
            self._has_failed = not self.is_certain
            ahead.fail(error)
