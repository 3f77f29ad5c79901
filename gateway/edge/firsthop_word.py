"""The `firsthop` object of answers in JSON: where a turn was answered, what its time went into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from gateway.edge.turn_view import ms, optional_ms
from gateway.telemetry.trace_context import TurnTrace

if TYPE_CHECKING:
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import ServerToolRun, TurnFinish
    from gateway.telemetry.trace_context import TraceContext


class ToolRunWord(msgspec.Struct):
    """A tool that the server ran."""

    id: str
    name: str
    arguments: str
    result: str


class FirsthopWord(msgspec.Struct, kw_only=True):
    """The extension object; everything but `tool_run(s)` only on the last chunk or the body."""

    request_id: str | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET
    site: str | UnsetType = UNSET
    path: list[str] | UnsetType = UNSET
    requested_model: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    escalation: str | UnsetType = UNSET
    """Why the core tier answered, or was to; left out when the turn stayed."""
    escalation_error: str | UnsetType = UNSET
    messages_left_out: int | UnsetType = UNSET
    """That were not read, because there was no time for all; left out when all were."""
    turn_class: str | UnsetType = msgspec.field(default=UNSET, name="class")
    finish: str | UnsetType = UNSET
    stages: dict[str, float] | UnsetType = UNSET
    """Milliseconds by stage, in the order in which they were first entered."""
    ttft_stages: dict[str, float] | UnsetType = UNSET
    """The part of `stages` up to the first content: they sum to `ttft_ms`."""
    ttft_ms: float | UnsetType | None = UNSET
    budget_ms: float | UnsetType | None = UNSET
    tool_run: ToolRunWord | UnsetType = UNSET
    tool_runs: list[ToolRunWord] | UnsetType = UNSET


def tool_run_word(run: ServerToolRun) -> ToolRunWord:
    """What the server ran, and what came of it."""
    return ToolRunWord(run.call.call_id, run.call.name, run.call.arguments, run.result)


def final_word(trail: TurnTrail, finish: TurnFinish | None) -> FirsthopWord:
    """How a turn went, up to the last mark of its clock; `finish` None: it was broken off."""
    return FirsthopWord(
        request_id=trail.request_id,
        trace_id=root_span(trail).trace_hex,
        site=trail.site,
        path=list(trail.path),
        requested_model=trail.requested_model,
        model=trail.model,
        escalation=trail.escalation or UNSET,
        escalation_error=trail.escalation_error or UNSET,
        messages_left_out=trail.num_left_out or UNSET,
        turn_class=trail.turn_class.value,
        finish=UNSET if finish is None else finish.value,
        stages=stages_ms(trail),
        ttft_ms=optional_ms(trail.clock.ttft_s),
        budget_ms=optional_ms(trail.budget_s),
    )


def stages_ms(trail: TurnTrail) -> dict[str, float]:
    """What each stage took so far."""
    durations_s = trail.clock.durations_s()
    return {stage.value: ms(duration_s) for stage, duration_s in durations_s.items()}


def ttft_stages_ms(trail: TurnTrail) -> dict[str, float]:
    """What each stage took until the first content was out; none if it never was."""
    durations_s = trail.clock.ttft_durations_s()
    return {stage.value: ms(duration_s) for stage, duration_s in durations_s.items()}


def root_span(trail: TurnTrail) -> TraceContext:
    """The turn's own span."""
    return TurnTrace.of(trail.request_id, trail.clock.started_s, trail.traceparent).root
