"""Sessions that only hear: by query, in a call's form, by a client secret."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from openai.types.realtime import RealtimeServerEvent
from openai.types.realtime.client_secret_create_response import ClientSecretCreateResponse
from pydantic import TypeAdapter

from gateway.core.speech_errors import SpeechLost
from gateway.media.frames import LaneFormat
from tests.edge.fakes import KEY
from tests.edge.realtime.dialler import dial, kinds
from tests.edge.realtime.test_calls import OFFER, until
from tests.edge.realtime.test_speech import VAD, speak

if TYPE_CHECKING:
    from tests.edge.fakes import Site
    from tests.edge.realtime.fake_voice import FakeVoices

INTENT = "intent=transcription"
HEARING = {"type": "transcription", "audio": {"input": {"turn_detection": VAD}}}
BEARER = {"authorization": f"Bearer {KEY}"}
_server_event: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def test_what_is_said_is_told_and_not_answered(voice_site: Site, voices: FakeVoices) -> None:
    voices.engines.heard = ["how much do i owe", SpeechLost("gone"), "and when"]

    async def talk() -> None:
        async with dial(voice_site, INTENT) as session:
            await session.send("session.update", session=HEARING)
            told = (await session.the("session.updated"))["session"]
            assert told["object"] == "realtime.transcription_session"
            assert told["firsthop"]["recogniser"]["name"] == "fake"
            assert set(told["audio"]) == {"input"}
            await speak(session)
            events = await session.until("conversation.item.done")
            order = [
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.input_audio_transcription.completed",
                "conversation.item.done",
            ]
            assert [kind for kind in kinds(events) if not kind.endswith("delta")] == order
            assert events[-2]["transcript"] == "how much do i owe"
            await speak(session)
            await session.the("conversation.item.input_audio_transcription.failed")
            await speak(session)
            done = "conversation.item.input_audio_transcription.completed"
            events = await session.until(done)
            assert events[-1]["transcript"] == "and when"
            assert not [kind for kind in kinds(events) if kind.startswith("response.")]

    asyncio.run(talk())
    assert not voice_site.runner.turns
    assert not voices.engines.spoken


def test_turns_are_ended_by_the_client_where_it_says_so(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.engines.heard = ["hello"]
    manual = {"audio": {"input": {"turn_detection": None, "format": {"type": "audio/pcmu"}}}}

    async def talk() -> None:
        async with dial(voice_site, INTENT) as session:
            await session.send("session.update", session=manual)
            await speak(session)
            await session.send("input_audio_buffer.commit")
            done = await session.the("conversation.item.input_audio_transcription.completed")
            assert done["transcript"] == "hello"

    asyncio.run(talk())
    assert voices.fake_lines.formats == [LaneFormat.PCMU]


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "response.create"}, "type"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        ({"type": "session.update", "session": {"instructions": "x"}}, "session.instructions"),
        ({"type": "session.update", "session": {"tools": []}}, "session.tools"),
    ],
)
def test_what_makes_answers_is_refused_by_name(
    voice_site: Site, event: dict[str, Any], param: str
) -> None:
    async def talk() -> None:
        async with dial(voice_site, INTENT) as session:
            await session.socket.send(json.dumps(event))
            assert (await session.error())["param"] == param

    asyncio.run(talk())


def test_probabilities_of_words_are_told_not_to_be_had(voice_site: Site) -> None:
    async def talk() -> None:
        async with dial(voice_site, INTENT) as session:
            include = ["item.input_audio_transcription.logprobs"]
            await session.send("session.update", session={"include": include})
            told = (await session.the("session.updated"))["session"]
            assert [wish["param"] for wish in told["firsthop"]["unserved"]] == ["session.include"]

    asyncio.run(talk())


def test_a_call_may_only_be_heard(voice_site: Site, voices: FakeVoices) -> None:
    voices.engines.heard = ["hello"]
    form = {
        "sdp": (None, OFFER, "application/sdp"),
        "session": (None, json.dumps(HEARING), "application/json"),
    }
    params = {"notice": "true"}
    url = f"{voice_site.v1}/realtime/calls"
    assert httpx.post(url, files=form, headers=BEARER, params=params).status_code == 201
    worker = voices.fake_lines.workers[0]
    until(worker, "conversation.created")
    voice_site.loop.result().call_soon_threadsafe(worker.hear, 20, 1.0)
    voice_site.loop.result().call_soon_threadsafe(worker.hear, 20, 0.0)
    done = until(worker, "conversation.item.input_audio_transcription.completed")
    assert done["transcript"] == "hello"
    for text in worker.written:
        _server_event.validate_json(text)
    assert not voices.engines.spoken


def test_a_secret_may_be_for_hearing_only(voice_site: Site) -> None:
    made = httpx.post(
        f"{voice_site.v1}/realtime/client_secrets", json={"session": HEARING}, headers=BEARER
    )
    assert made.status_code == 200
    secret = ClientSecretCreateResponse.model_validate(made.json())
    assert secret.session.type == "transcription"

    async def talk() -> None:
        bearer = {"authorization": f"Bearer {secret.value}"}
        async with dial(voice_site, "model=gpt-4o-transcribe", **bearer) as session:
            await session.send("session.update", session={})
            told = (await session.the("session.updated"))["session"]
            assert told["type"] == "transcription"

    asyncio.run(talk())


def test_a_site_without_a_voice_hears_nobody(http_site: Site) -> None:
    refused = httpx.post(
        f"{http_site.v1}/realtime/client_secrets", json={"session": HEARING}, headers=BEARER
    )
    assert refused.status_code == 501
    assert refused.json()["error"]["param"] == "session.type"
