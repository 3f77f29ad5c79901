"""Prompts: made once, found again by their words, and given as ready."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from gateway.core.speech_errors import SpeechLost
from gateway.core.voice_line import SAID_HZ
from gateway.session import phrases
from gateway.session.voice.speaker import Speaker
from gateway.speech.ready_voice import ReadyVoice
from tests.session.voice.fakes import WORD_S, FakeLine, FakeSynthesiser

if TYPE_CHECKING:
    from gateway.speech.port import Spoken

pytestmark = pytest.mark.anyio
FRAME_BYTES = 2 * SAID_HZ // 50


async def spoken(voice: ReadyVoice, text: str) -> list[Spoken]:
    return [piece async for piece in voice.say(text)]


async def test_a_sentence_is_made_once_and_given_as_ready() -> None:
    behind, kept = FakeSynthesiser(), dict[int, bytes]()
    voice = ReadyVoice(behind, kept.__setitem__)
    await voice.prepare(["Well, good morning. Who calls?", "Nothing else"])
    assert behind.asked == ["Well,", "good morning.", "Who calls?", "Nothing else"]
    (ready,) = await spoken(voice, "good morning.")
    assert ready.prompt == 1
    assert ready.pcm == kept[1]
    assert [word.text for word in ready.words] == ["good", "morning."]
    assert len(ready.pcm) % FRAME_BYTES == 0
    assert len(ready.pcm) >= 2 * WORD_S * 2 * SAID_HZ
    assert len(behind.asked) == 4
    assert [piece.prompt for piece in await spoken(voice, "good night.")] == [None, None]


async def test_what_the_voice_fails_on_is_said_without_a_prompt() -> None:
    behind, kept = FakeSynthesiser(), dict[int, bytes]()
    voice = ReadyVoice(behind, kept.__setitem__)
    behind.error = SpeechLost("gone")
    await voice.prepare(["good morning"])
    behind.error = None
    assert [piece.prompt for piece in await spoken(voice, "good morning")] == [None, None]
    assert not kept


async def test_leaving_a_sentence_ends_the_work_on_it() -> None:
    behind = FakeSynthesiser()
    async with aclosing(ReadyVoice(behind, lambda *_: None).say("good morning")) as pieces:
        await anext(pieces)
    assert behind.closed_early.is_set()


async def test_a_session_says_its_own_sentences_from_prompts() -> None:
    line, behind = FakeLine(), FakeSynthesiser()
    voice = ReadyVoice(behind, lambda *_: None)
    await voice.prepare(phrases.PROMPTS)
    num_made = len(behind.asked)
    speaker = Speaker(line, voice, tell=lambda _: None)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(speaker.run())
        for sentence in phrases.PROMPTS:
            answer = speaker.begin()
            speaker.add(answer, sentence)
            speaker.finish(answer)
            while answer not in line.ended:
                line.given.clear()
                await line.given.wait()
        running.cancel()
    assert len(behind.asked) == num_made
    assert set(line.prompts) == set(range(num_made))
