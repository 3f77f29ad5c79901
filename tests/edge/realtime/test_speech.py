"""Sessions in speech over WebSocket: turns, transcripts, sound, barge-in, truncation."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from gateway.core.budget import TurnClass
from gateway.core.errors import EngineUnavailable, SloUnattainable
from gateway.core.stages import Stage
from gateway.core.turn import TextDelta
from gateway.media.frames import LaneFormat
from gateway.session import phrases
from tests.edge.fakes import END, Hold
from tests.edge.realtime.dialler import Session, dial, kinds
from tests.edge.realtime.fake_voice import SILENCE, SPEECH

if TYPE_CHECKING:
    from tests.edge.fakes import Site
    from tests.edge.realtime.fake_voice import FakeVoices

_RATE = 24_000
VAD = {"type": "server_vad", "silence_duration_ms": 200}
AUDIO = {"input": {"turn_detection": VAD, "transcription": {"model": "default"}}}
MANUAL = {"input": {"turn_detection": None, "transcription": {"model": "default"}}}


async def configured(session: Session, audio: dict[str, Any], **more: Any) -> None:
    await session.send("session.update", session={"type": "realtime", "audio": audio, **more})
    await session.the("session.updated")


async def sound(session: Session, sample: bytes, seconds: float) -> None:
    """The caller's next sound, in pieces of 40 ms."""
    piece = base64.b64encode(sample * (_RATE // 25)).decode()
    for _ in range(round(seconds * 25)):
        await session.send("input_audio_buffer.append", audio=piece)


async def speak(session: Session) -> None:
    await sound(session, SPEECH, 0.6)
    await sound(session, SILENCE, 0.5)


def test_what_is_said_is_heard_answered_and_spoken(voice_site: Site, voices: FakeVoices) -> None:
    voices.engines.heard = ["how much do i owe"]

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await speak(session)
            events = await session.until("response.done")
            told = kinds(events)
            order = [
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.input_audio_transcription.completed",
                "conversation.item.done",
                "response.created",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_audio_transcript.delta",
                "response.output_audio.delta",
                "response.output_audio.done",
                "response.output_audio_transcript.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.done",
            ]
            assert [told.index(kind) for kind in order] == sorted(
                told.index(kind) for kind in order
            )
            completed = events[told.index(order[4])]
            assert completed["transcript"] == "how much do i owe"
            deltas = [e["delta"] for e in events if e["type"].endswith("transcription.delta")]
            assert "".join(deltas) == "how much do i owe"
            item_ids = {e["item_id"] for e in events[: told.index(order[5])] if "item_id" in e}
            assert len(item_ids) == 1
            assert "output_audio_buffer.started" not in told  # that is for calls
            done = events[-1]["response"]
            assert done["output"][0]["content"] == [
                {"type": "output_audio", "transcript": "Hello wörld"}
            ]

    asyncio.run(talk())
    record = voice_site.records.next()
    assert record.turn_class is TurnClass.VOICE
    assert {Stage.ENDPOINT, Stage.ASR, Stage.TTS} <= {span.stage for span in record.spans}
    assert record.ttft_s is not None
    assert voices.engines.spoken == ["Hello wörld"]


def test_the_client_commits_and_asks_in_one_breath(voice_site: Site, voices: FakeVoices) -> None:
    voices.engines.heard = ["pay my bill"]

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, MANUAL)
            await sound(session, SPEECH, 0.6)
            await session.send("input_audio_buffer.commit")
            await session.send("response.create")
            await session.the("response.done")

    asyncio.run(talk())
    assert [m.content for m in voice_site.runner.turns[-1].messages] == ["pay my bill"]


def test_a_commit_of_nothing_and_a_cleared_turn(voice_site: Site, voices: FakeVoices) -> None:
    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, MANUAL)
            await session.send("input_audio_buffer.commit", event_id="empty")
            error = await session.error()
            assert (error["code"], error["event_id"]) == (
                "input_audio_buffer_commit_empty",
                "empty",
            )
            await sound(session, SPEECH, 0.4)
            await session.send("input_audio_buffer.clear")
            await session.the("input_audio_buffer.cleared")
            await session.send("input_audio_buffer.commit")
            assert (await session.error())["code"] == "input_audio_buffer_commit_empty"

    asyncio.run(talk())


