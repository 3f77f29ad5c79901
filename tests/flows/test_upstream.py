"""Sites whose core tier, or whose model, is another server: here a second site, which is one."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from gateway.session import phrases
from loadtests.local_site import SiteProcess, running_site, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OUTSIDE = "how long should I roast a chicken for?"
"""The assistant's model hands this over."""


def client_of(site: SiteProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{site.http}/v1", api_key="none", max_retries=0)


def ask(
    site: SiteProcess, text: str, *, model: str = "default", **more: Any
) -> tuple[str, dict[str, Any]]:
    """The answer's text, and what it says of itself."""
    answer = client_of(site).chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], temperature=0, **more
    )
    return answer.choices[0].message.content or "", (answer.model_extra or {})["firsthop"]


@pytest.fixture(scope="module")
def core(echo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    """A core site whose model repeats what it is told."""
    cwd = tmp_path_factory.mktemp("core")
    with running_site(cwd, "--model", str(echo_bundle), FIRSTHOP_SITE_ID="core-b") as site:
        yield site


@pytest.fixture(scope="module")
def edge(core: SiteProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    """A site with the assistant; two lines of configuration connect the core."""
    with running_site(
        tmp_path_factory.mktemp("edge"),
        FIRSTHOP_CORE_URL=f"{core.http}/v1",
        FIRSTHOP_CORE_MODEL="tiny",
    ) as site:
        yield site


def test_the_assistant_hands_over_what_is_beyond_it(edge: SiteProcess, core: SiteProcess) -> None:
    text, told = ask(edge, OUTSIDE)
    assert text == OUTSIDE
    assert told["escalation"] == "assistant"
    assert (told["site"], told["path"]) == ("core-b", ["edge-a", "core-b"])
    assert told["requested_model"] == "default"
    assert told["model"].startswith("tiny@")
    record = edge.admin_json(f"/v1/requests/{told['request_id']}")
    assert record["escalation"] == "assistant"
    assert [one["chosen"] for one in record["decisions"]] == ["edge-a", "core"]
    assert core.admin_json(f"/v1/requests/{told['request_id']}")["path"] == ["edge-a", "core-b"]


def test_what_the_assistant_can_do_stays(edge: SiteProcess) -> None:
    _, told = ask(edge, "What is my current bill?", extra_headers={"x-firsthop-tools": "server"})
    assert "escalation" not in told
    assert told["path"] == ["edge-a"]


def test_the_cores_model_is_served_by_its_name(edge: SiteProcess) -> None:
    client = client_of(edge)
    assert [model.id for model in client.models.list()][1] == "tiny"
    response = client.chat.completions.with_raw_response.create(
        model="tiny",
        messages=[{"role": "user", "content": "hello there"}],
        stream=True,
        stream_options={"include_usage": True},
        logprobs=True,
        top_logprobs=2,
    )
    assert response.headers["x-firsthop-escalation"] == "model_requested"
    assert response.headers["x-firsthop-path"] == "edge-a,core-b"
    with response.parse() as stream:
        chunks = list(stream)
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(one.delta.content or "" for one in deltas) == "hello there"
    entries = [entry for one in deltas if one.logprobs for entry in one.logprobs.content or ()]
    assert "".join(entry.token for entry in entries) == "hello there"
    assert all(len(entry.top_logprobs) == 2 for entry in entries)
    assert deltas[-1].finish_reason == "stop"
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens >= len("hello there")
    told = (chunks[-1].model_extra or {})["firsthop"]
    assert (told["escalation"], told["requested_model"]) == ("model_requested", "tiny")


def test_a_client_that_leaves_frees_the_cores_slot(edge: SiteProcess, core: SiteProcess) -> None:
    stream = client_of(edge).chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "on and on..."}], stream=True
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    assert core.admin_json("/v1/site")["engine"]["num_active"] == 1
    stream.close()
    core.wait_idle()
    edge.wait_idle()


def test_a_core_that_is_gone_is_one_honest_sentence_or_a_typed_error(
    echo_bundle: Path, tmp_path: Path
) -> None:
    with (
        running_site(tmp_path / "core", "--model", str(echo_bundle)) as core,
        running_site(
            tmp_path / "edge",
            FIRSTHOP_CORE_URL=f"{core.http}/v1",
            FIRSTHOP_CORE_MODEL="tiny",
        ) as edge,
    ):
        assert ask(edge, OUTSIDE)[0] == OUTSIDE
        assert core.end(signal.SIGTERM) == 0
        text, told = ask(edge, OUTSIDE)
        assert text == phrases.CORE_FAILED
        assert told["escalation_error"] == "upstream_unavailable"
        assert told["model"].startswith("subscriber-care@")
        with pytest.raises(openai.InternalServerError) as caught:
            ask(edge, "hello", model="tiny")
        assert caught.value.code == "upstream_unavailable"
        assert caught.value.status_code == 503


def test_without_a_core_the_answer_says_so(tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        assert "FIRSTHOP_CORE_URL" in site.log.read_text()
        text, told = ask(site, OUTSIDE)
    assert text == phrases.NO_CORE_MODEL
    assert (told["escalation"], told["escalation_error"]) == ("assistant", "no_core_model")


def test_a_site_may_have_another_servers_model_for_its_own(
    core: SiteProcess, tmp_path: Path
) -> None:
    with running_site(
        tmp_path,
        FIRSTHOP_UPSTREAM_URL=f"{core.http}/v1",
        FIRSTHOP_UPSTREAM_MODEL="tiny",
        FIRSTHOP_SITE_ID="front",
    ) as front:
        text, told = ask(front, "hello there", model="gpt-4o-mini")
        assert text == "hello there"
        assert (told["requested_model"], told["path"][0]) == ("gpt-4o-mini", "front")
        assert "escalation" not in told
        wait_until(
            lambda: front.admin_json("/v1/site")["engine"]["answer_tokens"] > 0, "it was measured"
        )
        seeded: dict[str, Any] = {"seed": 7, "max_tokens": 12}
        assert ask(front, "a...", **seeded)[0] == ask(core, "a...", **seeded)[0]
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            ask(front, "hello", max_tokens=1 << 20)
