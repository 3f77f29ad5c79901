import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.core.errors import EngineFault
from gateway.core.stages import Stage, StageClock
from gateway.core.voice_line import SAID_HZ, PlayBegan, PlayEnded
from gateway.runtime.inbox import Inbox
from gateway.session.voice.events import AudioBegan, AudioEnded, CallEvent
from gateway.session.voice.speaker import Speaker
from tests.session.voice.fakes import WORD_S, FakeLine, FakeSynthesiser

pytestmark = pytest.mark.anyio

TEXT = "Your bill is 64 dollars, 24 are open. Due in 9 days."
NUM_WORDS = len(TEXT.split())


class Bench:
    def __init__(self, synthesiser: FakeSynthesiser | None = None) -> None:
        self.line = FakeLine()
        self.synthesiser = synthesiser or FakeSynthesiser()
        self.now_s = 10.0
        self.told: Inbox[CallEvent] = Inbox()
        self.speaker = Speaker(
            self.line, self.synthesiser, tell=self.told.put, monotonic=lambda: self.now_s
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self.speaker.run())
            pump = tasks.create_task(self._pump())
            yield
            running.cancel()
            pump.cancel()

    async def _pump(self) -> None:
        async for event in self.line.events():
            if isinstance(event, PlayBegan | PlayEnded):
                self.speaker.played(event)

    def has_asked(self) -> bool:
        return self.speaker.has_asked

    def say(self, text: str, clock: StageClock | None = None) -> int:
        answer = self.speaker.begin(clock=clock)
        self.speaker.add(answer, text)
        self.speaker.finish(answer)
        return answer

    async def made(self, answer: int, num_words: int) -> None:
        """Wait until the sound of so many words is on the line."""
        while self.line.said.get(answer, 0) < num_words * WORD_S * 2 * SAID_HZ:
            self.line.given.clear()
            await self.line.given.wait()
        await asyncio.sleep(0)


async def ended(bench: Bench) -> AudioEnded:
    while not isinstance(event := await bench.told.next(), AudioEnded):
        pass
    return event


async def test_an_answer_is_said_clause_by_clause_and_ends_with_all_its_text() -> None:
    bench = Bench()
    async with bench.running():
        answer = bench.say(TEXT)
        await bench.made(answer, NUM_WORDS)
        assert bench.synthesiser.asked == [
            "Your bill is 64 dollars,", "24 are open.", "Due in 9 days.",
        ]  # fmt: skip
        bench.line.play(answer, NUM_WORDS * WORD_S, left_s=10.5)
        assert await bench.told.next() == AudioBegan(answer, 10.5)
        assert await bench.told.next() == AudioEnded(answer, TEXT, NUM_WORDS * WORD_S, True)


async def test_the_first_clause_is_said_before_the_rest_is_written() -> None:
    bench = Bench()
    async with bench.running():
        answer = bench.speaker.begin()
        for delta in ("Sure", ", I", " can"):
            bench.speaker.add(answer, delta)
        await bench.made(answer, 1)
        assert bench.synthesiser.asked == ["Sure,"]


@pytest.mark.parametrize(
    ("num_played", "heard"),
    [
        (2.5, "Your bill is "),
        (5.0, "Your bill is 64 dollars, "),
        (6.5, "Your bill is 64 dollars, 24 are "),
    ],
)
@pytest.mark.parametrize("has_times", [True, False])
async def test_of_a_hushed_answer_the_text_up_to_the_cut_was_played(
    num_played: float, heard: str, has_times: bool
) -> None:
    bench = Bench(FakeSynthesiser(has_times=has_times))
    async with bench.running():
        answer = bench.say(TEXT)
        await bench.made(answer, NUM_WORDS)
        bench.line.play(answer, num_played * WORD_S)
        assert isinstance(await bench.told.next(), AudioBegan)
        bench.speaker.hush()
        end = await ended(bench)
        assert not end.is_whole
        assert end.played_s == pytest.approx(num_played * WORD_S)
        if has_times:
            assert end.played_text == heard
        else:
            assert TEXT.startswith(end.played_text)
            assert abs(len(end.played_text) - len(heard)) <= 8


