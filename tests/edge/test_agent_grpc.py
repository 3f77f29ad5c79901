"""Generate, ListModels, health and reflection, through real gRPC clients."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from gateway.core.budget import TurnClass
from gateway.core.errors import (
    EngineUnavailable,
    RateLimited,
    RegionNotAllowed,
    SloUnattainable,
)
from gateway.core.generation import Constraint, ConstraintKind
from gateway.core.stages import Outcome
from gateway.core.turn import LogprobEntry, ServerToolRun, TextDelta, ToolCall, ToolCallDelta, Usage
from gateway.wire.pb import agent_pb2 as pb
from tests.edge.grpc_fakes import (
    HELLO,
    KEY,
    MODEL,
    Conversation,
    Flood,
    Hold,
    Spent,
    ask,
    calling,
    kinds,
    on_uvloop,
    refusal,
    serve,
    user,
)

pytestmark = pytest.mark.flow

SERVICE = "firsthop.v1.AgentService"
SHED = SloUnattainable(estimate_s=0.9, budget_s=0.5, reason="queue", retry_after_s=1.5)


@on_uvloop
async def test_whom_a_client_speaks_for_is_in_the_record_as_a_pseudonym() -> None:
    metadata = (("x-firsthop-user", "anna"),)
    async with serve() as site:
        site.desk.pseudonym = lambda tenant, user: f"{tenant}'s {user}, hashed"
        assert [event async for event in site.stub.Generate(ask(), metadata=metadata)]
        assert (await site.records.next()).caller == "acme's anna, hashed"
        session = Conversation(site, metadata=metadata)
        await session.start()
        await session.say()
        await session.leg()
        assert (await site.records.next()).caller == "acme's anna, hashed"
        session.hang_up()
        assert [event async for event in site.stub.Generate(ask())]
        assert (await site.records.next()).caller == ""


@on_uvloop
async def test_an_answer_streams_and_ends_with_its_summary() -> None:
    async with serve() as site:
        call = site.stub.Generate(ask(), metadata=(("x-request-id", "req-1"),))
        events = [event async for event in call]
        head = dict(await call.initial_metadata())
        record = await site.records.next()
    assert [event.text_delta.text for event in events[:-1]] == ["Hel", "lo ", "wörld"]
    summary = events[-1].summary
    assert summary.finish == pb.FINISH_REASON_STOP
    assert (summary.request_id, summary.site, list(summary.path)) == ("req-1", "edge-a", ["edge-a"])
    assert (summary.model, summary.model_digest) == (MODEL.full_name, MODEL.digest)
    assert (summary.usage.prompt_tokens, summary.usage.completion_tokens) == (7, 3)
    assert summary.usage.cached_tokens == 2
    assert summary.budget_ms == 2000.0
    assert head["x-request-id"] == "req-1"
    assert head["x-firsthop-site"] == head["x-firsthop-path"] == "edge-a"
    assert head["x-firsthop-model"] == MODEL.full_name
    assert (record.request_id, record.interface, record.tenant) == ("req-1", "grpc", "acme")
    assert record.outcome is Outcome.ANSWERED
    assert site.gate.num_held == 0


@on_uvloop
async def test_the_stages_of_a_summary_add_up() -> None:
    async with serve() as site:
        summary = [event async for event in site.stub.Generate(ask())][-1].summary
    assert {"ingress", "prefill", "egress"} <= {span.stage for span in summary.stages}
    assert sum(span.duration_ms for span in summary.stages) == pytest.approx(summary.duration_ms)
    assert 0.0 < summary.ttft_ms <= summary.duration_ms


@on_uvloop
async def test_the_trace_of_the_caller_is_kept() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    metadata = (("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01"),)
    async with serve() as site:
        summary = [event async for event in site.stub.Generate(ask(), metadata=metadata)][-1]
        record = await site.records.next()
    assert summary.summary.trace_id == trace_id
    assert record.traceparent == metadata[0][1]


@on_uvloop
async def test_everything_a_request_says_reaches_the_turn() -> None:
    request = ask(
        model="tiny",
        turn_class=pb.TURN_CLASS_VOICE,
        latency_budget_ms=300.0,
        tools=[pb.Tool(name="pay", description="Pays.", parameters_json='{"type":"object"}')],
        tool_choice=pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED, name="pay"),
        response_format=pb.ResponseFormat(regex="[0-9]+"),
        sampling=pb.Sampling(temperature=0.5, seed=7, logit_bias={3: -1.5}, top_logprobs=2),
        max_tokens=9,
        stop=["\n"],
    )
    async with serve() as site:
        await to_the_end(site.stub.Generate(request))
        turn = site.runner.turns[0]
    assert (turn.model, turn.turn_class, turn.max_tokens) == ("tiny", TurnClass.VOICE, 9)
    assert turn.budget.first_token_s == pytest.approx(0.3)
    assert (turn.tools[0].name, turn.tools[0].parameters) == ("pay", {"type": "object"})
    assert (turn.tool_choice.mode, turn.tool_choice.name) == ("required", "pay")
    assert turn.constraint == Constraint(ConstraintKind.REGEX, "[0-9]+")
    assert (turn.sampling.temperature, turn.sampling.seed) == (0.5, 7)
    assert (turn.sampling.logit_bias, turn.sampling.top_logprobs) == ({3: -1.5}, 2)
    assert turn.stop == ("\n",)


@on_uvloop
async def test_without_a_seed_two_calls_draw_differently() -> None:
    async with serve() as site:
        for _ in range(2):
            await to_the_end(site.stub.Generate(ask()))
    first, second = (turn.sampling.seed for turn in site.runner.turns)
    assert first != second


@pytest.mark.parametrize(("residency", "served"), [("eu-west, eu-north", True), ("us", False)])
@on_uvloop
async def test_a_caller_may_name_the_regions_it_allows(residency: str, served: bool) -> None:
    metadata = (("x-firsthop-residency", residency),)
    async with serve() as site:
        site.desk.region = "eu-north"
        session = Conversation(site, metadata=metadata)
        await session.start()
        if served:
            await to_the_end(site.stub.Generate(ask(), metadata=metadata))
            await session.say()
            assert kinds(await session.leg())[-1] == "turn_summary"
            session.hang_up()
            return
        call = await refusal(site.stub.Generate(ask(), metadata=metadata))
        for code, _, trailing in (call, await session.status()):
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert trailing["firsthop-code"] == RegionNotAllowed.code
        assert not site.runner.turns


async def to_the_end(call: Any) -> None:
    async for _ in call:
        pass


@on_uvloop
async def test_tool_calls_tool_runs_and_logprobs_are_streamed() -> None:
    entry = LogprobEntry("é", "é".encode(), -0.5, (("e", b"e", -1.0),))
    run = ServerToolRun(ToolCall("c0", "get_bill", "{}"), '{"open":64}')
    script = (
        run,
        TextDelta("é", (entry,)),
        ToolCallDelta(0, "", "c1", "pay"),
        ToolCallDelta(0, '{"a":1}'),
        calling(ToolCall("c1", "pay", '{"a":1}')),
    )
    async with serve(script) as site:
        events = [event async for event in site.stub.Generate(ask())]
    assert kinds(events) == [
        "tool_run",
        "text_delta",
        "tool_call_delta",
        "tool_call_delta",
        "summary",
    ]
    assert events[0].tool_run.call.name == "get_bill"
    assert events[0].tool_run.result_json == '{"open":64}'
    assert events[1].text_delta.logprobs[0].utf8 == "é".encode()
    assert events[1].text_delta.logprobs[0].top[0].logprob == -1.0
    assert events[2].tool_call_delta.call_id == "c1"
    assert events[3].tool_call_delta.arguments_json == '{"a":1}'
    assert events[4].summary.finish == pb.FINISH_REASON_TOOL_CALLS


@on_uvloop
async def test_the_deadline_of_a_call_caps_its_budget() -> None:
    async with serve() as site:
        await to_the_end(site.stub.Generate(ask(), timeout=1.0))
        await to_the_end(site.stub.Generate(ask(latency_budget_ms=50.0), timeout=1.0))
        await to_the_end(site.stub.Generate(ask()))
        capped, asked, free = (turn.budget for turn in site.runner.turns)
    assert capped.first_token_s is not None
    assert 0.0 < capped.first_token_s <= 1.05  # grpc rounds what is left
    assert capped.call_deadline_s is not None
    assert asked.first_token_s == pytest.approx(0.05)
    assert (free.first_token_s, free.call_deadline_s) == (2.0, None)


@on_uvloop
async def test_a_passed_deadline_ends_the_turn() -> None:
    async with serve((TextDelta("one"), Hold())) as site:
        code, _, _ = await refusal(site.stub.Generate(ask(), timeout=0.1))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await site.runner.next_left() is False
        assert (await site.records.next()).outcome is Outcome.ABANDONED
        assert site.gate.num_held == 0


@pytest.mark.parametrize("script", [(Hold(),), (TextDelta("one"), Hold()), (Flood(),)])
@on_uvloop
async def test_a_cancelled_call_ends_the_turn_at_once(script: Any) -> None:
    async with serve(script) as site:
        call = site.stub.Generate(ask())
        await site.runner.next_started()
        if not isinstance(script[0], Hold):
            await call.read()
        call.cancel()
        assert await site.runner.next_left() is False
        assert (await site.records.next()).outcome is Outcome.ABANDONED
        assert site.gate.num_held == 0


@on_uvloop
async def test_calls_cancelled_amid_their_writes_leave_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve((Flood(),)) as site:
        for num_reads in [0, 1, 2, 3] * 8:
            call = site.stub.Generate(ask())
            for _ in range(num_reads):
                await call.read()
            call.cancel()
        while site.desk.num_active:
            assert (await site.records.next()).outcome is Outcome.ABANDONED
        assert site.gate.num_held == 0
    assert not caplog.records


@pytest.mark.parametrize(
    ("request_", "code", "name", "param"),
    [
        (pb.GenerateRequest(), "INVALID_ARGUMENT", "invalid_request", "messages"),
        (
            pb.GenerateRequest(messages=[pb.Message(content="hi")]),
            "INVALID_ARGUMENT",
            "invalid_request",
            "messages[0].role",
        ),
        (
            pb.GenerateRequest(messages=[user(), pb.Message(role=99)]),  # type: ignore[arg-type]
            "INVALID_ARGUMENT",
            "invalid_request",
            "messages[1].role",
        ),
        (
            ask(latency_budget_ms=-5),
            "INVALID_ARGUMENT",
            "invalid_request",
            "latency_budget_ms",
        ),
        (
            ask(latency_budget_ms=float("nan")),
            "INVALID_ARGUMENT",
            "invalid_request",
            "latency_budget_ms",
        ),
        (ask(max_tokens=0), "INVALID_ARGUMENT", "invalid_request", "max_tokens"),
        (ask(max_tokens=-(2**31)), "INVALID_ARGUMENT", "invalid_request", "max_tokens"),
        (
            ask(sampling=pb.Sampling(temperature=9.0)),
            "INVALID_ARGUMENT",
            "invalid_request",
            "sampling.temperature",
        ),
        (ask(turn_class=7), "INVALID_ARGUMENT", "invalid_request", "turn_class"),
        (ask(turn_class=pb.TURN_CLASS_BATCH), "PERMISSION_DENIED", "class_not_allowed", None),
        (ask(model="gpt-9"), "NOT_FOUND", "model_not_found", "model"),
        (ask(model="m" * 100_000), "NOT_FOUND", "model_not_found", "model"),
    ],
)
@on_uvloop
async def test_a_bad_request_is_refused_with_the_field_at_fault(
    request_: pb.GenerateRequest, code: str, name: str, param: str | None
) -> None:
    async with serve() as site:
        given, details, trailing = await refusal(site.stub.Generate(request_))
        record = await site.records.next()
    assert given is grpc.StatusCode[code]
    assert details
    assert trailing["firsthop-code"] == name
    assert trailing.get("firsthop-param") == param
    assert trailing["firsthop-retryable"] == "false"
    assert trailing["x-request-id"] == record.request_id
    assert (record.outcome, record.error) == (Outcome.REJECTED, name)
    assert site.gate.num_held == 0


@on_uvloop
async def test_a_key_pays_for_prompt_and_answer_also_when_it_hangs_up() -> None:
    spent = Usage(prompt_tokens=300, completion_tokens=4, cached_tokens=100)
    async with serve((Spent(spent), TextDelta("Once upon"), Hold())) as site:
        call = site.stub.Generate(ask())
        await call.read()
        call.cancel()
        await site.records.next()
    assert site.gate.charged_tokens == [304]


@on_uvloop
async def test_a_shed_turn_says_estimate_and_budget() -> None:
    async with serve((SHED,)) as site:
        code, details, trailing = await refusal(site.stub.Generate(ask()))
        record = await site.records.next()
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "900 ms" in details
    assert trailing["firsthop-code"] == "slo_unattainable"
    assert trailing["firsthop-retryable"] == "true"
    assert trailing["firsthop-estimate-ms"] == "900"
    assert trailing["firsthop-budget-ms"] == "500"
    assert trailing["retry-after-ms"] == "1500"
    assert record.outcome is Outcome.SHED


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (
            RateLimited(limit="requests a minute", allowed=60, retry_after_s=2.0),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "rate_limit_exceeded",
        ),
        (EngineUnavailable("gone"), grpc.StatusCode.UNAVAILABLE, "engine_unavailable"),
        (ValueError("a bug"), grpc.StatusCode.INTERNAL, "internal_error"),
    ],
)
@on_uvloop
async def test_a_failure_between_events_ends_the_call_with_its_status(
    error: Exception, code: grpc.StatusCode, name: str
) -> None:
    async with serve((TextDelta("one"), error)) as site:
        call = site.stub.Generate(ask())
        first = await call.read()
        given, details, trailing = await refusal(call)
    assert isinstance(first, pb.GenerateEvent)
    assert (given, trailing["firsthop-code"]) == (code, name)
    assert "a bug" not in details


@on_uvloop
async def test_keys_are_asked_for() -> None:
    async with serve() as site:
        site.gate.keys_needed = True
        code, _, trailing = await refusal(site.stub.Generate(ask()))
        metadata = (("authorization", f"Bearer {KEY}"),)
        events = [event async for event in site.stub.Generate(ask(), metadata=metadata)]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await site.stub.ListModels(pb.ListModelsRequest())
        listed = await site.stub.ListModels(pb.ListModelsRequest(), metadata=metadata)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert trailing["firsthop-code"] == "invalid_api_key"
    assert kinds(events)[-1] == "summary"
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert listed.models[0].id == "tiny"


@on_uvloop
async def test_the_models_are_listed() -> None:
    async with serve() as site:
        (model,) = (await site.stub.ListModels(pb.ListModelsRequest())).models
    assert (model.id, model.version, model.digest) == ("tiny", "1", MODEL.digest)
    assert (model.precision, model.max_context_tokens, model.tools) == ("int8", 512, "any")
    assert list(model.aliases) == ["small"]


def raw(channel: grpc.aio.Channel, method: str) -> Any:
    """A method of the service that sends the bytes it is given."""
    return channel.unary_stream(f"/{SERVICE}/{method}", lambda data: data, lambda data: data)


@on_uvloop
async def test_bytes_that_are_no_message_are_refused() -> None:
    async with serve() as site:
        generate = await refusal(raw(site.channel, "Generate")(b"\xff\xff\xff"))
        converse = await refusal(raw(site.channel, "Converse")(b"\xff\xff\xff"))
        listing = await refusal(raw(site.channel, "ListModels")(b"\xff\xff\xff"))
        events = [event async for event in site.stub.Generate(ask())]
    for code, details, trailing in (generate, converse, listing):
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "not a firsthop.v1." in details
        assert trailing["firsthop-code"] == "invalid_request"
    assert kinds(events)[-1] == "summary"


@on_uvloop
async def test_an_oversized_message_is_refused() -> None:
    async with serve(max_message_bytes=10_000) as site:
        code, _, _ = await refusal(site.stub.Generate(ask(stop=["x" * 20_000])))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not site.runner.turns


@on_uvloop
async def test_compressed_messages_are_refused() -> None:
    async with serve() as site:
        call = site.stub.Generate(ask(stop=["x" * 5000]), compression=grpc.Compression.Gzip)
        code, _, _ = await refusal(call)
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert not site.runner.turns


SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))


@on_uvloop
async def test_a_client_that_stops_reading_loses_its_turn_and_no_more() -> None:
    async with serve((Flood(),), HELLO, channel_options=SMALL_WINDOW, stall_limit_s=0.1) as site:
        call = site.stub.Generate(ask())
        await call.read()
        assert await site.runner.next_left() is False
        record = await site.records.next()
        num_yielded = site.runner.num_yielded
        assert (record.outcome, record.error) == (Outcome.ABANDONED, "client_stalled")
        assert site.gate.num_held == 0
        assert num_yielded < 2000, "about two windows of a thousand bytes an event"
        events = [event async for event in site.stub.Generate(ask())]
        assert kinds(events)[-1] == "summary"
        code, _, trailing = await refusal(call)
        assert site.runner.num_yielded == num_yielded
    assert (code, trailing["firsthop-code"]) == (grpc.StatusCode.ABORTED, "client_stalled")
