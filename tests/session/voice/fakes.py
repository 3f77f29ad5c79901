"""A line and speech engines without sound cards, models or time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.voice_line import (
    SAID_HZ,
    WINDOW_S,
    CallerSound,
    LineChange,
    LineEvent,
    LineState,
    PlayBegan,
    PlayEnded,
)
from gateway.runtime.inbox import Inbox
from gateway.speech.port import Heard, SpeechGrade, Spoken, TimedWord

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from gateway.core.errors import GatewayError
    from gateway.speech.port import Hearing

WORD_S = 0.5
"""What each word of the fake synthesiser takes."""
_BYTES_PER_S = 2 * SAID_HZ


class FakeLine:
    """A `VoiceLine` whose sound is played when the test says so."""

    def __init__(self) -> None:
        self.said: dict[int, int] = {}
        """Bytes by utterance, in the order in which they are played."""
        self.prompts: list[int] = []
        """Prompts, in order."""
        self._is_held = False
        self.ended: set[int] = set()
        """Utterances of which all sound is here."""
        self._hushed = 0
        self._began: set[int] = set()
        self._played_bytes: dict[int, int] = {}
        self._events: Inbox[LineEvent] = Inbox()
        self.given = asyncio.Event()
        """Set whenever something is given to it."""
        self.written: list[str] = []
        self.closed_because: str | None = None

    async def events(self) -> AsyncIterator[LineEvent]:
        while True:
            event = await self._events.next()
            yield event
            if isinstance(event, LineChange) and event.state is LineState.CLOSED:
                return

    def tell(self, event: LineEvent) -> None:
        self._events.put(event)

    def say(self, utterance: int, pcm: bytes, *, is_last: bool = False) -> None:
        if utterance <= self._hushed:
            return
        self.said[utterance] = self.said.get(utterance, 0) + len(pcm)
        if is_last:
            self.ended.add(utterance)
            self._end_if_played(utterance)
        self.given.set()

    def say_prompt(self, utterance: int, prompt: int, pcm: bytes) -> None:
        self.prompts.append(prompt)
        self.say(utterance, pcm)

    def hold(self) -> None:
        self._is_held = True

    def go_on(self) -> None:
        self._is_held = False

    def holds(self) -> bool:
        return self._is_held

    def hush(self) -> None:
        for utterance in self.said:
            if utterance in self._began:
                played_s = self._played_bytes.get(utterance, 0) / _BYTES_PER_S
                self.tell(PlayEnded(utterance, played_s, False, 0.0))
        self._hushed = max([self._hushed, *self.said])
        self.said.clear()
        self._began.clear()

    def write(self, text: str) -> None:
        self.written.append(text)

    def close(self, reason: str = "") -> None:
        self.closed_because = reason
        self.tell(LineChange(LineState.CLOSED, reason))

    def play(self, utterance: int, length_s: float, left_s: float = 0.0) -> None:
        """Play so much more of an utterance; it ends when all there is was played."""
        if utterance not in self._began:
            self._began.add(utterance)
            self.tell(PlayBegan(utterance, left_s))
        played = self._played_bytes.get(utterance, 0) + round(length_s * SAID_HZ) * 2
        self._played_bytes[utterance] = played
        self._end_if_played(utterance)

    def _end_if_played(self, utterance: int) -> None:
        is_played = self._played_bytes.get(utterance, 0) >= self.said[utterance]
        if is_played and utterance in self.ended:
            self.tell(PlayEnded(utterance, self.said.pop(utterance) / _BYTES_PER_S, True, 0.0))
            self._began.discard(utterance)


@dataclass
class FakeHearing:
    """Answers what the test wrote down."""

    recogniser: FakeRecogniser
    partial: Callable[[Heard], None] | None
    fed: bytearray = field(default_factory=bytearray)
    is_over: bool = False

    def feed(self, pcm: bytes) -> None:
        self.fed += pcm

    async def so_far(self) -> Heard:
        await asyncio.sleep(0)
        if self.recogniser.error is not None:
            raise self.recogniser.error
        return Heard(self.recogniser.text)

    async def finish(self) -> Heard:
        heard = await self.so_far()
        self.is_over = True
        text = self.recogniser.final_text or heard.text
        return Heard(text, True, self.recogniser.confidence)

    def drop(self) -> None:
        self.is_over = True


class FakeRecogniser:
    """A `Recogniser` that understands what the test says is spoken."""

    name = "fake"
    grade = SpeechGrade.DEMONSTRATION

    def __init__(self) -> None:
        self.text = ""
        self.final_text = ""
        self.confidence: float | None = None
        self.error: GatewayError | None = None
        self.hearings: list[FakeHearing] = []
        self.afters: list[Hearing | None] = []

    async def back(self) -> None:
        pass

    def open(
        self, *, partial: Callable[[Heard], None] | None = None, after: Hearing | None = None
    ) -> FakeHearing:
        self.afters.append(after)
        self.hearings.append(FakeHearing(self, partial))
        return self.hearings[-1]


class FakeSynthesiser:
    """A `Synthesiser` that takes half a second for each word and gives it in one piece."""

    name = "fake"
    grade = SpeechGrade.DEMONSTRATION

    def __init__(self, *, has_times: bool = True) -> None:
        self.asked: list[str] = []
        self.closed_early = asyncio.Event()
        self.error: GatewayError | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self._has_times = has_times
        self._is_asked = asyncio.Event()

    async def was_asked(self, num_times: int) -> None:
        while len(self.asked) < num_times:
            self._is_asked.clear()
            await self._is_asked.wait()

    async def say(self, text: str) -> AsyncGenerator[Spoken, None]:
        self.asked.append(text)
        self._is_asked.set()
        is_done = False
        try:
            for index, word in enumerate(text.split()):
                await self.may_go_on.wait()
                if self.error is not None:
                    raise self.error
                timed = TimedWord(word, index * WORD_S, (index + 1) * WORD_S)
                pcm = bytes(round(WORD_S * _BYTES_PER_S))
                yield Spoken(pcm, (timed,) if self._has_times else ())
            is_done = True
        finally:
            if not is_done:
                self.closed_early.set()


class Caller:
    """Speaks into a fake line, one stretch of a window at a time."""

    def __init__(self, line: FakeLine) -> None:
        self._line = line
        self._num_windows = 0
        self.media_s = 0.0
        self.late_s = 0.02
        """How long after its time on the line a packet comes in; instants are media time."""

    def sound(self, length_s: float, probability: float) -> None:
        for _ in range(round(length_s / WINDOW_S)):
            start_s = self._num_windows * WINDOW_S
            self._num_windows += 1
            self.media_s = self._num_windows * WINDOW_S
            pcm = self._num_windows.to_bytes(2, "little") * 512
            arrived_s = self.media_s + self.late_s
            self._line.tell(CallerSound(start_s, (probability,), pcm, arrived_s))

    def speak(self, length_s: float) -> None:
        self.sound(length_s, 0.95)

    def pause(self, length_s: float) -> None:
        self.sound(length_s, 0.02)
