"""From whoever receives for many to the one who waits for his own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Inbox(Generic[_Item]):
    """Items for one consumer, then, perhaps, the error that ends them.

    `put` never waits: what bounds the items is the producer's to say.
    """

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Whether the consumer has all that came."""
        return not self._items

    def put(self, item: _Item) -> None:
        """Add an item."""
        self._items.append(item)
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """Nothing more will come; the consumer gets what is here, then the error."""
        self._error = error
        self._changed.set()

    async def next(self) -> _Item:
        """The next item. Raises the error that ended them."""
        while not self._items:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()
