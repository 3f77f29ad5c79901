"""The spans of finished turns, as a request of OTLP.

A turn's root span is the turn; each stage is a child at its exact place. What other sites did of it
is in the record too, and becomes spans of those sites: they report what each stage took, by a clock
of their own, so that where their part began is only known to lie after this site's decision.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from gateway.core.stages import Outcome, Stage
from gateway.core.turn import name_and_digest
from gateway.telemetry import instruments
from gateway.telemetry.otlp_wire import Kind, SpansOf, child_span, described, root_span
from gateway.telemetry.trace_context import session_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opentelemetry.sdk.resources import Resource

    from gateway.core.stages import RouteDecision, SiteStages, TurnRecord
    from gateway.telemetry.otlp_wire import AttributeValue
    from gateway.telemetry.records import KeptTurn

SCOPE: Final = "firsthop"
_64_BITS: Final = (1 << 64) - 1
_STAGES: Final = {
    stage: described(stage.value, Kind.INTERNAL, {"firsthop.stage": stage.value}) for stage in Stage
}


class TurnSpans:
    """Encodes turns of the site that is this resource."""

    def __init__(self, resource: Resource) -> None:
        attributes = cast("Mapping[str, AttributeValue]", resource.attributes)
        self._of_site = SpansOf(attributes, SCOPE, resource.schema_url)

    def request(self, turns: Iterable[KeptTurn]) -> bytes:
        """A serialised `ExportTraceServiceRequest`."""
        own, of_peers = list[bytes](), dict[str, list[bytes]]()
        for turn in turns:
            own += own_spans(turn)
            for site, spans in peer_spans(turn):
                of_peers.setdefault(site, []).extend(spans)
        parts = [self._of_site(own)] if own else []
        parts += (_of_peer(site)(spans) for site, spans in of_peers.items())
        return b"".join(parts)


@lru_cache(1024)
def _of_peer(site: str) -> SpansOf:
    return SpansOf({"service.name": "firsthop", "service.instance.id": site}, SCOPE)


def own_spans(turn: KeptTurn) -> list[bytes]:
    """Of this site; the root last."""
    record, trace, started_ns = turn.record, turn.trace, turn.started_ns
    trace_id, root_id = trace.root.trace_id.to_bytes(16), trace.root.span_id
    parent_id, spans = root_id.to_bytes(8), list[bytes]()
    for number, one in enumerate(record.spans, start=1):
        stage, offset_s, duration_s = one.stage, one.offset_s, one.duration_s
        begin_ns = started_ns + round(offset_s * 1e9)
        end_ns = started_ns + round((offset_s + duration_s) * 1e9)
        span_id = _nth_id(root_id, number)
        spans.append(child_span(_STAGES[stage], trace_id, span_id, parent_id, begin_ns, end_ns))
    caller, end_ns = trace.caller, started_ns + round(record.duration_s * 1e9)
    is_failed = record.outcome in (Outcome.SHED, Outcome.FAILED)
    shape = described(
        _name(record),
        Kind.SERVER,
        turn_attributes(record),
        error=record.error if is_failed else None,
        parent_is_remote=caller is not None,
        linked_to=session_ids(record),
    )
    if caller is None:
        spans.append(root_span(shape, trace_id, root_id, started_ns, end_ns))
    else:
        caller_id = caller.span_id.to_bytes(8)
        spans.append(child_span(shape, trace_id, root_id, caller_id, started_ns, end_ns))
    return spans


def session_ids(record: TurnRecord) -> tuple[int, int] | None:
    """Trace and span that stand for the turn's session; None: it stands alone."""
    if not record.session:
        return None
    context = session_context(record.tenant, record.session)
    return context.trace_id, context.span_id


