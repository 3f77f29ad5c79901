"""Virtual time: what happens next, and when."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.machine import Machine

EventT = TypeVar("EventT")
EffectT = TypeVar("EffectT")


class Events:
    """A queue of calls by instant; calls of one instant happen in the order they were planned.

    Arrivals are known beforehand and sorted; they are merged in while running instead of filling
    the heap, and come after everything else of their instant.
    """

    __slots__ = ("_heap", "_num_planned", "now_s", "num_happened")

    def __init__(self) -> None:
        self.now_s = 0.0
        self.num_happened = 0
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._num_planned = 0

    def at(self, when_s: float, call: Callable[[Any], None], argument: object = None) -> None:
        """Plan `call(argument)`; an instant in the past means now."""
        self._num_planned = number = self._num_planned + 1
        if when_s < self.now_s:
            when_s = self.now_s
        heappush(self._heap, (when_s, number, call, argument))

    def run(
        self,
        *,
        until_s: float = inf,
        arrivals_s: Sequence[float] = (),
        arrive: Callable[[int], None] | None = None,
    ) -> None:
        """Let everything up to and including `until_s` happen; `arrive(i)` at `arrivals_s[i]`."""
        heap = self._heap
        num_arrivals = len(arrivals_s) if arrive is not None else 0
        index = 0
        next_s = arrivals_s[0] if num_arrivals else inf
        num_happened = 0
        while True:
            if heap and heap[0][0] <= next_s:
                when_s = heap[0][0]
                if when_s > until_s:
                    break
                self.now_s, _, call, argument = heappop(heap)
                call(argument)
            elif arrive is not None and next_s <= until_s and index < num_arrivals:
                self.now_s = next_s
                arrive(index)
                index += 1
                next_s = arrivals_s[index] if index < num_arrivals else inf
            else:
                break
            num_happened += 1
        self.num_happened += num_happened
        if until_s != inf:
            self.now_s = until_s


class Driver(Generic[EventT, EffectT]):
    """Runs a `core` machine in virtual time: the counterpart of `gateway.runtime.driver`."""

    def __init__(
        self,
        events: Events,
        machine: Machine[EventT, EffectT],
        perform: Callable[[EffectT], None],
    ) -> None:
        self._events = events
        self._machine = machine
        self._perform = perform
        self._planned_s = inf

    def tell(self, event: EventT) -> None:
        """Something happened, now."""
        self._wake(None)
        for effect in self._machine.receive(event, self._events.now_s):
            self._perform(effect)
        self._plan()

    def _wake(self, _: object) -> None:
        """Wake the machine if it is due; a wake-up that was moved since finds nothing to do."""
        if self._machine.wake_at_s <= self._events.now_s:
            for effect in self._machine.wake(self._events.now_s):
                self._perform(effect)
        self._plan()

    def _plan(self) -> None:
        wake_at_s = self._machine.wake_at_s
        if wake_at_s != inf and wake_at_s != self._planned_s:
            self._planned_s = wake_at_s
            self._events.at(wake_at_s, self._wake)
