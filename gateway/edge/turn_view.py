"""A kept turn as JSON: what `/v1/requests` serves and `firsthop explain` reads. Times are ms."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from gateway.core.stages import Candidate, RouteDecision, SiteStages, StageSpan
    from gateway.telemetry.records import KeptTurn


class StageView(msgspec.Struct, frozen=True):
    """A stretch of the turn, counted from its start."""

    stage: str
    offset_ms: float
    duration_ms: float


class CandidateView(msgspec.Struct, frozen=True):
    """One place the turn could have gone."""

    site: str
    predicted_ms: float | None
    """None, and the margin too, of a peer that has not said anything yet."""
    margin_ms: float | None
    reason: str
    report_age_ms: float | None = None


class DecisionView(msgspec.Struct, frozen=True):
    """What the router decided and why; `chosen` is "" for a turn that was shed."""

    chosen: str
    reason: str
    budget_ms: float | None
    remaining_ms: float | None
    candidates: list[CandidateView]


class UsageView(msgspec.Struct, frozen=True):
    """Token counts of the whole turn."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class SiteStagesView(msgspec.Struct, frozen=True):
    """What another site's part took, on that site's clock, by stage."""

    site: str
    took_ms: dict[str, float]


class TurnView(msgspec.Struct, frozen=True, rename={"turn_class": "class"}):
    """The whole record of one turn."""

    request_id: str
    trace_id: str
    started_at: str
    """RFC 3339, UTC."""
    turn_class: str
    tenant: str
    caller: str
    session: str
    interface: str
    site: str
    path: list[str]
    requested_model: str
    model: str
    escalation: str
    escalation_error: str
    outcome: str
    begun_early: bool
    finish: str
    error: str
    budget_ms: float | None
    ttft_ms: float | None
    within_budget: bool | None
    duration_ms: float
    stages: list[StageView]
    decisions: list[DecisionView]
    usage: UsageView
    num_resumes: int
    tools_run: list[str]
    peer_stages: list[SiteStagesView] = []
    messages_left_out: int = 0


_encoder = msgspec.json.Encoder()


def record_json(turn: KeptTurn) -> bytes:
    """The whole record as a JSON object."""
    return _encoder.encode(view_of(turn))


def view_of(turn: KeptTurn) -> TurnView:
    """The whole record, in milliseconds and names."""
    record = turn.record
    return TurnView(
        request_id=record.request_id,
        trace_id=turn.trace.root.trace_hex,
        started_at=rfc3339(turn.started_ns),
        turn_class=record.turn_class.value,
        tenant=record.tenant,
        caller=record.caller,
        session=record.session,
        interface=record.interface,
        site=record.site,
        path=list(record.path),
        requested_model=record.requested_model,
        model=record.model,
        escalation=record.escalation,
        escalation_error=record.escalation_error,
        outcome=record.outcome.value,
        begun_early=record.begun_early,
        finish=record.finish,
        error=record.error,
        budget_ms=optional_ms(record.budget_s),
        ttft_ms=optional_ms(record.ttft_s),
        within_budget=record.within_budget,
        duration_ms=ms(record.duration_s),
        stages=[_stage(span) for span in record.spans],
        decisions=[_decision(decision) for decision in record.decisions],
        usage=UsageView(record.prompt_tokens, record.cached_tokens, record.completion_tokens),
        num_resumes=record.num_resumes,
        tools_run=list(record.tools_run),
        peer_stages=[_site_stages(stages) for stages in record.peer_stages],
        messages_left_out=record.num_left_out,
    )


def _stage(span: StageSpan) -> StageView:
    return StageView(span.stage.value, ms(span.offset_s), ms(span.duration_s))


def _site_stages(stages: SiteStages) -> SiteStagesView:
    took_ms = {stage.value: ms(took_s) for stage, took_s in stages.durations_s().items()}
    return SiteStagesView(stages.site, took_ms)


def _decision(decision: RouteDecision) -> DecisionView:
    return DecisionView(
        chosen=decision.chosen,
        reason=decision.reason,
        budget_ms=optional_ms(decision.budget_s),
        remaining_ms=optional_ms(decision.remaining_s),
        candidates=[_candidate(candidate) for candidate in decision.candidates],
    )


def _candidate(candidate: Candidate) -> CandidateView:
    return CandidateView(
        site=candidate.site,
        predicted_ms=_finite_ms(candidate.predicted_s),
        margin_ms=_finite_ms(candidate.margin_s),
        reason=candidate.reason,
        report_age_ms=optional_ms(candidate.report_age_s),
    )


def ms(value_s: float) -> float:
    """Milliseconds of a duration in seconds, to the microsecond."""
    return round(value_s * 1e3, 3)


def optional_ms(value_s: float | None) -> float | None:
    """The same, where there may be none."""
    return None if value_s is None else ms(value_s)


def _finite_ms(value_s: float) -> float | None:
    return ms(value_s) if isfinite(value_s) else None


def rfc3339(instant_ns: int) -> str:
    """The instant, given in nanoseconds since 1970, to the millisecond."""
    return datetime.fromtimestamp(instant_ns / 1e9, UTC).isoformat(timespec="milliseconds")
