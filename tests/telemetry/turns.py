"""Finished turns to record: an answered one, a late one, a shed one."""

from __future__ import annotations

from gateway.core.budget import TurnClass
from gateway.core.stages import (
    Candidate,
    Outcome,
    RouteDecision,
    Stage,
    StageClock,
    TurnRecord,
    TurnTrail,
)

MODEL = "subscriber-care@0123456789ab"


def trail(
    *,
    request_id: str = "turn-1",
    started_s: float = 100.0,
    budget_s: float | None = 0.5,
    traceparent: str = "",
) -> TurnTrail:
    """A turn that came in and was sent to this site's engine; 3 ms have passed."""
    clock = StageClock(started_s)
    clock.mark(Stage.INGRESS, started_s + 0.001)
    clock.mark(Stage.PROMPT, started_s + 0.002)
    clock.mark(Stage.ADMISSION, started_s + 0.003)
    remaining_s = None if budget_s is None else budget_s - 0.003
    chosen = Candidate("edge-a", 0.12, 0.02, "fits", report_age_s=0.008)
    other = Candidate("edge-b", 0.16, 0.03, "slower")
    return TurnTrail(
        request_id=request_id,
        clock=clock,
        turn_class=TurnClass.VOICE,
        tenant="acme",
        interface="openai",
        traceparent=traceparent,
        budget_s=budget_s,
        site="edge-a",
        path=["edge-a"],
        model=MODEL,
        decisions=[RouteDecision("edge-a", "fits", budget_s, remaining_s, (chosen, other))],
        prompt_tokens=200,
        cached_tokens=50,
    )


def answered(
    *,
    request_id: str = "turn-1",
    started_s: float = 100.0,
    prefill_s: float = 0.1,
    budget_s: float | None = 0.5,
    traceparent: str = "",
) -> TurnRecord:
    """Queued for 20 ms, prefilled, its content out 2 ms later; 40 more tokens in 0.4 s."""
    turn = trail(
        request_id=request_id, started_s=started_s, budget_s=budget_s, traceparent=traceparent
    )
    first_token_s = started_s + 0.003 + 0.02 + prefill_s + 0.005
    turn.clock.mark_parts(
        ((Stage.QUEUE, 0.02), (Stage.PREFILL, prefill_s)), Stage.LINK, first_token_s
    )
    turn.clock.mark_first_content(first_token_s + 0.002)
    for frame in range(1, 41):
        turn.clock.mark(Stage.DECODE, first_token_s + 0.002 + frame * 0.01 - 0.001)
        turn.clock.mark_first_content(first_token_s + 0.002 + frame * 0.01)
    turn.completion_tokens = 41
    return turn.close(Outcome.ANSWERED, "stop", first_token_s + 0.402)


def shed(
    *, request_id: str = "turn-2", started_s: float = 100.0, traceparent: str = ""
) -> TurnRecord:
    """Refused at admission: the best estimate misses the budget."""
    turn = trail(request_id=request_id, started_s=started_s, traceparent=traceparent)
    late = Candidate("edge-a", 0.7, 0.05, "misses the budget")
    turn.decisions = [RouteDecision("", "estimate_exceeds_budget", 0.5, 0.497, (late,))]
    turn.prompt_tokens = turn.cached_tokens = 0
    turn.site = turn.model = ""
    turn.path = []
    return turn.close(Outcome.SHED, "", started_s + 0.004, error="slo_unattainable")