async def test_hushing_stops_the_synthesiser_and_what_waits() -> None:
    bench = Bench()
    bench.synthesiser.may_go_on.clear()
    async with bench.running():
        first, second = bench.say(TEXT), bench.say(TEXT)
        await bench.synthesiser.was_asked(1)
        bench.speaker.hush()
        ends = [await ended(bench), await ended(bench)]
        assert [(end.answer, end.played_text) for end in ends] == [(first, ""), (second, "")]
        await bench.synthesiser.closed_early.wait()
        bench.synthesiser.may_go_on.set()
        third = bench.say("Still here.")
        await bench.made(third, 2)
        assert bench.synthesiser.asked == ["Your bill is 64 dollars,", "Still here."]
        assert bench.line.said.keys() == {third}


async def test_a_failing_synthesiser_ends_the_answer_with_what_was_said() -> None:
    bench = Bench()
    async with bench.running():
        answer = bench.speaker.begin()
        bench.speaker.add(answer, "Sure, that ")
        await bench.made(answer, 1)
        bench.synthesiser.error = EngineFault("the voice is gone")
        bench.speaker.add(answer, "is done.")
        bench.speaker.finish(answer)
        await bench.synthesiser.closed_early.wait()
        bench.line.play(answer, WORD_S)
        end = await ended(bench)
        assert (end.played_text, end.is_whole) == ("Sure, ", False)
        assert end.error is bench.synthesiser.error


async def test_an_answer_without_a_sound_ends_too() -> None:
    bench = Bench()
    async with bench.running():
        answer = bench.say("(ref K7Q2P)")
        assert await ended(bench) == AudioEnded(answer, "(ref K7Q2P)", 0.0, True)


async def test_references_are_written_and_not_spoken() -> None:
    bench = Bench()
    question = "I will block your SIM. Shall I go ahead? (ref K7Q2P)"
    async with bench.running():
        answer = bench.say(question)
        await bench.made(answer, 9)
        assert " ".join(bench.synthesiser.asked) == "I will block your SIM. Shall I go ahead?"
        assert not bench.has_asked()
        bench.line.play(answer, WORD_S, left_s=bench.now_s)
        await bench.told.next()
        assert not bench.has_asked()
        bench.now_s += 8.7 * WORD_S
        assert bench.has_asked()
        bench.speaker.hold()
        bench.now_s += 5.0
        bench.speaker.go_on()
        assert bench.has_asked()
        bench.line.play(answer, 9 * WORD_S)
        assert (await ended(bench)).played_text == question
        assert bench.has_asked()


async def test_a_question_that_was_cut_off_was_not_put() -> None:
    bench = Bench()
    async with bench.running():
        answer = bench.say("I will block your SIM. Shall I go ahead?")
        await bench.made(answer, 9)
        bench.line.play(answer, WORD_S)
        await bench.told.next()
        bench.speaker.hush()
        await ended(bench)
        assert not bench.has_asked()


async def test_what_the_caller_waits_for_until_the_first_sound_is_on_the_clock() -> None:
    bench = Bench()
    clock = StageClock(10.0)
    async with bench.running():
        bench.now_s = 10.1
        answer = bench.speaker.begin(clock=clock)
        bench.speaker.add(answer, "Sure, one ")
        bench.now_s = 10.15
        await bench.made(answer, 1)
        clock.mark(Stage.DECODE, 10.3)
        bench.line.play(answer, 0.02, left_s=10.17)
        await bench.told.next()
    assert clock.ttft_s == pytest.approx(0.17)
    assert {stage: pytest.approx(took_s) for stage, took_s in clock.durations_s().items()} == {
        Stage.EGRESS: 0.1, Stage.TTS: 0.05, Stage.PACING: 0.02,
    }  # fmt: skip


async def test_who_replies_into_the_last_word_has_heard_the_question() -> None:
    bench = Bench()
    question = "Shall I go ahead? (ref K7Q2P)"
    async with bench.running():
        answer = bench.say(question)
        while answer not in bench.line.ended:
            bench.line.given.clear()
            await bench.line.given.wait()
        bench.line.play(answer, 3.3 * WORD_S)
        await bench.told.next()
        bench.speaker.hush()
        end = await ended(bench)
        assert (end.played_text, end.is_whole) == (question, False)
