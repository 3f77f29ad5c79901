"""Runs a `core` machine on the running asyncio loop and the monotonic clock."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.machine import Machine

EventT = TypeVar("EventT")
EffectT = TypeVar("EffectT")


class Driver(Generic[EventT, EffectT]):
    """Feeds events and wake-ups to one machine and hands its effects to `perform`.

    `tell` decides at once, before anything is awaited, so that what a decision books is booked
    when it returns. `run` must run, in a task with an owner, for timers to fire. `perform` is
    called in order, also when it tells the driver something itself; what it raises ends `run`,
    or reaches the caller of `tell`.
    """

    def __init__(
        self,
        machine: Machine[EventT, EffectT],
        perform: Callable[[EffectT], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine = machine
        self._perform = perform
        self._monotonic = monotonic
        self._rearm = asyncio.Event()
        self._effects: deque[EffectT] = deque()
        self._is_performing = False

    def tell(self, event: EventT) -> None:
        """Something happened, now."""
        now_s = self._monotonic()
        self._wake_if_due(now_s)
        self._do(self._machine.receive(event, now_s))
        self._rearm.set()

    async def run(self) -> None:
        """Wake the machine whenever it is due, until cancelled."""
        while True:
            self._rearm.clear()
            self._wake_if_due(self._monotonic())
            # The loop's clock may round to a millisecond and fire early: the wait is only a hint,
            # the monotonic clock decides.
            wait_s = self._machine.wake_at_s - self._monotonic()
            if wait_s <= 0.0:
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(None if wait_s == inf else wait_s):
                    await self._rearm.wait()
            except TimeoutError:
                continue

    def _wake_if_due(self, now_s: float) -> None:
        if self._machine.wake_at_s <= now_s:
            self._do(self._machine.wake(now_s))

    def _do(self, effects: Sequence[EffectT]) -> None:
        """Perform in order; effects of a nested `tell` come after those already waiting."""
        self._effects.extend(effects)
        if self._is_performing:
            return
        self._is_performing = True
        try:
            while self._effects:
                self._perform(self._effects.popleft())
        finally:
            self._is_performing = False
