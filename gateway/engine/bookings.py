"""What an engine's own report of its load does not know yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.generation import NO_BACKLOG, add_backlogs, backlog_of, subtract_backlogs

if TYPE_CHECKING:
    from gateway.core.generation import ClassBacklogs, GenerationRequest


class Bookings:
    """Requests given to an engine since its last report, or kept for the next engine.

    `backlog` is replaced, never changed: other threads may read it at any time.
    """

    def __init__(self) -> None:
        self.backlog: ClassBacklogs = NO_BACKLOG
        self._booked: dict[int, ClassBacklogs] = {}
        self._num_settled = 0

    def book(self, key: int, request: GenerationRequest) -> None:
        """The request under this key, which is new, will be work for the engine."""
        self._booked[key] = backlog_of(request)
        self.backlog = add_backlogs(self.backlog, self._booked[key])

    def cancel(self, key: int) -> None:
        """The request will not be given to an engine after all. Unknown keys are ignored."""
        booked = self._booked.pop(key, NO_BACKLOG)
        self.backlog = subtract_backlogs(self.backlog, booked)

    def settle(self, num_submits: int) -> None:
        """The engine's own report counts the first `num_submits` requests it was given."""
        while self._num_settled < num_submits:
            self.cancel(next(iter(self._booked)))
            self._num_settled += 1
