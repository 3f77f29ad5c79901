"""How many may use a server at the same time, and who is next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING

from gateway.core.generation import CLASS_RANK

if TYPE_CHECKING:
    from gateway.core.budget import TurnClass

_Waiting = tuple[int, int, asyncio.Future[None]]


class Places:
    """At most `limit` hold a place; who waits goes by class, and in a class by arrival."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.num_taken = 0
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()

    def num_waiting(self, turn_class: TurnClass) -> int:
        """How many of a class wait."""
        rank = CLASS_RANK[turn_class]
        return sum(waiting[0] == rank for waiting in self._waiting)

    def num_ahead(self, turn_class: TurnClass) -> int:
        """How many wait whom one more of a class would not overtake."""
        rank = CLASS_RANK[turn_class]
        return sum(waiting[0] <= rank for waiting in self._waiting)

    async def take(self, turn_class: TurnClass) -> None:
        """Take a place, to be given back; waits for one."""
        if self.num_taken < self.limit:
            self.num_taken += 1
            return
        rank = CLASS_RANK[turn_class]
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (rank, next(self._numbers), given)
        heapq.heappush(self._waiting, waiting)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self.give_back()  # it came with the cancellation
            else:
                self._waiting.remove(waiting)
                heapq.heapify(self._waiting)
            raise

    def give_back(self) -> None:
        """Whoever is next takes the place over; without anyone it is free."""
        if self._waiting:
            heapq.heappop(self._waiting)[2].set_result(None)
        else:
            self.num_taken -= 1
