"""A turn's latency budget: stamped once, spent everywhere, never grown.

Inside a process the budget is an absolute instant on the monotonic clock; on the wire it travels
as remaining milliseconds, because two sites' clocks do not agree.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gateway.core.errors import InvalidRequest

_DAY_S = 86_400.0


class TurnClass(StrEnum):
    """What a turn is for; decides its default budget and its place in the queue."""

    VOICE = "voice"
    AGENT = "agent"
    BATCH = "batch"


class BudgetDefaults(msgspec.Struct, frozen=True):
    """First-token budgets by class, in seconds; batch has none."""

    voice_s: float = 0.5
    agent_s: float = 2.0

    def of(self, turn_class: TurnClass) -> float | None:
        """The class default, or None where the class has no budget."""
        match turn_class:
            case TurnClass.VOICE:
                return self.voice_s
            case TurnClass.AGENT:
                return self.agent_s
            case TurnClass.BATCH:
                return None


class Budget(msgspec.Struct, frozen=True):
    """What a turn may spend until its first content, counted from `started_s`.

    All instants are seconds on this host's monotonic clock. `first_token_s` is the whole budget
    (None: the turn may wait), `call_deadline_s` the instant at which the caller gives up.
    """

    started_s: float
    first_token_s: float | None
    call_deadline_s: float | None = None
    was_asked_for: bool = False
    """The caller set it; otherwise it is the class's."""
    promised_s: float | None = None
    """What the turn is judged by, where it may take longer than that; None: it may not."""

    @property
    def first_token_deadline_s(self) -> float | None:
        """The instant by which the first content must be out, or None."""
        return None if self.first_token_s is None else self.started_s + self.first_token_s

    def remaining_s(self, now_s: float) -> float | None:
        """What is left to the first content; 0 when spent, None when unlimited."""
        deadline_s = self.first_token_deadline_s
        return None if deadline_s is None else max(0.0, deadline_s - now_s)

    def late_by(self, passed_s: float) -> Budget:
        """The budget of a turn that was asked only so long after it began.

        Whoever has spoken waits for an answer, however long it took to be sure that he had
        finished: it may come as much later, and is judged by what was promised.
        """
        if self.first_token_s is None:
            return self
        return msgspec.structs.replace(
            self, first_token_s=self.first_token_s + passed_s, promised_s=self.first_token_s
        )


def budget_for(
    turn_class: TurnClass,
    defaults: BudgetDefaults,
    *,
    started_s: float,
    requested_s: float | None = None,
    call_deadline_s: float | None = None,
) -> Budget:
    """The budget of a new turn: min(requested or class default, what the call's deadline leaves).

    A deadline a day away or more limits nothing: no budget is that long, on any link. Raises
    InvalidRequest for a requested budget that is not positive and finite.
    """
    if requested_s is not None and not 0.0 < requested_s < _DAY_S:
        raise InvalidRequest(
            f"a latency budget must be above 0 and below a day, not {requested_s * 1e3:.10g} ms",
            param="latency_budget_ms",
        )
    first_token_s = requested_s if requested_s is not None else defaults.of(turn_class)
    if call_deadline_s is not None:
        left_s = max(0.0, call_deadline_s - started_s)
        if left_s < _DAY_S:
            first_token_s = left_s if first_token_s is None else min(first_token_s, left_s)
    return Budget(started_s, first_token_s, call_deadline_s, requested_s is not None)


def forwarded_budget(remaining_s: float | None, *, one_way_s: float, received_s: float) -> Budget:
    """The budget of a turn that came from a peer with so much left when it was sent.

    The way here is taken off, so that a budget shrinks with every hop. None: it has none. Raises
    InvalidRequest for a remainder that is no time.
    """
    if remaining_s is None:
        return Budget(received_s, None)
    if not 0.0 <= remaining_s < _DAY_S:
        raise InvalidRequest(
            "what is left of a latency budget must be at least 0 and below a day",
            param="remaining_ms",
        )
    return Budget(received_s, max(0.0, remaining_s - max(0.0, one_way_s)))
