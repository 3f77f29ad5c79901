"""The real clients against a whole site."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import grpc
import openai
import pytest

from gateway.wire.pb import agent_pb2 as pb
from gateway.wire.pb.agent_pb2_grpc import AgentServiceStub
from loadtests.local_site import ROOT, firsthop
from tests.requirements import require

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.local_site import SiteProcess

NODE = ROOT / "tests" / "clients" / "node"
SAID = "Good morning — is the line up? ✓"


def openai_client(site: SiteProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{site.http}/v1", api_key="none", max_retries=0)


def test_openai_streams_an_answer(echo_site: SiteProcess) -> None:
    with openai_client(echo_site) as client:
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": SAID}],
            stream=True,
            stream_options={"include_usage": True},
            temperature=0,
        )
        chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == SAID
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(SAID.encode())


def test_the_last_word_agrees_with_the_kept_record(echo_site: SiteProcess) -> None:
    with openai_client(echo_site) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="default", messages=[{"role": "user", "content": "record"}], temperature=0
        )
    summary = json.loads(raw.content)["firsthop"]
    record = echo_site.admin_json(f"/v1/requests/{raw.headers['x-request-id']}")
    assert record["model"] == summary["model"] == raw.headers["x-firsthop-model"]
    assert record["path"] == summary["path"] == ["edge-a"]
    assert record["trace_id"] == summary["trace_id"] == raw.headers["traceresponse"].split("-")[1]
    to_first = [s for s in record["stages"] if s["offset_ms"] < record["ttft_ms"]]
    assert sum(s["duration_ms"] for s in to_first) == pytest.approx(record["ttft_ms"], abs=0.1)
    total_ms = sum(s["duration_ms"] for s in record["stages"])
    assert total_ms == pytest.approx(record["duration_ms"], abs=0.1)


def test_json_schema_is_followed_whatever_the_model_would_say(echo_site: SiteProcess) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer"}},
        "required": ["ok", "n"],
        "additionalProperties": False,
    }
    with openai_client(echo_site) as client:
        answer = client.chat.completions.create(
            model="default",
            messages=[{"role": "user", "content": "anything"}],
            max_tokens=200,
            seed=3,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "r", "schema": schema, "strict": True},
            },
        )
    if answer.choices[0].finish_reason == "stop":
        value = json.loads(answer.choices[0].message.content or "")
        assert isinstance(value["ok"], bool)
        assert isinstance(value["n"], int)
    else:  # an integer may grow until the tokens are used up
        assert (answer.choices[0].message.content or "").startswith("{")


def test_the_generated_client_streams_an_answer(echo_site: SiteProcess) -> None:
    async def generate() -> list[pb.GenerateEvent]:
        async with grpc.aio.insecure_channel(echo_site.grpc) as channel:
            request = pb.GenerateRequest(
                messages=[pb.Message(role=pb.ROLE_USER, content=SAID)],
                sampling=pb.Sampling(temperature=0),
            )
            return [event async for event in AgentServiceStub(channel).Generate(request)]

    events = asyncio.run(generate())
    assert "".join(e.text_delta.text for e in events) == SAID
    assert events[-1].summary.finish == pb.FINISH_REASON_STOP
    assert events[-1].summary.site == "edge-a"


def test_the_openai_client_in_node(echo_site: SiteProcess) -> None:
    present = shutil.which("node") is not None and (NODE / "node_modules" / "openai").is_dir()
    require("node", present, "install Node and run `npm ci` in tests/clients/node")
    done = subprocess.run(
        ["node", str(NODE / "chat.mjs"), f"{echo_site.http}/v1", "answers"],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    told = json.loads(done.stdout)
    streamed = [c["delta"].get("content", "") for k in told["chunks"] for c in k["choices"]]
    assert told["whole"]["choices"][0]["message"]["content"] == "".join(streamed) == "hi"


def test_explain_draws_the_turn(echo_site: SiteProcess, tmp_path: Path) -> None:
    with openai_client(echo_site) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="default", messages=[{"role": "user", "content": "explain me"}], temperature=0
        )
    request_id = raw.headers["x-request-id"]
    done = firsthop("explain", request_id, "--site", echo_site.admin, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in (request_id, "prefill", "edge-a", "fits"):
        assert word in done.stdout


def test_metrics_count_the_turn(echo_site: SiteProcess) -> None:
    with urllib.request.urlopen(f"{echo_site.admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert "gen_ai_server_time_to_first_token_seconds_bucket" in text
    assert 'le="0.5"' in text
