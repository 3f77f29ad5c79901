from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from gateway.core.completeness import Endings
from gateway.core.errors import EngineFault
from gateway.core.stages import Stage
from gateway.core.turn_settings import TurnMode, TurnSettings
from gateway.core.turns import EndReason, FalseInterruption
from gateway.core.voice_line import ClientMessage, Digit, LineChange, LineState
from gateway.session.voice.call import VoiceCall
from gateway.session.voice.events import (
    AudioBegan,
    AudioEnded,
    CallEvent,
    Committed,
    EagerTurn,
    EagerTurnDropped,
    Idle,
    Interrupted,
    Partial,
    Resumed,
    SpeechDropped,
    SpeechStarted,
    SpeechStopped,
    Unheard,
)
from tests.session.voice.fakes import (
    WORD_S,
    Caller,
    FakeLine,
    FakeRecogniser,
    FakeSynthesiser,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

_EventT = TypeVar("_EventT", bound=CallEvent)


ENDINGS = Endings({"w:router": 1.0, "1:router": 1.0}, complete_from=1.0, incomplete_below=-1.0)
"""What names a router is whole."""


class Bench:
    """A call whose instants are its media time, as long as the test does not say otherwise."""

    def __init__(self, settings: TurnSettings | None = None) -> None:
        self.line = FakeLine()
        self.recogniser = FakeRecogniser()
        self.caller = Caller(self.line)
        self.seen: list[CallEvent] = []
        self.call = VoiceCall(
            self.line,
            self.recogniser,
            FakeSynthesiser(),
            settings or TurnSettings(),
            endings=ENDINGS,
            monotonic=lambda: self.caller.media_s + 0.03,
        )
        self._events = self.call.events()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.call.run())
            yield
            self.line.close("done")
            await self.until(LineChange)

    async def until(self, kind: type[_EventT]) -> _EventT:
        """Read events up to the next of this kind."""
        while True:
            event = await anext(self._events)
            self.seen.append(event)
            if isinstance(event, kind):
                return event

    async def heard(self) -> None:
        """Let the call hear all that was said, and the recogniser answer."""
        marker = ClientMessage("marker")
        for _ in range(2):
            self.line.tell(marker)
            assert await self.until(ClientMessage) is marker
            self.seen.remove(marker)
            for _ in range(10):
                await asyncio.sleep(0)

    async def say(self, text: str, length_s: float = 0.96) -> None:
        self.recogniser.text = text
        self.caller.speak(length_s)
        await self.heard()

    async def pause(self, length_s: float) -> None:
        """In pieces as short as packets, so that the recogniser's answers come in between."""
        for _ in range(round(length_s / 0.032)):
            self.caller.pause(0.032)
            await self.heard()

    async def speak(self, text: str, num_played: float) -> int:
        """The agent begins to say something, of which so many words are played."""
        answer = self.call.speaker.begin()
        self.call.speaker.add(answer, text)
        self.call.speaker.finish(answer)
        while len(self.line.said) < 1 or self.line.said[answer] < num_played * 24_000:
            self.line.given.clear()
            await self.line.given.wait()
        self.line.play(answer, num_played * WORD_S, self.caller.media_s)
        await self.until(AudioBegan)
        return answer

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.seen]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_request_is_told_from_its_beginning_to_its_transcript(bench: Bench) -> None:
    async with bench.running():
        bench.caller.pause(0.64)
        await bench.say("restart my router")
        await bench.pause(0.32)
    assert bench.kinds == [
        SpeechStarted, Partial, EagerTurn, SpeechStopped, Committed, LineChange,
    ]  # fmt: skip
    began, partial, _, stopped, committed, _ = bench.seen
    assert isinstance(began, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert isinstance(committed, Committed)
    assert began.audio_start_s == pytest.approx(0.34)
    assert partial == Partial(1, "restart my router")
    assert stopped.audio_end_s == pytest.approx(1.6)
    assert stopped.reason is EndReason.COMPLETE
    assert (committed.transcript, committed.is_as_begun) == ("restart my router", True)


async def test_the_stages_of_a_turn_begin_with_the_end_of_speech(bench: Bench) -> None:
    async with bench.running():
        await bench.say("restart my router")
        await bench.pause(0.32)
    committed = next(event for event in bench.seen if isinstance(event, Committed))
    clock = committed.timing.new_clock()
    assert clock.started_s == pytest.approx(0.96 + bench.caller.late_s)
    took_s = clock.durations_s()
    assert took_s.keys() <= {Stage.INGRESS, Stage.ENDPOINT, Stage.ASR}
    assert sum(took_s.values()) == pytest.approx(clock.elapsed_s)
    assert 0.09 <= took_s[Stage.ENDPOINT] <= 0.14


async def test_the_wait_for_the_end_is_added_to_the_clock_of_an_early_answer(bench: Bench) -> None:
    async with bench.running():
        await bench.say("restart my router")
        await bench.pause(0.32)
    eager = next(event for event in bench.seen if isinstance(event, EagerTurn))
    committed = next(event for event in bench.seen if isinstance(event, Committed))
    clock = eager.timing.new_clock()
    clock.mark(Stage.PREFILL, eager.timing.transcribed_s + 0.02)
    committed.timing.confirm(clock)
    assert clock.elapsed_s == committed.timing.transcribed_s - committed.timing.speech_ended_s


async def test_the_recogniser_hears_the_padding_and_everything_after_it(bench: Bench) -> None:
    async with bench.running():
        bench.caller.pause(0.96)
        await bench.say("restart my router", 0.64)
        await bench.pause(0.32)
    (hearing,) = bench.recogniser.hearings
    windows = [
        int.from_bytes(hearing.fed[at : at + 2], "little")
        for at in range(0, len(hearing.fed), 1024)
    ]
    assert windows[0] in (21, 22)  # 0.3 s before the 31st
    assert windows == list(range(windows[0], windows[-1] + 1))
    assert hearing.is_over


async def test_the_recogniser_knows_whom_it_heard_before(bench: Bench) -> None:
    async with bench.running():
        for _ in range(2):
            await bench.say("restart my router")
            await bench.pause(0.32)
    assert bench.recogniser.afters == [None, bench.recogniser.hearings[0]]


async def test_an_early_answer_is_dropped_when_the_caller_goes_on(bench: Bench) -> None:
    async with bench.running():
        await bench.say("pay my bill")
        await bench.pause(0.512)
        await bench.say("pay my bill with my router")
        await bench.pause(0.32)
    eager = [kind for kind in bench.kinds if kind in (EagerTurn, EagerTurnDropped, Committed)]
    assert eager == [EagerTurn, EagerTurnDropped, EagerTurn, Committed]


async def test_an_early_answer_to_other_words_is_dropped(bench: Bench) -> None:
    bench.recogniser.final_text = "restart my routers"
    async with bench.running():
        await bench.say("restart my router")
        await bench.pause(0.32)
    assert bench.kinds[2:6] == [EagerTurn, SpeechStopped, EagerTurnDropped, Committed]
    committed = bench.seen[5]
    assert isinstance(committed, Committed)
    assert (committed.transcript, committed.is_as_begun) == ("restart my routers", False)


async def test_half_a_sentence_is_waited_for(bench: Bench) -> None:
    async with bench.running():
        await bench.say("I want to")
        await bench.pause(1.6)
        assert SpeechStopped not in bench.kinds
        await bench.pause(0.32)
        assert SpeechStopped in bench.kinds


async def test_a_yes_that_is_not_certain_is_a_question(bench: Bench) -> None:
    bench.recogniser.confidence = 0.3
    async with bench.running():
        await bench.say("yes")
        await bench.pause(1.5)
    committed = next(event for event in bench.seen if isinstance(event, Committed))
    assert (committed.transcript, committed.confidence) == ("yes?", 0.3)


async def test_uh_huh_does_not_stop_the_agent(bench: Bench) -> None:
    async with bench.running():
        await bench.speak("Your router restarts now and that takes a while", 2)
        await bench.say("uh-huh", 0.32)
        assert bench.line.holds()
        await bench.pause(0.32)
        assert not bench.line.holds()
        assert bench.seen[-1] == Resumed(FalseInterruption.BACKCHANNEL)
        assert SpeechStarted not in bench.kinds
    assert bench.recogniser.hearings[0].is_over


async def test_no_wait_stops_it_and_what_was_played_is_told(bench: Bench) -> None:
    async with bench.running():
        await bench.speak("Your router restarts now and that takes a while", 2)
        await bench.say("no wait", 0.32)
        await bench.pause(0.064)
        assert bench.kinds[-3:] == [SpeechStarted, Interrupted, Partial]
        assert bench.line.holds()
        bench.call.speaker.hush()
        end = await bench.until(AudioEnded)
        assert (end.played_text, end.is_whole) == ("Your router ", False)
        assert not bench.line.holds()


async def test_yes_answers_a_question_that_was_put(bench: Bench) -> None:
    async with bench.running():
        await bench.speak("Shall I go ahead?", 4)
        await bench.until(AudioEnded)
        await bench.say("yes", 0.32)
        await bench.pause(0.32)
    assert EagerTurn not in bench.kinds  # a consent is not acted upon before it is certain
    assert next(event for event in bench.seen if isinstance(event, Committed)).transcript == "yes"


async def test_a_recogniser_that_fails_ends_the_utterance_and_nothing_else(bench: Bench) -> None:
    async with bench.running():
        bench.recogniser.error = EngineFault("the recogniser is gone")
        await bench.say("restart my router")
        await bench.pause(1.6)
        assert bench.seen[-1] == Unheard(1, bench.recogniser.error)
        bench.recogniser.error = None
        await bench.say("restart my router")
        await bench.pause(0.32)
        assert bench.kinds[-1] is Committed


async def test_the_client_ends_and_drops_turns_by_hand() -> None:
    bench = Bench(TurnSettings(mode=TurnMode.MANUAL))
    async with bench.running():
        assert not bench.call.listener.commit()
        await bench.say("restart my router")
        await bench.pause(3.2)
        assert bench.seen == []
        assert bench.call.listener.commit()
        await bench.heard()
        assert (
            bench.kinds == [SpeechStarted, Partial, SpeechStopped, Committed][:1] + bench.kinds[1:]
        )
        assert bench.kinds[-2:] == [SpeechStopped, Committed]
        await bench.say("something else")
        bench.call.listener.clear()
        assert not bench.call.listener.commit()


async def test_what_is_cleared_after_it_began_is_told_as_dropped(bench: Bench) -> None:
    async with bench.running():
        await bench.say("pay my")
        bench.call.listener.clear()
        await bench.pause(2.0)
    assert SpeechDropped in bench.kinds
    assert Committed not in bench.kinds


async def test_digits_messages_and_the_line_are_passed_on(bench: Bench) -> None:
    lost = LineChange(LineState.LOST)
    events: list[Digit | ClientMessage | LineChange] = [Digit("7", 1.0), ClientMessage("{}"), lost]
    async with bench.running():
        for event in events:
            bench.line.tell(event)
        await bench.until(LineChange)
    assert bench.seen == [*events, LineChange(LineState.CLOSED, "done")]


async def test_idle_is_told_after_the_agents_last_word() -> None:
    bench = Bench(TurnSettings(idle_timeout_s=2.0))
    async with bench.running():
        await bench.speak("Anything else?", 2)
        await bench.until(AudioEnded)
        bench.caller.pause(2.56)
        idle = await bench.until(Idle)
        assert idle.audio_end_s - idle.audio_start_s == pytest.approx(2.0, abs=0.04)


async def test_a_call_that_nobody_reads_is_closed(bench: Bench) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.call.run())
        for _ in range(2001):
            bench.line.tell(Digit("1", 0.0))
    assert bench.line.closed_because == "nobody listens to the call"
