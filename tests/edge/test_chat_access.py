"""Who may ask, and what is asked in headers, with the unmodified openai client for Python."""

from __future__ import annotations

import gzip
import http.client
import json
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from openai import OpenAI

from gateway.core.errors import SiteDraining
from gateway.core.stages import Outcome
from gateway.telemetry.trace_context import TurnTrace
from tests.edge.fakes import KEY, WAIT_S, Site

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

    from gateway.core.stages import TurnRecord

pytestmark = pytest.mark.flow

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


def firsthop(model: openai.types.Model) -> dict[str, object]:
    """What the gateway adds to a model's entry."""
    facts: dict[str, object] = (model.model_extra or {})["firsthop"]
    return facts


def test_keys(http_site: Site) -> None:
    http_site.gate.keys_needed = True
    with OpenAI(base_url=http_site.v1, api_key="wrong", max_retries=0) as stranger:
        for call in (stranger.models.list, lambda: stranger.models.retrieve("tiny")):
            with pytest.raises(openai.AuthenticationError):
                call()
        with pytest.raises(openai.AuthenticationError) as caught:
            stranger.chat.completions.create(model="default", messages=HI)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["www-authenticate"] == "Bearer"
    with OpenAI(base_url=http_site.v1, api_key=KEY, max_retries=0) as known:
        assert known.chat.completions.create(model="default", messages=HI).choices
    # The stranger left no record.
    assert http_site.records.next().outcome is Outcome.ANSWERED


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-slo-ttft-ms", "-5"),
        ("x-slo-ttft-ms", "nan"),
        ("x-slo-ttft-ms", "soon"),
        ("x-slo-ttft-ms", "1e9"),
        ("x-slo-ttft-ms", "1e3"),
        ("x-slo-ttft-ms", "1_000"),
        ("x-slo-ttft-ms", "+5"),
        ("x-firsthop-class", "vip"),
        ("x-firsthop-tools", "all"),
        ("x-request-id", "two words"),
        ("x-firsthop-residency", ","),
    ],
)
def test_headers_that_cannot_be_meant(
    client: OpenAI, http_site: Site, header: str, value: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="default", messages=HI, extra_headers={header: value})
    assert caught.value.param == header
    assert caught.value.response.headers["x-request-id"] not in ("", value)
    assert http_site.runner.turns == []


@pytest.mark.parametrize(
    "name", ["authorization", "x-request-id", "x-slo-ttft-ms", "X-Firsthop-Class", "traceparent"]
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/chat/completions"), ("GET", "/v1/models")]
)
def test_a_header_that_decides_is_given_once(
    http_site: Site, method: str, path: str, name: str
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", http_site.port, timeout=WAIT_S)
    connection.putrequest(method, path)
    for header, value in ((name, "1"), (name.lower(), "1"), ("content-length", "0")):
        connection.putheader(header, value)
    connection.endheaders()
    response = connection.getresponse()
    error = json.loads(response.read())["error"]
    connection.close()
    assert (response.status, error["param"]) == (400, name.lower())


def test_a_compressed_body_is_refused_as_such(http_site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", http_site.port, timeout=WAIT_S)
    body = gzip.compress(b'{"messages": [{"role": "user", "content": "hi"}]}')
    connection.request("POST", "/v1/chat/completions", body, {"content-encoding": "gzip"})
    response = connection.getresponse()
    error = json.loads(response.read())["error"]
    connection.close()
    assert (response.status, error["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_what_is_declared_as_no_json_is_refused(http_site: Site, media_type: str) -> None:
    answer = httpx.post(
        f"{http_site.v1}/chat/completions",
        content=b'{"messages": [{"role": "user", "content": "hi"}]}',
        headers={"content-type": media_type},
    )
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"
    assert http_site.runner.turns == []


def test_a_class_the_key_lacks(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(
            model="default", messages=HI, extra_headers={"x-firsthop-class": "batch"}
        )
    assert caught.value.code == "class_not_allowed"


@pytest.mark.parametrize("allowed", ["eu-north", "us-east, eu-north"])
def test_a_site_in_an_allowed_region_answers(client: OpenAI, allowed: str) -> None:
    headers = {"x-firsthop-residency": allowed}
    answer = client.chat.completions.create(model="default", messages=HI, extra_headers=headers)
    assert answer.choices


@pytest.mark.parametrize("allowed", ["eu", "us-east,eu-north-1", "EU-NORTH"])
def test_a_site_outside_the_allowed_regions_does_not_answer(
    client: OpenAI, http_site: Site, allowed: str
) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(
            model="default", messages=HI, extra_headers={"x-firsthop-residency": allowed}
        )
    assert caught.value.code == "region_not_allowed"
    assert caught.value.param == "x-firsthop-residency"
    assert "this site stands in 'eu-north'" in caught.value.message
    assert http_site.runner.turns == []
    assert http_site.records.next().outcome is Outcome.REJECTED


def test_a_site_that_does_not_say_where_it_stands_is_in_no_region(
    client: OpenAI, http_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_site.desk, "region", "")
    with pytest.raises(openai.PermissionDeniedError, match="does not say where it stands"):
        client.chat.completions.create(
            model="default", messages=HI, extra_headers={"x-firsthop-residency": "eu-north"}
        )


def test_a_draining_site_takes_nothing_new(client: OpenAI, http_site: Site) -> None:
    http_site.desk.draining = True
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="default", messages=HI)
    assert caught.value.code == "site_draining"
    assert caught.value.response.headers["x-should-retry"] == "false"


def trace_of(record: TurnRecord) -> TurnTrace:
    return TurnTrace.of(record.request_id, record.started_s, record.traceparent)


@pytest.mark.parametrize("script", [None, (SiteDraining(),)], ids=["answered", "refused"])
def test_the_response_names_the_turns_span_in_the_callers_trace(
    http_site: Site, script: Any
) -> None:
    if script is not None:
        http_site.runner.script = script
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = httpx.post(
        f"{http_site.v1}/chat/completions",
        json={"messages": HI},
        headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )
    root = trace_of(http_site.records.next()).root
    assert answer.headers["traceresponse"] == f"00-{trace_id}-{root.span_id:016x}-01"
    if script is None:
        assert answer.json()["firsthop"]["trace_id"] == trace_id


def test_models(client: OpenAI) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["tiny"]
    facts = firsthop(listed[0])
    assert facts["max_context_tokens"] == 512
    for name in ("tiny", "default", "tiny@0123456789ab", "gpt-4o-mini", "lab[1]"):
        assert client.models.retrieve(name).id == "tiny"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("acme/other")
    assert caught.value.code == "model_not_found"
    assert caught.value.message.endswith("served: tiny, gpt-4o*, lab[1]")
