"""What the HTTP port knows of escalation: turns from another site, words while waiting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from gateway.core.turn import TextDelta, name_and_digest
from tests.edge.fakes import END, Until

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

    from tests.edge.fakes import Site

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
ACKNOWLEDGED = (TextDelta("One moment. ", is_acknowledgement=True), TextDelta("42"), END)


def told(answer: Any) -> dict[str, Any]:
    word: dict[str, Any] = answer.model_extra["firsthop"]
    return word


def test_the_sites_that_escalated_a_turn_are_on_its_path(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o-mini", messages=HI, extra_headers={"x-firsthop-path": "edge-x,hub"}
    )
    assert told(answer)["path"] == ["edge-x", "hub", "edge-a"]
    assert told(answer)["requested_model"] == "gpt-4o-mini"


@pytest.mark.parametrize("path", ["", "a,", "A", "a b", ",".join("abcdefghi")])
def test_a_path_that_is_none_is_refused(client: OpenAI, path: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="default", messages=HI, extra_headers={"x-firsthop-path": path}
        )
    assert caught.value.param == "x-firsthop-path"


def test_words_while_waiting_are_heard_and_are_no_content(client: OpenAI, http_site: Site) -> None:
    answered = Until()
    acknowledgement, content, end = ACKNOWLEDGED
    http_site.runner.script = (acknowledgement, answered, content, end)
    with client.chat.completions.create(model="default", messages=HI, stream=True) as stream:
        heard: list[str] = []
        let_on_s = 0.0
        for chunk in stream:
            heard += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            if heard and not answered.event.is_set():
                let_on_s = time.monotonic()
                answered.event.set()
    assert heard == ["One moment. ", "42"]
    record = http_site.records.next()
    assert record.ttft_s is not None
    assert record.started_s + record.ttft_s > let_on_s > 0.0


def test_a_whole_body_holds_no_words_of_waiting(client: OpenAI, http_site: Site) -> None:
    http_site.runner.script = ACKNOWLEDGED
    answer = client.chat.completions.create(model="default", messages=HI)
    assert answer.choices[0].message.content == "42"


def test_a_full_name_is_taken_apart() -> None:
    assert name_and_digest("care@abababababab") == ("care", "abababababab")
    assert name_and_digest("@lab/big") == ("@lab/big", "")
    assert name_and_digest("big") == ("big", "")
