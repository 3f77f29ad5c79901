"""The last word on a turn, as the gRPC API tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.stages import Stage
from gateway.telemetry.trace_context import TurnTrace
from gateway.wire.agent_convert import summary_message

if TYPE_CHECKING:
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import TurnFinish, Usage
    from gateway.edge.desk import Desk
    from gateway.wire.pb import agent_pb2 as pb


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
