"""A site is driven unchanged by load generators of others: what they send, and what they count.

GuideLLM and vLLM bring gigabytes of other libraries, so none of the tools is installed for tests.
The client here sends what they send and reads what they read (docs/benchmarks/outside_tools.md).
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from loadtests.local_site import running_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtests.local_site import SiteProcess

_OUTPUT_TOKENS = 6
_BODIES = {
    "vllm bench serve --backend openai-chat": {
        "model": "default",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "what is my bill"}]}],
        "max_completion_tokens": _OUTPUT_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
    },
    "guidellm run --backend kind=openai_http": {
        "model": "default",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "what is my bill"}]}],
        "max_completion_tokens": _OUTPUT_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "ignore_eos": True,
        "stop": None,
    },
    "aiperf profile --endpoint-type chat --streaming": {
        "model": "default",
        "messages": [{"role": "user", "content": "what is my bill"}],
        "max_completion_tokens": _OUTPUT_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    folder = tmp_path_factory.mktemp("site")
    with running_site(folder, "--accelerator", "emulated:edge-accelerator") as running:
        yield running


def test_the_model_is_found_where_tools_look(site: SiteProcess) -> None:
    (model,) = httpx.get(f"{site.http}/v1/models", timeout=60).json()["data"]
    assert model["id"]
    assert httpx.get(f"{site.http}/health", timeout=60).status_code in {200, 404}


@pytest.mark.parametrize("tool", _BODIES)
def test_a_tool_s_request_is_streamed_timed_and_counted(site: SiteProcess, tool: str) -> None:
    began_s = time.monotonic()
    arrived_s: list[float] = []
    usage: dict[str, Any] | None = None
    headers = {"authorization": "Bearer none"}
    with httpx.stream(
        "POST", f"{site.http}/v1/chat/completions", json=_BODIES[tool], headers=headers, timeout=90
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if not line or line == "data: [DONE]":
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if chunk["choices"]:  # the tools take the first of these for the first token
                arrived_s.append(time.monotonic())
            else:  # where vLLM's looks for the counts
                usage = chunk.get("usage") or usage
    assert usage is not None
    assert usage["completion_tokens"] == _OUTPUT_TOKENS
    assert arrived_s
    assert 0.0 < arrived_s[0] - began_s < 30.0
