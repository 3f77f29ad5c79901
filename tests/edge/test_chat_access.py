"""Who may ask, and what is asked in headers, with the unmodified openai client for Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest
from openai import OpenAI

from gateway.core.stages import Outcome
from tests.edge.fakes import KEY, Site

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

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
    assert http_site.records.next().outcome is Outcome.REJECTED
    with OpenAI(base_url=http_site.v1, api_key=KEY, max_retries=0) as known:
        assert known.chat.completions.create(model="default", messages=HI).choices


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-slo-ttft-ms", "-5"),
        ("x-slo-ttft-ms", "nan"),
        ("x-slo-ttft-ms", "soon"),
        ("x-slo-ttft-ms", "1e9"),
        ("x-firsthop-class", "vip"),
        ("x-firsthop-tools", "all"),
        ("x-request-id", "two words"),
    ],
)
def test_headers_that_cannot_be_meant(
    client: OpenAI, http_site: Site, header: str, value: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="default", messages=HI, extra_headers={header: value})
    assert caught.value.param == header
    assert http_site.runner.turns == []


def test_a_class_the_key_lacks(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(
            model="default", messages=HI, extra_headers={"x-firsthop-class": "batch"}
        )
    assert caught.value.code == "class_not_allowed"


def test_a_draining_site_takes_nothing_new(client: OpenAI, http_site: Site) -> None:
    http_site.desk.draining = True
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="default", messages=HI)
    assert caught.value.code == "site_draining"
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_models(client: OpenAI) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["tiny"]
    facts = firsthop(listed[0])
    assert facts["max_context_tokens"] == 512
    for name in ("tiny", "default", "gpt-4o-mini"):
        assert client.models.retrieve(name).id == "tiny"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("acme/other")
    assert caught.value.code == "model_not_found"
    assert "tiny" in caught.value.message
