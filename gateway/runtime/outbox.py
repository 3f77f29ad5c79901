"""From many who have something to say to the one who writes it to a connection."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Outbox(Generic[_Item]):
    """Items on their way to one connection, in order.

    The writer takes all there are: what is put while the loop goes round once, or while the writer
    is busy, leaves together. `put` never waits; whoever puts because of what a stranger sends
    waits for `room` before he reads on, so that one who does not read cannot fill the memory.
    """

    def __init__(self, *, max_num_items: int) -> None:
        self._max_num_items = max_num_items
        self._items: list[_Item] = []
        self._filled = asyncio.Event()
        self._is_closed = False
        self._has_room = asyncio.Event()
        self._has_room.set()

    def put(self, item: _Item) -> None:
        """Add an item."""
        self._items.append(item)
        self._filled.set()
        if len(self._items) >= self._max_num_items:
            self._has_room.clear()

    def close(self) -> None:
        """Nothing will be put any more; the writer takes what is left, then nothing."""
        self._is_closed = True
        self._filled.set()

    async def take(self) -> list[_Item]:
        """All items, at least one until it is closed."""
        await self._filled.wait()
        if not self._is_closed:
            self._filled.clear()
        self._has_room.set()
        items, self._items = self._items, []
        return items

    async def room(self) -> None:
        """Wait until fewer than the limit are here."""
        await self._has_room.wait()
