"""Recogniser and voice in their processes, as a call uses them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.config.speech import Speech
from gateway.core.errors import SetupError
from gateway.core.speech_errors import SpeechBusy, SpeechError, SpeechLost
from gateway.core.voice_line import SAID_HZ
from gateway.speech.client import SpeechService
from gateway.speech.port import SpeechGrade
from tests.requirements import require
from tests.speech.spoken_sound import require_espeak, require_flite, sound_of

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.speech.port import Heard, Hearing, Recogniser, Spoken, Synthesiser

pytestmark = [pytest.mark.flow, pytest.mark.anyio]

_PIECE_BYTES = 2 * 1600
EARS = Speech(recogniser="pocketsphinx", max_num_hearings=2, voice="none")
VOICE = Speech(recogniser="none", voice="flite")
ASKED = "i would like to pay my bill please"
LONG = "This is said at some length, " * 40


@pytest.fixture(autouse=True)
def _engines() -> None:
    try:
        import pocketsphinx  # noqa: F401
    except ImportError:
        require("pocketsphinx", False, "run: make setup")
    require_flite()


def ears(service: SpeechService) -> Recogniser:
    assert service.recogniser is not None
    return service.recogniser


def voice(service: SpeechService) -> Synthesiser:
    assert service.synthesiser is not None
    return service.synthesiser


def feed(hearing: Hearing, pcm: bytes) -> None:
    for at in range(0, len(pcm), _PIECE_BYTES):
        hearing.feed(pcm[at : at + _PIECE_BYTES])


async def test_words_while_the_caller_speaks_and_at_the_end() -> None:
    heard: list[Heard] = []
    async with SpeechService(EARS) as service:
        hearing = ears(service).open(partial=heard.append)
        pcm = sound_of(ASKED, "rms")
        feed(hearing, pcm[: len(pcm) // 2])
        half = await hearing.so_far()
        feed(hearing, pcm[len(pcm) // 2 :])
        whole = await hearing.finish()

    assert ASKED.startswith(half.text[:7])
    assert not half.is_final
    assert (whole.text, whole.is_final) == (ASKED, True)
    assert [word.text for word in whole.words] == ASKED.split()
    assert all(a.end_s <= b.start_s + 0.02 for a, b in pairwise(whole.words))
    assert len({partial.text for partial in heard}) > 3


async def test_the_recogniser_knows_when_it_has_misheard() -> None:
    chance = np.random.default_rng(1)
    async with SpeechService(EARS) as service:
        sound = np.frombuffer(sound_of(ASKED, "rms"), "<i2").astype(np.float64)
        loud = np.sqrt(np.mean(sound**2))
        noisy = np.clip(sound + loud * chance.standard_normal(len(sound)), -32768, 32767)
        clear, garbled = ears(service).open(), ears(service).open()
        feed(clear, sound.astype("<i2").tobytes())
        feed(garbled, noisy.astype("<i2").tobytes())
        right, wrong = await clear.finish(), await garbled.finish()

    assert right.text == ASKED
    assert right.confidence is not None
    assert right.confidence > 0.5
    assert wrong.text != ASKED
    assert wrong.confidence is None or wrong.confidence < 0.05


async def test_callers_are_heard_apart() -> None:
    async with SpeechService(EARS) as service:
        first, second = ears(service).open(), ears(service).open()
        pcm, other = sound_of(ASKED, "rms"), sound_of("is there an outage", "slt")
        for at in range(0, max(len(pcm), len(other)), _PIECE_BYTES):
            first.feed(pcm[at : at + _PIECE_BYTES])
            second.feed(other[at : at + _PIECE_BYTES])
        texts = [(await hearing.finish()).text for hearing in (first, second)]

    assert texts == [ASKED, "is there an outage"]


async def test_a_caller_is_heard_anew_as_at_first_unless_it_is_said_who_it_is() -> None:
    async with SpeechService(EARS) as service:
        assert service.recogniser is not None
        first = ears(service).open()
        feed(first, sound_of(ASKED, "rms"))
        at_first = await first.finish()
        again = ears(service).open()
        feed(again, sound_of(ASKED, "rms"))
        known = service.recogniser.open(after=first)
        feed(known, sound_of(ASKED, "rms"))
        told = known.caller

        heard = await again.finish()
        assert (heard.text, heard.words) == (at_first.text, at_first.words)
        # The decoder begins a search from where the last one ended: its scores differ a little.
        assert heard.confidence == pytest.approx(at_first.confidence, abs=0.02)
        assert (await known.finish()).text == ASKED

    assert told  # what the first hearing found out, and the next one more
    assert known.caller != told


async def test_the_ear_gets_used_to_a_new_voice_while_it_speaks() -> None:
    said = "i would like to pay my bill please and restart the router"
    sound = np.frombuffer(sound_of(said, "slt"), "<i2").astype(np.float64)
    muffled = np.convolve(sound, np.ones(5) / 5)
    async with SpeechService(EARS) as service:
        hearing = ears(service).open()
        feed(hearing, muffled.astype("<i2").tobytes())
        heard = await hearing.finish()

    assert heard.text == said
    assert heard.confidence is not None
    assert heard.confidence > 0.9  # not used to it, it is 0.7, with a word wrong


async def test_a_hearing_leaves_nothing_behind() -> None:
    async with SpeechService(EARS) as service:
        for _ in range(3):  # more than there are decoders
            dropped, kept = ears(service).open(), ears(service).open()
            feed(dropped, sound_of("is there an outage", "slt"))
            feed(kept, sound_of(ASKED, "rms"))
            dropped.drop()
            results = [await kept.finish()]
            with pytest.raises(SpeechError):
                await dropped.finish()

    assert [heard.text for heard in results] == [ASKED]


async def test_more_hearings_than_there_may_be_are_refused() -> None:
    async with SpeechService(EARS) as service:
        opened = [ears(service).open() for _ in range(EARS.max_num_hearings)]
        with pytest.raises(SpeechBusy):
            ears(service).open()
        opened[0].drop()
        ears(service).open().drop()


async def test_silence_says_nothing() -> None:
    async with SpeechService(EARS) as service:
        hearing = ears(service).open()
        never_fed = ears(service).open()
        feed(hearing, bytes(32_000))
        heard = await hearing.finish()

        assert await never_fed.finish() == heard

    assert (heard.text, heard.words) == ("", ())


async def test_a_killed_recogniser_is_told_and_comes_back() -> None:
    async with SpeechService(EARS) as service:
        assert service.recogniser is not None
        hearing = ears(service).open()
        feed(hearing, sound_of(ASKED, "rms"))
        os.kill(service.recogniser.pids[0], signal.SIGKILL)
        with pytest.raises(SpeechLost) as lost:
            await hearing.finish()
        await ears(service).back()
        again = ears(service).open()
        feed(again, sound_of(ASKED, "rms"))

        assert (await again.finish()).text == ASKED

    assert lost.value.retryable


async def said(service: SpeechService, text: str) -> list[Spoken]:
    return [piece async for piece in voice(service).say(text)]


async def test_an_amount_is_said_in_words() -> None:
    async with SpeechService(VOICE) as service:
        pieces = await said(service, "That is $12.50.")

    words = [word.text for piece in pieces for word in piece.words]
    assert words == ["that", "is", "twelve", "dollars", "and", "fifty", "cents"]
    assert sum(len(piece.pcm) for piece in pieces) / 2 / SAID_HZ > 1.5


async def test_clauses_of_several_calls_stay_apart() -> None:
    async with SpeechService(VOICE) as service, asyncio.TaskGroup() as group:
        texts = ["one two", "three four five", "six"]
        tasks = [group.create_task(said(service, text)) for text in texts]

    for text, task in zip(texts, tasks, strict=True):
        spoken = [word.text for piece in task.result() for word in piece.words]
        assert spoken == text.split()


async def test_nothing_to_say_makes_no_sound() -> None:
    async with SpeechService(VOICE) as service:
        for text in ("", " ", "…"):
            pieces = await said(service, text)

            assert sum(len(piece.pcm) for piece in pieces) / 2 / SAID_HZ < 1


async def test_who_stops_listening_does_not_hold_up_the_next() -> None:
    async with SpeechService(VOICE) as service:
        began_s = time.monotonic()
        whole = await said(service, LONG)
        whole_s = time.monotonic() - began_s
        async with aclosing(voice(service).say(LONG)) as clause:
            await anext(clause)
        began_s = time.monotonic()
        await said(service, "Sure.")
        next_s = time.monotonic() - began_s

    assert len(whole) > 100
    assert next_s < whole_s / 2


async def test_a_killed_voice_is_told_and_comes_back() -> None:
    async with SpeechService(VOICE) as service:
        assert service.synthesiser is not None
        clauses = voice(service).say(LONG)
        async with aclosing(clauses):
            await anext(clauses)
            os.kill(service.synthesiser.pids[0], signal.SIGKILL)
            with pytest.raises(SpeechLost):
                async for _ in clauses:
                    pass
        await service.synthesiser.back()
        assert await said(service, "Sure.")


async def test_espeak_in_its_process() -> None:
    require_espeak()
    async with SpeechService(Speech(recogniser="none", voice="espeak-ng")) as service:
        pieces = await said(service, "Sure.")

        assert service.voice_state.name == "espeak-ng en-us"
        assert service.voice_state.grade is SpeechGrade.DEMONSTRATION
    assert len(pieces) > 1


async def test_what_is_named_and_not_there_stops_the_start(tmp_path: Path) -> None:
    for asked in (
        Speech(recogniser="pocketsphinx", recogniser_directory=str(tmp_path), voice="none"),
        Speech(recogniser="none", voice="flite", voice_name="nobody"),
        Speech(recogniser="none", voice="sherpa", voice_directory=str(tmp_path)),
    ):
        with pytest.raises(SetupError, match=r"; |no tokens\.txt"):
            async with SpeechService(asked):
                pass


async def test_what_is_left_to_choice_and_not_there_is_said(tmp_path: Path) -> None:
    asked = Speech(recogniser_directory=str(tmp_path), voice="none")
    async with SpeechService(asked) as service:
        assert service.recogniser is None
        assert "words.dict" in service.recogniser_state.problem
        assert (service.synthesiser, service.voice_state.problem) == (None, "")
