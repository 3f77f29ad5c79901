"""Protobuf to turns and back: units, defaults, and the path of every bad field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.budget import Budget, TurnClass
from gateway.core.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    RateLimited,
    SiteDraining,
    SloUnattainable,
    UnsupportedTools,
    UpstreamBusy,
)
from gateway.core.generation import Constraint, ConstraintKind, Sampling
from gateway.core.stages import Stage, StageClock, TurnTrail
from gateway.core.turn import (
    Message,
    ModelInfo,
    Principal,
    Role,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
    Turn,
    TurnFinish,
    Usage,
)
from gateway.wire import agent_convert as convert
from gateway.wire.pb import agent_pb2 as pb

if TYPE_CHECKING:
    from gateway.core.turn_terms import TurnTerms

MODEL = ModelInfo(
    model_id="tiny",
    version="1",
    digest="0123456789abcdef" * 4,
    precision="int8",
    max_context_tokens=512,
    tools="any",
)
SHED = SloUnattainable(estimate_s=0.9, budget_s=0.5, reason="queue", retry_after_s=1.5)
CALL = pb.ToolCall(call_id="c1", name="pay", arguments_json='{"amount": 1}')


def turn_on(terms: TurnTerms, *, fresh_seed: int = 0) -> Turn:
    return terms.turn(
        request_id="r",
        messages=(Message(Role.USER, "hi"),),
        budget=Budget(0.0, None),
        principal=Principal(),
        fresh_seed=fresh_seed,
    )


def test_an_empty_request_means_the_defaults() -> None:
    terms = convert.terms_of(pb.GenerateRequest())
    assert (terms.model, terms.turn_class) == ("default", TurnClass.AGENT)
    assert terms.latency_budget_s is None
    assert terms.tool_choice == ToolChoice()
    assert terms.sampling == Sampling()
    assert terms.parallel_tool_calls
    assert (terms.constraint, terms.max_tokens, terms.stop) == (None, None, ())


def test_a_session_start_means_the_same_as_a_request() -> None:
    fields: dict[str, Any] = {
        "model": "tiny",
        "turn_class": pb.TURN_CLASS_VOICE,
        "latency_budget_ms": 250.0,
        "tools": [pb.Tool(name="t")],
        "tool_choice": pb.ToolChoice(mode=pb.ToolChoice.MODE_NONE),
        "response_format": pb.ResponseFormat(json_schema='{"type":"object"}'),
        "sampling": pb.Sampling(temperature=0.0, top_k=3, seed=1),
        "parallel_tool_calls": False,
        "max_tokens": 5,
        "stop": ["a", "b"],
    }
    terms = convert.terms_of(pb.SessionStart(**fields))
    assert terms == convert.terms_of(pb.GenerateRequest(**fields))
    assert terms.latency_budget_s == 0.25
    assert not turn_on(terms).parallel_tool_calls
    assert terms.tool_choice == ToolChoice(ToolChoiceMode.NONE)
    assert terms.constraint == Constraint(ConstraintKind.JSON_SCHEMA, '{"type":"object"}')
    assert terms.sampling == Sampling(temperature=0.0, top_k=3, seed=1)


def test_a_given_seed_is_kept_and_a_fresh_one_stands_in_for_a_missing_one() -> None:
    seeded = convert.terms_of(pb.GenerateRequest(sampling=pb.Sampling(seed=0)))
    assert turn_on(seeded, fresh_seed=5).sampling.seed == 0
    free = convert.terms_of(pb.GenerateRequest())
    assert turn_on(free, fresh_seed=5).sampling.seed == 5


def test_a_tool_without_parameters_takes_none() -> None:
    (tool,) = convert.terms_of(pb.GenerateRequest(tools=[pb.Tool(name="t")])).tools
    assert tool.parameters == {"type": "object", "properties": {}, "additionalProperties": False}


def test_messages_keep_calls_and_their_results() -> None:
    given = [
        pb.Message(role=pb.ROLE_SYSTEM, content="s"),
        pb.Message(role=pb.ROLE_USER, content="u"),
        pb.Message(role=pb.ROLE_ASSISTANT, tool_calls=[CALL, pb.ToolCall(call_id="c2", name="x")]),
        pb.Message(role=pb.ROLE_TOOL, content="42", tool_call_id="c1"),
    ]
    calls = (ToolCall("c1", "pay", '{"amount": 1}'), ToolCall("c2", "x", "{}"))
    assert convert.messages_of(given, "messages") == (
        Message(Role.SYSTEM, "s"),
        Message(Role.USER, "u"),
        Message(Role.ASSISTANT, "", calls),
        Message(Role.TOOL, "42", tool_call_id="c1"),
    )


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (pb.Message(content="x"), "history[1].role"),
        (pb.Message(role=pb.ROLE_USER, tool_calls=[CALL]), "history[1].tool_calls"),
        (pb.Message(role=pb.ROLE_USER, tool_call_id="c1"), "history[1].tool_call_id"),
        (pb.Message(role=pb.ROLE_TOOL, tool_call_id="c1"), "history[1].tool_call_id"),
        (
            pb.Message(role=pb.ROLE_ASSISTANT, tool_calls=[pb.ToolCall(name="x")]),
            "history[1].tool_calls[0]",
        ),
        (
            pb.Message(
                role=pb.ROLE_ASSISTANT,
                tool_calls=[CALL, pb.ToolCall(call_id="c", name="x", arguments_json="[1]")],
            ),
            "history[1].tool_calls[1].arguments_json",
        ),
    ],
)
def test_a_bad_message_is_named(message: pb.Message, path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        convert.messages_of([pb.Message(role=pb.ROLE_USER), message], "history")
    assert refused.value.param == path
    assert str(refused.value).startswith(path)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"turn_class": 9}, "turn_class"),
        ({"tool_choice": pb.ToolChoice(mode=9)}, "tool_choice.mode"),  # type: ignore[arg-type]
        ({"tools": [pb.Tool(name="t"), pb.Tool()]}, "tools[1].name"),
        ({"tools": [pb.Tool(name="t", parameters_json="{")]}, "tools[0].parameters_json"),
        (
            {"tools": [pb.Tool(name="t", parameters_json='{"a":' * 100_000)]},
            "tools[0].parameters_json",
        ),
        (
            {"response_format": pb.ResponseFormat(json_schema="nope")},
            "response_format.json_schema",
        ),
        ({"sampling": pb.Sampling(top_p=0.0)}, "sampling.top_p"),
        ({"sampling": pb.Sampling(temperature=float("nan"))}, "sampling.temperature"),
        ({"sampling": pb.Sampling(logit_bias={-1: 1.0})}, "sampling.logit_bias"),
        ({"sampling": pb.Sampling(top_logprobs=21)}, "sampling.top_logprobs"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        convert.terms_of(pb.GenerateRequest(**fields))
    assert refused.value.param == path
    assert str(refused.value).startswith(path)


def test_a_tool_result_is_any_json() -> None:
    assert convert.result_of(pb.ToolResult(call_id="c", content_json="[1]")) == ("c", "[1]")
    with pytest.raises(InvalidRequest) as refused:
        convert.result_of(pb.ToolResult(call_id="c"))
    assert refused.value.param == "tool_result.content_json"


def test_a_summary_is_in_milliseconds_and_leaves_out_what_is_not_known() -> None:
    clock = StageClock(10.0)
    trail = TurnTrail("r", clock, site="edge-b", path=["edge-a", "edge-b"], model=MODEL.full_name)
    usage = Usage(3, 2, 1)
    clock.mark(Stage.PREFILL, 10.25)
    early = convert.summary_message(trail, None, usage, trace_id="t", models=())
    assert early.finish == pb.FINISH_REASON_CANCELLED
    assert not early.HasField("ttft_ms")
    assert not early.HasField("budget_ms")
    assert early.model_digest == MODEL.digest[:12]
    assert (early.requested_model, early.escalation, early.escalation_error) == ("", "", "")
    clock.mark_first_content(10.5)
    trail.budget_s = 0.5
    done = convert.summary_message(trail, TurnFinish.LENGTH, usage, trace_id="t", models=(MODEL,))
    assert done.finish == pb.FINISH_REASON_LENGTH
    assert (done.ttft_ms, done.budget_ms, done.duration_ms) == (500.0, 500.0, 500.0)
    spans = [(span.stage, span.offset_ms, span.duration_ms) for span in done.stages]
    assert spans == [("prefill", 0.0, 250.0), ("egress", 250.0, 250.0)]
    assert (list(done.path), done.model_digest) == (["edge-a", "edge-b"], MODEL.digest)
    assert (done.turn_class, done.trace_id) == (pb.TURN_CLASS_AGENT, "t")


def test_a_summary_says_what_was_asked_for_and_why_another_model_answered() -> None:
    trail = TurnTrail("r", StageClock(0.0), model="@lab/big", requested_model="default")
    trail.escalation, trail.escalation_error = "assistant", "upstream_busy"
    told = convert.summary_message(trail, TurnFinish.STOP, Usage(), trace_id="t", models=(MODEL,))
    assert (told.requested_model, told.model, told.model_digest) == ("default", "@lab/big", "")
    assert (told.escalation, told.escalation_error) == ("assistant", "upstream_busy")


def test_a_busy_server_says_when_to_come_again() -> None:
    busy = UpstreamBusy("the server", retry_after_s=3.0)
    assert convert.turn_error(busy, "").retry_after_ms == 3000.0
    assert dict(convert.error_metadata(busy, ""))["retry-after-ms"] == "3000"


def test_an_error_says_the_same_in_a_session_and_on_a_call() -> None:
    error = convert.turn_error(SHED, "r")
    assert (error.code, error.retryable, error.request_id) == ("slo_unattainable", True, "r")
    assert (error.estimate_ms, error.budget_ms, error.retry_after_ms) == (900.0, 500.0, 1500.0)
    assert dict(convert.error_metadata(SHED, "r")) == {
        "firsthop-code": "slo_unattainable",
        "firsthop-retryable": "true",
        "x-request-id": "r",
        "firsthop-estimate-ms": "900",
        "firsthop-budget-ms": "500",
        "retry-after-ms": "1500",
    }
    limited = RateLimited(limit="tokens a minute", allowed=1.0, retry_after_s=0.25)
    assert convert.turn_error(limited, "").retry_after_ms == 250.0
    assert dict(convert.error_metadata(limited, ""))["retry-after-ms"] == "250"


def test_an_error_names_the_field_at_fault() -> None:
    assert convert.turn_error(InvalidRequest("no", param="a.b"), "").param == "a.b"
    assert convert.turn_error(UnsupportedTools("no"), "").param == "tools"
    long = ContextLengthExceeded(limit_tokens=1, given_tokens=2)
    assert convert.turn_error(long, "").param == "messages"
    assert dict(convert.error_metadata(long, ""))["firsthop-param"] == "messages"
    assert "firsthop-param" not in dict(convert.error_metadata(SiteDraining(), ""))
