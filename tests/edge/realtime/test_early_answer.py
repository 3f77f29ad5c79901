"""Answers that are begun when the caller has probably finished: told once he has, or never."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.core.errors import EngineUnavailable
from gateway.core.stages import Outcome, Stage
from tests.edge.fakes import HELLO, WAIT_S
from tests.edge.realtime.dialler import Session, dial, kinds
from tests.edge.realtime.fake_voice import SILENCE, SPEECH
from tests.edge.realtime.test_speech import configured, sound

if TYPE_CHECKING:
    from tests.edge.fakes import Site
    from tests.edge.realtime.fake_voice import FakeVoices

_VAD = {"type": "server_vad", "silence_duration_ms": 1000}
AUDIO = {"input": {"turn_detection": _VAD, "transcription": {"model": "default"}}}


async def pause(session: Session, site: Site) -> None:
    """Say something, then nothing for so long that the answer is begun; it is now."""
    await sound(session, SPEECH, 0.6)
    await sound(session, SILENCE, 0.6)
    await asyncio.to_thread(site.runner.started.get, timeout=WAIT_S)


def test_an_answer_begun_early_is_told_when_the_caller_has_finished(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.engines.heard = ["how much do i owe"]

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await pause(session, voice_site)
            assert voices.engines.spoken == []
            await sound(session, SILENCE, 0.6)
            told = kinds(await session.until("response.done"))
            assert told.index("response.created") > told.index("conversation.item.done")

    asyncio.run(talk())
    assert len(voice_site.runner.turns) == 1
    record = voice_site.records.next()
    assert (record.outcome, record.begun_early) == (Outcome.ANSWERED, True)
    order = [span.stage for span in record.spans]
    assert order.index(Stage.PREFILL) < len(order) - 1 - order[::-1].index(Stage.ENDPOINT)
    assert voices.engines.spoken == ["Hello wörld"]


def test_an_answer_begun_early_is_discarded_when_the_caller_goes_on(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.engines.heard = ["how much do i owe"]

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await pause(session, voice_site)
            await sound(session, SPEECH, 0.3)
            discarded = await asyncio.to_thread(voice_site.records.next)
            assert (discarded.outcome, discarded.begun_early) == (Outcome.DISCARDED, True)
            assert discarded.within_budget is None
            await sound(session, SILENCE, 1.2)
            told = kinds(await session.until("response.done"))
            assert told.count("response.created") == 1

    asyncio.run(talk())
    assert voice_site.records.next().outcome is Outcome.ANSWERED
    assert len(voice_site.runner.turns) == 2
    assert voices.engines.spoken == ["Hello wörld"]


def test_an_answer_that_failed_early_is_tried_again(voice_site: Site, voices: FakeVoices) -> None:
    voices.engines.heard = ["how much do i owe"]
    voice_site.runner.script = (EngineUnavailable("just now"),)

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await pause(session, voice_site)
            await asyncio.to_thread(voice_site.runner.left.get, timeout=WAIT_S)
            voice_site.runner.script = HELLO
            await sound(session, SILENCE, 0.6)
            assert (await session.the("response.done"))["response"]["status"] == "completed"

    asyncio.run(talk())
    outcomes = [voice_site.records.next().outcome for _ in range(2)]
    assert outcomes == [Outcome.DISCARDED, Outcome.ANSWERED]


def test_what_the_client_adds_meanwhile_is_answered_too(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.engines.heard = ["how much do i owe"]

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await pause(session, voice_site)
            await session.write("in dollars")
            await sound(session, SILENCE, 0.6)
            await session.the("response.done")

    asyncio.run(talk())
    asked = [[message.content for message in turn.messages] for turn in voice_site.runner.turns]
    assert asked == [["how much do i owe"], ["in dollars", "how much do i owe"]]
    assert voice_site.records.next().outcome is Outcome.DISCARDED


def test_an_early_answer_ends_with_its_session(voice_site: Site, voices: FakeVoices) -> None:
    voices.engines.heard = ["how much do i owe"]

    async def talk() -> None:
        async with dial(voice_site) as session:
            await configured(session, AUDIO)
            await pause(session, voice_site)

    asyncio.run(talk())
    assert voice_site.records.next().outcome is Outcome.DISCARDED
    assert voice_site.runner.num_running == 0
