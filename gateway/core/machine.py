"""The shape of a decision that lives on: a state machine without a clock, a task or a socket.

A machine is told what happened and when, and answers with what to do. Timers are data: it says
when it wants to be woken. Whoever drives it, a live loop or a simulation in virtual time, keeps
one promise: calls come in the order of their instants, and a wake that is due comes before an
event of the same instant or later. Then the same events give the same decisions everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

EventT = TypeVar("EventT", contravariant=True)
EffectT = TypeVar("EffectT", covariant=True)


class Machine(Protocol[EventT, EffectT]):
    """What a driver needs of a machine. Instants are seconds on the driver's clock."""

    @property
    def wake_at_s(self) -> float:
        """When `wake` is due; infinity for never. A wake must move it into the future."""
        ...

    def receive(self, event: EventT, now_s: float) -> Sequence[EffectT]:
        """Something happened; what is to be done now, in order."""
        ...

    def wake(self, now_s: float) -> Sequence[EffectT]:
        """`wake_at_s` has come (a live clock may be late); what is to be done now, in order."""
        ...
