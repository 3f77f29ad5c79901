"""Which turns get a trace, and what their spans say."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind, StatusCode

from gateway.core.stages import Outcome, TurnRecord
from gateway.telemetry.records import KeptTurn
from gateway.telemetry.tracing import TurnTracer, is_wanted
from gateway.telemetry.turn_spans import turn_attributes
from tests.telemetry.sdk_spans import spans_of
from tests.telemetry.turns import answered, shed, trail

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

STARTED_NS = 1_800_000_000_000_000_000
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"


def kept(record: TurnRecord) -> KeptTurn:
    return KeptTurn(record, STARTED_NS)


def spans(record: TurnRecord) -> list[ReadableSpan]:
    return list(spans_of(kept(record), Resource.get_empty()))


@pytest.mark.parametrize(
    "record",
    [
        shed(),
        answered(prefill_s=0.6),
        answered(traceparent=f"{CALLER}-01"),
        trail(budget_s=None).close(Outcome.FAILED, "", 100.1, error="engine_error"),
    ],
)
def test_turns_that_somebody_will_ask_about_are_always_wanted(record: TurnRecord) -> None:
    assert is_wanted(kept(record), ratio=0.0)


def test_of_the_rest_one_in_a_hundred_is_wanted_and_always_the_same() -> None:
    record = answered()
    turns = [kept(msgspec.structs.replace(record, request_id=str(n))) for n in range(5000)]

    wanted = [is_wanted(turn) for turn in turns]

    assert 25 <= sum(wanted) <= 80  # 50 expected, standard deviation 7
    assert wanted == [is_wanted(turn) for turn in turns]
    assert not any(is_wanted(turn, ratio=0.0) for turn in turns)
    assert all(is_wanted(turn, ratio=1.0) for turn in turns)


def test_a_caller_that_does_not_sample_leaves_the_choice_to_the_site() -> None:
    assert not is_wanted(kept(answered(traceparent=f"{CALLER}-00")), ratio=0.0)


def test_the_stages_are_children_of_the_turn_at_their_exact_places() -> None:
    record = answered()

    *stages, root = spans(record)

    assert root.context is not None
    assert root.name == "chat subscriber-care"
    assert root.kind is SpanKind.SERVER
    assert root.parent is None
    assert (root.start_time, root.end_time) == (STARTED_NS, STARTED_NS + 530_000_000)
    assert [span.name for span in stages] == [span.stage for span in record.spans]
    for span, stage in zip(stages, record.spans, strict=True):
        assert span.parent == root.context
        assert span.start_time == STARTED_NS + round(stage.offset_s * 1e9)
        assert span.end_time == STARTED_NS + round((stage.offset_s + stage.duration_s) * 1e9)
    contexts = [span.context for span in (*stages, root) if span.context is not None]
    assert {context.trace_id for context in contexts} == {root.context.trace_id}
    assert len({context.span_id for context in contexts}) == len(record.spans) + 1


def test_the_callers_span_is_the_parent_of_the_turn() -> None:
    *_, root = spans(answered(traceparent=f"{CALLER}-01"))

    assert root.context is not None
    assert root.parent is not None
    assert f"{root.context.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert f"{root.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert root.parent.is_remote


def test_the_root_span_says_what_was_decided_and_why() -> None:
    assert turn_attributes(answered()) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "firsthop",
        "gen_ai.request.model": "subscriber-care",
        "gen_ai.response.model": "subscriber-care@0123456789ab",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 200,
        "gen_ai.usage.output_tokens": 41,
        "gen_ai.usage.cache_read.input_tokens": 50,
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.130),
        "firsthop.request_id": "turn-1",
        "firsthop.class": "voice",
        "firsthop.tenant": "acme",
        "firsthop.interface": "openai",
        "firsthop.outcome": "answered",
        "firsthop.site": "edge-a",
        "firsthop.hop": 0,
        "firsthop.model_digest": "0123456789ab",
        "firsthop.budget_ms": 500.0,
        "firsthop.within_budget": True,
        "firsthop.num_resumes": 0,
        "firsthop.chosen": "edge-a",
        "firsthop.reason": "fits",
        "firsthop.remaining_ms": 497.0,
        "firsthop.predicted_ms": 120.0,
        "firsthop.margin_ms": 20.0,
        "firsthop.report_age_ms": 8.0,
    }


def test_a_shed_turn_is_an_error_without_a_model() -> None:
    *_, root = spans(shed())

    assert root.name == "chat"
    assert root.status.status_code is StatusCode.ERROR
    assert root.status.description == "slo_unattainable"
    attributes = dict(root.attributes or {})
    assert attributes["error.type"] == "slo_unattainable"
    assert attributes["firsthop.chosen"] == ""
    assert attributes["firsthop.reason"] == "estimate_exceeds_budget"
    assert "firsthop.predicted_ms" not in attributes
    assert "gen_ai.request.model" not in attributes


class Collector:
    """Keeps what it is sent; until `goes_on` is set, whoever sends waits."""

    def __init__(self) -> None:
        self.turns: list[KeptTurn] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def export(self, turns: list[KeptTurn]) -> None:
        assert self.goes_on.wait(20.0)
        self.turns += turns

    def close(self) -> None: ...


def test_a_burst_of_wanted_turns_is_traced_at_a_bounded_rate() -> None:
    collector = Collector()
    tracer = TurnTracer(collector, max_traces_per_s=10.0)
    burst = shed(started_s=100.0)

    sent = [tracer.record(kept(burst)) for _ in range(30)]
    sent += [tracer.record(kept(shed(started_s=100.5))) for _ in range(30)]
    tracer.close()

    assert len(collector.turns) == 15  # ten at once, five more that half a second allows
    assert sum(sent) == 15
    assert tracer.num_dropped == 45


def test_a_collector_that_stands_still_costs_the_oldest_traces_and_no_wait() -> None:
    collector = Collector()
    collector.goes_on.clear()
    tracer = TurnTracer(collector, max_traces_per_s=1e6, export_interval_s=0.001)
    num_sent = 3000
    for number in range(num_sent):
        tracer.record(kept(shed(request_id=str(number), started_s=100.0 + number)))
    collector.goes_on.set()
    tracer.close()

    assert len(collector.turns) + tracer.num_dropped == num_sent
    assert 1024 <= len(collector.turns) <= 1024 + 64
    assert collector.turns[-1].record.request_id == str(num_sent - 1)
