"""Traces, built only from finished records: nothing is spent on a turn whose trace nobody wants.

A trace is built for every turn that was slow, shed or failed, or whose caller samples it, and for
one in a hundred of the rest. Its root span is the turn; each stage is a child at its exact place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.core.stages import Outcome
from gateway.core.turn import name_and_digest
from gateway.telemetry import instruments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter

    from gateway.core.stages import RouteDecision, TurnRecord
    from gateway.telemetry.records import KeptTurn
    from gateway.telemetry.trace_context import TraceContext

DEFAULT_SAMPLE_RATIO = 0.01
MAX_TRACES_PER_S = 50.0
"""Encoding a span takes about 0.1 ms of the interpreter in the export thread. A burst that sheds
everything must not pay for a trace of every refusal: beyond this rate traces are only counted."""

_SCOPE = InstrumentationScope("firsthop")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_RATIO_BITS = 56
"""W3C trace context level 2: at least the last 56 bits of a trace id are random."""

AttributeValue = str | bool | int | float | tuple[str, ...]


def is_wanted(turn: KeptTurn, *, ratio: float = DEFAULT_SAMPLE_RATIO) -> bool:
    """Whether the turn's trace is worth building; the same answer for the same turn, always."""
    record = turn.record
    if record.within_budget is False or record.outcome in (Outcome.SHED, Outcome.FAILED):
        return True
    root = turn.trace.root
    dice = root.trace_id & ((1 << _RATIO_BITS) - 1)
    return root.sampled or dice < ratio * (1 << _RATIO_BITS)


class TurnTracer:
    """Builds the spans of wanted turns and hands them to the exporter's thread."""

    def __init__(
        self,
        exporter: SpanExporter,
        resource: Resource,
        *,
        sample_ratio: float = DEFAULT_SAMPLE_RATIO,
        max_traces_per_s: float = MAX_TRACES_PER_S,
        export_interval_s: float = 1.0,
    ) -> None:
        self._processor: SpanProcessor = BatchSpanProcessor(
            exporter, schedule_delay_millis=export_interval_s * 1e3
        )
        self._resource = resource
        self._sample_ratio = sample_ratio
        self._max_traces_per_s = max_traces_per_s
        self._allowance = max_traces_per_s
        self._allowance_at_s = 0.0
        self.num_dropped = 0
        """Wanted traces that were not built because of the rate limit."""

    def record(self, turn: KeptTurn) -> None:
        """Export the turn's spans if they are wanted."""
        record = turn.record
        if not is_wanted(turn, ratio=self._sample_ratio):
            return
        if not self._take_allowance(record.started_s + record.duration_s):
            self.num_dropped += 1
            return
        for span in spans_of(turn, self._resource):
            self._processor.on_end(span)

    def close(self) -> None:
        """Send what was not sent yet; waits for the exporter, at most its own timeout."""
        self._processor.shutdown()

    def _take_allowance(self, now_s: float) -> bool:
        grown = max(0.0, now_s - self._allowance_at_s) * self._max_traces_per_s
        self._allowance_at_s = max(self._allowance_at_s, now_s)
        self._allowance = min(self._max_traces_per_s, self._allowance + grown)
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True


def spans_of(turn: KeptTurn, resource: Resource) -> Iterator[ReadableSpan]:
    """The turn's spans, the root last.

    They are made as finished spans and not by a tracer, because a tracer chooses ids and reads
    clocks, and here both are given.
    """
    record, trace, started_ns = turn.record, turn.trace, turn.started_ns
    root = _span_context(trace.root, is_remote=False)
    for index, span in enumerate(record.spans, start=1):
        stage = str(span.stage)
        yield ReadableSpan(
            name=stage,
            context=SpanContext(
                root.trace_id, (root.span_id + index) % (1 << 64) or 1, False, _SAMPLED
            ),
            parent=root,
            resource=resource,
            attributes={"firsthop.stage": stage},
            kind=SpanKind.INTERNAL,
            start_time=started_ns + round(span.offset_s * 1e9),
            end_time=started_ns + round(span.end_s * 1e9),
            instrumentation_scope=_SCOPE,
        )
    model = name_and_digest(record.model)[0]
    yield ReadableSpan(
        name=f"{instruments.OPERATION_NAME} {model}".rstrip(),
        context=root,
        parent=None if trace.caller is None else _span_context(trace.caller, is_remote=True),
        resource=resource,
        attributes=turn_attributes(record),
        kind=SpanKind.SERVER,
        status=_status(record),
        start_time=started_ns,
        end_time=started_ns + round(record.duration_s * 1e9),
        instrumentation_scope=_SCOPE,
    )


def turn_attributes(record: TurnRecord) -> dict[str, AttributeValue]:
    """What the root span says of the turn; what is not known is left out."""
    known: dict[str, AttributeValue | None] = {
        instruments.OPERATION: instruments.OPERATION_NAME,
        instruments.PROVIDER: instruments.PROVIDER_NAME,
        instruments.REQUEST_MODEL: name_and_digest(record.model)[0] or None,
        instruments.RESPONSE_MODEL: record.model or None,
        "gen_ai.response.finish_reasons": (record.finish,) if record.finish else None,
        "gen_ai.usage.input_tokens": record.prompt_tokens or None,
        "gen_ai.usage.output_tokens": record.completion_tokens or None,
        "gen_ai.usage.cache_read.input_tokens": record.cached_tokens or None,
        "gen_ai.response.time_to_first_chunk": record.ttft_s,
        instruments.ERROR_TYPE: _error_type(record),
        "firsthop.request_id": record.request_id,
        "firsthop.class": record.turn_class.value,
        "firsthop.tenant": record.tenant or None,
        "firsthop.interface": record.interface or None,
        "firsthop.outcome": record.outcome.value,
        "firsthop.site": record.site or None,
        "firsthop.hop": max(0, len(record.path) - 1),
        "firsthop.escalation": record.escalation or None,
        "firsthop.model_digest": name_and_digest(record.model)[1] or None,
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


def _status(record: TurnRecord) -> Status:
    if record.outcome in (Outcome.SHED, Outcome.FAILED):
        return Status(StatusCode.ERROR, record.error)
    return Status(StatusCode.UNSET)


def _span_context(context: TraceContext, *, is_remote: bool) -> SpanContext:
    return SpanContext(context.trace_id, context.span_id, is_remote, _SAMPLED)