def peer_spans(turn: KeptTurn) -> Iterator[tuple[str, list[bytes]]]:
    """Of each part that another site did: the site, a span of the part and one for each stage."""
    record, root = turn.record, turn.trace.root
    trace_id, number = root.trace_id.to_bytes(16), len(record.spans)
    decided_s = [one.end_s for one in record.spans if one.stage is Stage.ADMISSION] or [0.0]
    for place, part in enumerate(record.peer_stages):
        number += 1
        part_id = _nth_id(root.span_id, number)
        begin_ns = turn.started_ns + round(decided_s[min(place, len(decided_s) - 1)] * 1e9)
        at_ns, parent_id, spans = begin_ns, part_id.to_bytes(8), list[bytes]()
        for stage, took_s in part.durations_s().items():
            number += 1
            end_ns, span_id = at_ns + round(took_s * 1e9), _nth_id(root.span_id, number)
            spans.append(child_span(_STAGES[stage], trace_id, span_id, parent_id, at_ns, end_ns))
            at_ns = end_ns
        shape = described(_name(record), Kind.SERVER, _part_attributes(part), parent_is_remote=True)
        root_id = root.span_id.to_bytes(8)
        spans.append(child_span(shape, trace_id, part_id, root_id, begin_ns, at_ns))
        yield part.site, spans


def _nth_id(root_id: int, number: int) -> int:
    return (root_id + number) & _64_BITS or 1


def _part_attributes(part: SiteStages) -> dict[str, AttributeValue]:
    return {"firsthop.site": part.site, "firsthop.begin_is_estimated": True}


def _name(record: TurnRecord) -> str:
    return f"{instruments.OPERATION_NAME} {name_and_digest(record.model)[0]}".rstrip()


def turn_attributes(record: TurnRecord) -> dict[str, AttributeValue]:
    """What the root span says of the turn; what is not known is left out."""
    model, digest = name_and_digest(record.model)
    known: dict[str, AttributeValue | None] = {
        instruments.OPERATION: instruments.OPERATION_NAME,
        instruments.PROVIDER: instruments.PROVIDER_NAME,
        instruments.REQUEST_MODEL: model or None,
        instruments.RESPONSE_MODEL: record.model or None,
        "gen_ai.response.finish_reasons": (record.finish,) if record.finish else None,
        "gen_ai.usage.input_tokens": record.prompt_tokens or None,
        "gen_ai.usage.output_tokens": record.completion_tokens or None,
        "gen_ai.usage.cache_read.input_tokens": record.cached_tokens or None,
        "gen_ai.response.time_to_first_chunk": record.ttft_s,
        instruments.ERROR_TYPE: _error_type(record),
        "gen_ai.conversation.id": record.session or None,
        "firsthop.request_id": record.request_id,
        "firsthop.class": record.turn_class.value,
        "firsthop.tenant": record.tenant or None,
        "firsthop.interface": record.interface or None,
        "firsthop.outcome": record.outcome.value,
        "firsthop.site": record.site or None,
        "firsthop.hop": max(0, len(record.path) - 1),
        "firsthop.escalation": record.escalation or None,
        "firsthop.model_digest": digest or None,
        "firsthop.budget_ms": _ms(record.budget_s),
        "firsthop.within_budget": record.within_budget,
        "firsthop.num_resumes": record.num_resumes,
    }
    if record.decisions:
        known |= _decision_attributes(record.decisions[-1])
    return {name: value for name, value in known.items() if value is not None}


def _decision_attributes(
    decision: RouteDecision,
) -> dict[str, AttributeValue | None]:
    chosen = next((c for c in decision.candidates if c.site == decision.chosen), None)
    return {
        "firsthop.chosen": decision.chosen,
        "firsthop.reason": decision.reason,
        "firsthop.remaining_ms": _ms(decision.remaining_s),
        "firsthop.predicted_ms": None if chosen is None else _ms(chosen.predicted_s),
        "firsthop.margin_ms": None if chosen is None else _ms(chosen.margin_s),
        "firsthop.report_age_ms": None if chosen is None else _ms(chosen.report_age_s),
    }


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s * 1e3, 3)


def _error_type(record: TurnRecord) -> str | None:
    return None if record.outcome is Outcome.ANSWERED else record.error or record.outcome.value
