"""Grammars that are asked for and not compiled yet: who waits for each, and which is next.

Classes take turns, so that a client that sends many grammars keeps its own class waiting and no
other. What nobody waits for any more is not compiled. It knows no threads and no compiler.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.core.generation import SERVICE_ORDER

if TYPE_CHECKING:
    from concurrent.futures import Future

    from gateway.core.budget import TurnClass
    from gateway.core.generation import Constraint

_Compiled = TypeVar("_Compiled")


class CompileQueue(Generic[_Compiled]):
    """Not shared between threads without a lock around it."""

    def __init__(self) -> None:
        self._waiters: dict[Constraint, list[Future[_Compiled]]] = {}
        self._begun: set[Constraint] = set()
        self._queued: dict[TurnClass, dict[Constraint, None]] = {one: {} for one in SERVICE_ORDER}
        self._turns = deque(SERVICE_ORDER)
        """Whose turn it is; the class served last comes last."""

    def add(self, constraint: Constraint, turn_class: TurnClass, waiter: Future[_Compiled]) -> None:
        """Somebody waits for this grammar, perhaps not the first one."""
        self._waiters.setdefault(constraint, []).append(waiter)
        if constraint not in self._begun:
            self._queued[turn_class].setdefault(constraint)

    def begin_next(self) -> Constraint | None:
        """The grammar to compile now, or None when nobody waits for one that is not begun."""
        for turn_class in tuple(self._turns):
            queued = self._queued[turn_class]
            while queued:
                constraint = next(iter(queued))
                del queued[constraint]
                if self._is_wanted(constraint):
                    self._begun.add(constraint)
                    self._turns.remove(turn_class)
                    self._turns.append(turn_class)
                    return constraint
        return None

    def end(self, constraint: Constraint) -> list[Future[_Compiled]]:
        """A grammar is compiled; those who waited for it."""
        self._begun.discard(constraint)
        return self._waiters.pop(constraint, [])

    def _is_wanted(self, constraint: Constraint) -> bool:
        """Whether it is to be begun; what all have given up is forgotten."""
        if constraint in self._begun or constraint not in self._waiters:
            return False
        if all(waiter.cancelled() for waiter in self._waiters[constraint]):
            del self._waiters[constraint]
            return False
        return True
