"""From a library's own threads to the event loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Handover(Generic[_Key, _Value]):
    """Takes values on any thread and delivers the newest of each key on the loop.

    What comes while the loop is busy is delivered at once, in the order of the newest values. At
    most `max_num_keys` wait; a value of one key more is dropped and counted.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[_Key, _Value], None],
        *,
        max_num_keys: int,
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._max_num_keys = max_num_keys
        self._lock = threading.Lock()
        self._waiting: dict[_Key, _Value] = {}
        self._is_closed = False
        self._num_dropped = 0

    def put(self, key: _Key, value: _Value) -> None:
        """From any thread; never waits."""
        with self._lock:
            is_first = not self._waiting
            if self._is_closed:
                return
            if self._waiting.pop(key, None) is None and len(self._waiting) >= self._max_num_keys:
                self._num_dropped += 1
                return
            self._waiting[key] = value
            if is_first:
                self._loop.call_soon_threadsafe(self._deliver_all)

    def close(self) -> None:
        """On the loop: nothing is delivered any more."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()

    def take_num_dropped(self) -> int:
        """How many values were dropped since this was last asked."""
        with self._lock:
            num_dropped, self._num_dropped = self._num_dropped, 0
        return num_dropped

    def _deliver_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for key, value in waiting.items():
            self._deliver(key, value)