def test_barge_in_cancels_the_response_and_keeps_what_was_heard(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.engines.heard = ["tell me a story", "no stop", "no stop"]
    voices.fake_lines.plays = False
    story = "Once upon a time, there was a fox. It was red. "
    voice_site.runner.script = (TextDelta(story), Hold())

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await speak(session)
            await session.the("response.output_audio.delta")
            await sound(session, SPEECH, 1.0)
            done = (await session.the("response.done"))["response"]
            assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
            assert done["output"][0]["status"] == "incomplete"
            item_id = done["output"][0]["id"]
            await session.send("conversation.item.retrieve", item_id=item_id)
            held = (await session.the("conversation.item.retrieved"))["item"]
            heard = held["content"][0]["transcript"]
            assert heard != ""
            assert story.startswith(heard.strip())
            assert len(heard) < 30
            await session.send(
                "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=90
            )
            assert (await session.the("conversation.item.truncated"))["audio_end_ms"] == 90

    asyncio.run(talk())


def test_the_client_truncates_what_it_has_not_played(voice_site: Site, voices: FakeVoices) -> None:
    voice_site.runner.script = (TextDelta("One two three four. "), END)

    async def talk() -> None:
        async with dial(voice_site) as session:
            await session.write("count")
            await session.send("response.create")
            done = (await session.the("response.done"))["response"]
            item_id = done["output"][0]["id"]
            await session.send(
                "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100
            )
            await session.the("conversation.item.truncated")
            await session.send("conversation.item.retrieve", item_id=item_id)
            held = (await session.the("conversation.item.retrieved"))["item"]
            assert held["content"][0]["transcript"].strip() in ("One two", "One two three")

    asyncio.run(talk())


def test_sound_is_written_as_the_session_is_set(voice_site: Site, voices: FakeVoices) -> None:
    async def talk() -> None:
        async with dial(voice_site) as session:
            law = {"format": {"type": "audio/pcmu"}}
            await configured(session, {"input": law, "output": law})
            await session.write("hi")
            await session.send("response.create")
            await session.the("response.done")
            pcm = {"format": {"type": "audio/pcm", "rate": 24000}}
            await session.send(
                "session.update",
                session={"type": "realtime", "audio": {"input": pcm, "output": pcm}},
            )
            assert (await session.error())["param"] == "session.audio.input.format"
            await session.send(
                "session.update", session={"type": "realtime", "audio": {"input": pcm}}
            )
            assert (await session.error())["param"] == "session.audio.output.format"

    asyncio.run(talk())
    assert voices.fake_lines.formats == [LaneFormat.PCMU]


def test_a_shed_turn_is_said_aloud(voice_site: Site, voices: FakeVoices) -> None:
    voices.engines.heard = ["how much do i owe"]
    voice_site.runner.script = (
        SloUnattainable(estimate_s=0.9, budget_s=0.5, reason="queue_full", retry_after_s=1.0),
    )

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await speak(session)
            assert (await session.the("response.done"))["response"]["status"] == "failed"
            sorry = (await session.the("response.done"))["response"]
            assert sorry["output"][0]["content"][0]["transcript"] == phrases.NO_ANSWER

    asyncio.run(talk())


def test_a_recogniser_that_fails_has_the_caller_asked_again(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.engines.heard = [EngineUnavailable("the recogniser ended")]

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await speak(session)
            failed = await session.the("conversation.item.input_audio_transcription.failed")
            assert failed["error"]["code"] == "engine_unavailable"
            said = (await session.the("response.done"))["response"]
            assert said["output"][0]["content"][0]["transcript"] == phrases.SAY_AGAIN

    asyncio.run(talk())


def test_a_caller_whose_words_are_in_doubt_is_asked_again(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.engines.heard = ["roaming", "also the old are you really", "spain"]
    question = "Sure, which country is the pass for?"
    voice_site.runner.script = (TextDelta(question), END)

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await speak(session)
            await session.the("response.done")
            voices.engines.confidence = 0.01
            await speak(session)
            events = await session.until("response.done")
            heard = "conversation.item.input_audio_transcription.completed"
            assert [e["transcript"] for e in events if e["type"] == heard] == [
                "also the old are you really"
            ]
            said = events[-1]["response"]["output"][0]["content"][0]["transcript"]
            assert said == f"{phrases.NOT_CAUGHT} {question}"
            voices.engines.confidence = 0.9
            await speak(session)
            await session.the("response.done")

    asyncio.run(talk())
    assert len(voice_site.runner.turns) == 2
    asked = [message.content for message in voice_site.runner.turns[-1].messages]
    assert asked == ["roaming", question, "spain"]


def test_without_a_voice_sessions_are_in_text_and_say_so(http_site: Site) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            await session.send("session.update", session={"output_modalities": ["audio"]})
            told = (await session.the("session.updated"))["session"]
            assert told["output_modalities"] == ["text"]
            unserved = told["firsthop"]["unserved"]
            assert [wish["param"] for wish in unserved] == ["session.output_modalities"]
            await session.send("input_audio_buffer.append", audio="AAAA", event_id="a")
            error = await session.error()
            assert (error["code"], error["event_id"]) == ("voice_missing", "a")
            await session.write("hi")
            await session.send(
                "response.create", response={"output_modalities": ["audio"]}, event_id="b"
            )
            assert (await session.error())["param"] == "response.output_modalities"

    asyncio.run(talk())


def test_a_message_cut_off_while_its_sound_is_made_is_told_to_its_end(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.fake_lines.plays = False
    voices.engines.holds = True
    voice_site.runner.script = (TextDelta("One two three. "), END)

    async def talk() -> None:
        async with dial(voice_site) as session:
            await session.write("count")
            await session.send("response.create")
            await session.the("response.output_audio_transcript.delta")
            await session.send("response.cancel")
            events = await session.until("response.done")
            assert events[-1]["response"]["output"][0]["status"] == "incomplete"
            assert "conversation.item.done" in [event["type"] for event in events]

    asyncio.run(talk())
