"""The first and the last word on a turn that came in by gRPC."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from gateway.core.stages import Stage
from gateway.telemetry.trace_context import TurnTrace
from gateway.wire.agent_convert import summary_message

if TYPE_CHECKING:
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import Message, Turn, TurnFinish, Usage
    from gateway.core.turn_terms import TurnTerms
    from gateway.edge.desk import Desk, Visit
    from gateway.wire.pb import agent_pb2 as pb


def turn_on(
    terms: TurnTerms,
    messages: tuple[Message, ...],
    visit: Visit,
    *,
    latency_budget_s: float | None,
    call_deadline_s: float | None,
    seed: int | None = None,
) -> Turn:
    """The turn of a visit. Raises InvalidRequest.

    `latency_budget_s` None: the terms'. `seed` is for terms without one; None draws it.
    """
    return terms.turn(
        request_id=visit.trail.request_id,
        messages=messages,
        budget=visit.budget(
            terms.turn_class,
            requested_s=terms.latency_budget_s if latency_budget_s is None else latency_budget_s,
            call_deadline_s=call_deadline_s,
        ),
        principal=visit.principal,
        # Without a seed two equal requests may be answered differently, as everywhere.
        fresh_seed=fresh_seed() if seed is None else seed,
    )


def fresh_seed() -> int:
    """A seed that nobody chose."""
    return random.getrandbits(63)


def summarise(
    desk: Desk, trail: TurnTrail, finish: TurnFinish | None, usage: Usage
) -> pb.TurnSummary:
    """The summary of a turn that is over; `finish` None: it was cancelled.

    What passed since the last mark was egress, so that the stages add up to the duration.
    """
    clock = trail.clock
    clock.mark(Stage.EGRESS, desk.monotonic())
    trace = TurnTrace.of(trail.request_id, clock.started_s, trail.traceparent)
    return summary_message(
        trail,
        finish,
        usage,
        trace_id=trace.root.trace_hex,
        models=desk.runner.models,
    )
