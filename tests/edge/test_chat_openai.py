"""The unmodified openai client for Python against a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from gateway.core.budget import TurnClass
from gateway.core.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    EngineFault,
    EngineUnavailable,
    GatewayError,
    InvalidSchema,
    RateLimited,
    SiteDraining,
    SloUnattainable,
    UnknownModel,
    UnsupportedTools,
)
from gateway.core.generation import ConstraintKind
from gateway.core.stages import Outcome
from gateway.core.turn import (
    LogprobEntry,
    ServerToolRun,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    TurnEnd,
    TurnFinish,
    Usage,
)
from tests.edge.fakes import END, KEY, PAY, Site, Step

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

pytestmark = pytest.mark.flow

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
PAY_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "pay_bill",
        "parameters": {"type": "object", "properties": {"amount": {"type": "number"}}},
    },
}
CALLED = TurnEnd(TurnFinish.TOOL_CALLS, Usage(9, 4))
PAYING: tuple[Step, ...] = (
    PAY,
    ToolCallDelta(0, '{"amount"'),
    ToolCallDelta(0, ": 40}"),
    ToolCallDelta(1, "{}", "call_2", "get_balance"),
    CALLED,
)
SPOKEN: tuple[Step, ...] = (
    TextDelta("é", (LogprobEntry("é", "é".encode(), -0.25, (("e", b"e", -1.5),)),)),
    TextDelta("!", (LogprobEntry("!", b"!", -0.5),)),
    END,
)
SHED = SloUnattainable(
    estimate_s=0.9, budget_s=0.5, reason="estimate_over_budget", retry_after_s=2.0
)


def firsthop(answer: BaseModel) -> dict[str, Any]:
    found = (answer.model_extra or {}).get("firsthop")
    assert isinstance(found, dict)
    return found


def test_one_body(client: OpenAI, http_site: Site) -> None:
    answer = client.chat.completions.create(model="default", messages=HI)
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello wörld")
    assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
    assert (answer.object, answer.model) == ("chat.completion", "tiny")
    assert answer.system_fingerprint == "fp_0123456789ab"
    assert answer.usage is not None
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    record = http_site.records.next()
    assert answer.id == f"chatcmpl-{record.request_id}"
    assert (record.outcome, record.finish) == (Outcome.ANSWERED, "stop")
    assert record.ttft_s is not None


def test_the_final_word_of_a_body(client: OpenAI, http_site: Site) -> None:
    answer = client.chat.completions.create(
        model="default", messages=HI, extra_headers={"x-slo-ttft-ms": "750"}
    )
    word, record = firsthop(answer), http_site.records.next()
    stages = word.pop("stages")
    assert word == {
        "requested_model": "default",
        "request_id": record.request_id,
        "trace_id": word["trace_id"],
        "site": "edge-a",
        "path": ["edge-a"],
        "model": "tiny@0123456789ab",
        "class": "agent",
        "finish": "stop",
        "ttft_ms": word["ttft_ms"],
        "budget_ms": 750.0,
    }
    assert {"ingress", "prefill", "egress"} <= stages.keys()
    assert sum(stages.values()) == pytest.approx(word["ttft_ms"], abs=0.01)


def test_a_stream(client: OpenAI, http_site: Site) -> None:
    chunks = list(client.chat.completions.create(model="default", messages=HI, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello wörld"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert {(chunk.id, chunk.model, chunk.object) for chunk in chunks} == {
        (chunks[0].id, "tiny", "chat.completion.chunk")
    }
    assert all(chunk.usage is None for chunk in chunks)
    assert all("firsthop" not in (chunk.model_extra or {}) for chunk in chunks[:-1])
    word, record = firsthop(chunks[-1]), http_site.records.next()
    assert (word["finish"], word["site"], word["budget_ms"]) == ("stop", "edge-a", 2000.0)
    assert record.ttft_s is not None
    assert word["ttft_ms"] == pytest.approx(record.ttft_s * 1e3, abs=0.001)
    assert sum(word["stages"].values()) >= word["ttft_ms"] - 0.01


def test_usage_comes_last_when_asked_for(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="default", messages=HI, stream=True, stream_options={"include_usage": True}
        )
    )
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert all("usage" in chunk.model_fields_set for chunk in chunks)  # null, as at OpenAI
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 10
    assert firsthop(chunks[-1])["finish"] == "stop"


def test_headers_describe_the_turn(client: OpenAI, http_site: Site) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="default", messages=HI, stream=True, extra_headers={"x-request-id": "mine-1"}
    )
    headers = raw.headers
    assert raw.request_id == headers["x-request-id"] == "mine-1"
    assert headers["x-firsthop-site"] == headers["x-firsthop-path"] == "edge-a"
    assert headers["x-firsthop-model"] == "tiny@0123456789ab"
    assert "prefill;dur=" in headers["server-timing"]
    assert headers["content-type"].startswith("text/event-stream")
    assert len(list(raw.parse())) == 5
    assert http_site.records.next().request_id == "mine-1"


def test_the_async_client(http_site: Site) -> None:
    async def ask() -> tuple[str | None, str]:
        async with AsyncOpenAI(base_url=http_site.v1, api_key=KEY, max_retries=0) as client:
            whole = await client.chat.completions.create(model="default", messages=HI)
            stream = await client.chat.completions.create(model="default", messages=HI, stream=True)
            parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return whole.choices[0].message.content, "".join(parts)

    assert asyncio.run(ask()) == ("Hello wörld", "Hello wörld")


def test_tool_calls_in_one_body(client: OpenAI, http_site: Site) -> None:
    http_site.runner.script = PAYING
    answer = client.chat.completions.create(
        model="default", messages=HI, tools=[PAY_TOOL], tool_choice="required"
    )
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert message.tool_calls is not None
    assert [call.model_dump() for call in message.tool_calls] == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "pay_bill", "arguments": '{"amount": 40}'},
        },
        {
            "id": "call_2",
            "type": "function",
            "function": {"name": "get_balance", "arguments": "{}"},
        },
    ]
    assert http_site.runner.turns[0].tools[0].name == "pay_bill"


def test_tool_calls_in_a_stream(client: OpenAI, http_site: Site) -> None:
    http_site.runner.script = PAYING
    with client.chat.completions.stream(model="default", messages=HI, tools=[PAY_TOOL]) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("call_1", "pay_bill", '{"amount": 40}'),
        ("call_2", "get_balance", "{}"),
    ]
    assert http_site.records.next().ttft_s is not None


def test_server_tools_are_told_apart(client: OpenAI, http_site: Site) -> None:
    ran = ServerToolRun(ToolCall("s1", "get_balance", "{}"), '{"usd": 12}')
    http_site.runner.script = (ran, TextDelta("12 dollars"), END)
    asked = {"x-firsthop-tools": "server", "x-firsthop-class": "voice"}
    told = {"id": "s1", "name": "get_balance", "arguments": "{}", "result": '{"usd": 12}'}

    answer = client.chat.completions.create(model="default", messages=HI, extra_headers=asked)
    assert firsthop(answer)["tool_runs"] == [told]
    assert answer.choices[0].message.tool_calls is None
    chunks = list(
        client.chat.completions.create(
            model="default", messages=HI, stream=True, extra_headers=asked
        )
    )
    assert firsthop(chunks[1]) == {"tool_run": told}
    turn = http_site.runner.turns[0]
    assert turn.server_tools
    assert (turn.turn_class, turn.budget.first_token_s) == (TurnClass.VOICE, 0.5)
    assert turn.principal.tenant == "acme"


class Bill(BaseModel):
    amount: int


def test_json_schema_is_parsed_by_the_client(client: OpenAI, http_site: Site) -> None:
    http_site.runner.script = (TextDelta('{"amount":'), TextDelta(" 40}"), END)
    answer = client.chat.completions.parse(model="default", messages=HI, response_format=Bill)
    assert answer.choices[0].message.parsed == Bill(amount=40)
    constraint = http_site.runner.turns[0].constraint
    assert constraint is not None
    assert constraint.kind is ConstraintKind.JSON_SCHEMA
    assert json.loads(constraint.text)["properties"]["amount"]["type"] == "integer"


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs(client: OpenAI, http_site: Site, stream: bool) -> None:
    http_site.runner.script = SPOKEN
    asked: dict[str, Any] = {"model": "default", "messages": HI, "logprobs": True}
    if stream:
        chunks = list(client.chat.completions.create(**asked, stream=True))
        found = [
            token
            for chunk in chunks
            if chunk.choices[0].logprobs is not None
            for token in chunk.choices[0].logprobs.content or ()
        ]
    else:
        answer = client.chat.completions.create(**asked)
        assert answer.choices[0].logprobs is not None
        found = list(answer.choices[0].logprobs.content or ())
    assert [(token.token, token.logprob, token.bytes) for token in found] == [
        ("é", -0.25, [195, 169]),
        ("!", -0.5, [33]),
    ]
    assert [(top.token, top.logprob, top.bytes) for top in found[0].top_logprobs] == [
        ("e", -1.5, [101])
    ]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "raised", "code", "param"),
    [
        (UnknownModel("x", ("tiny",)), openai.NotFoundError, "model_not_found", "model"),
        (
            ContextLengthExceeded(limit_tokens=512, given_tokens=900),
            openai.BadRequestError,
            "context_length_exceeded",
            "messages",
        ),
        (UnsupportedTools("no"), openai.BadRequestError, "unsupported_tools", "tools"),
        (
            InvalidSchema("bad", param="response_format"),
            openai.BadRequestError,
            "invalid_schema",
            "response_format",
        ),
        (
            RateLimited(limit="requests per minute", allowed=1, retry_after_s=0.3),
            openai.RateLimitError,
            "rate_limit_exceeded",
            None,
        ),
        (SHED, openai.InternalServerError, "slo_unattainable", None),
        (SiteDraining(), openai.InternalServerError, "site_draining", None),
        (DeadlineExceeded(), openai.InternalServerError, "deadline_exceeded", None),
        (EngineFault("nan"), openai.InternalServerError, "engine_error", None),
        (EngineUnavailable("gone"), openai.InternalServerError, "engine_unavailable", None),
    ],
)
def test_refusals_raise_the_clients_own_errors(
    client: OpenAI,
    http_site: Site,
    stream: bool,
    error: GatewayError,
    raised: type[openai.APIStatusError],
    code: str,
    param: str | None,
) -> None:
    http_site.runner.script = (error,)
    with pytest.raises(raised, match=re.escape(error.message)) as caught:
        client.chat.completions.create(model="default", messages=HI, stream=stream)
    assert (caught.value.code, caught.value.param) == (code, param)
    record = http_site.records.next()
    assert record.error == code
    assert caught.value.request_id == record.request_id


def test_a_shed_turn_names_its_figures(client: OpenAI, http_site: Site) -> None:
    http_site.runner.script = (SHED,)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="default", messages=HI, stream=True)
    assert caught.value.status_code == 503
    assert caught.value.body == {
        "message": SHED.message,
        "type": "overloaded_error",
        "param": None,
        "code": "slo_unattainable",
        "reason": "estimate_over_budget",
        "estimate_ms": 900.0,
        "budget_ms": 500.0,
    }
    headers = caught.value.response.headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "2000")
    assert "x-should-retry" not in headers
    assert "ingress;dur=" in headers["server-timing"]
    assert http_site.records.next().outcome is Outcome.SHED


@pytest.mark.parametrize(
    ("error", "num_tries"),
    [
        (EngineUnavailable("gone"), 2),
        (SiteDraining(), 1),
        (EngineFault("nan"), 1),
        (
            SloUnattainable(
                estimate_s=9, budget_s=1, reason="queue_full", retry_after_s=float("inf")
            ),
            1,
        ),
    ],
)
def test_the_client_retries_only_what_a_retry_can_help(
    client: OpenAI, http_site: Site, error: GatewayError, num_tries: int
) -> None:
    http_site.runner.script = (error,)
    with pytest.raises(openai.InternalServerError):
        client.with_options(max_retries=1).chat.completions.create(model="default", messages=HI)
    assert len(http_site.runner.turns) == num_tries


def test_a_stream_that_fails_on_its_way(client: OpenAI, http_site: Site) -> None:
    http_site.runner.script = (TextDelta("Hel"), EngineFault("the engine lost this request"))
    stream = client.chat.completions.create(model="default", messages=HI, stream=True)
    received: list[str] = []
    with pytest.raises(openai.APIError, match="lost this request") as caught:
        received.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert caught.value.code == "engine_error"
    assert http_site.records.next().outcome is Outcome.FAILED


def test_an_unforeseen_fault_is_an_internal_error(
    client: OpenAI, http_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    http_site.runner.script = (ZeroDivisionError("secret detail"),)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="default", messages=HI)
    assert caught.value.code == "internal_error"
    assert "secret" not in caught.value.message
    assert "ZeroDivisionError" in caplog.text
    assert http_site.records.next().outcome is Outcome.FAILED
