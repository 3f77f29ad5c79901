"""The ears and the mouth of a session, on its line; and the mouth of each of its responses."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.core.voice_line import SAID_HZ, WINDOW_S, CallerSound
from gateway.session.voice.call import VoiceCall
from gateway.session.voice.events import AudioBegan, AudioEnded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.core.stages import StageClock
    from gateway.core.turn_settings import TurnSettings
    from gateway.core.voice_line import LineEvent, VoiceLine
    from gateway.edge.realtime.voices import Voices
    from gateway.session.voice.events import CallEvent

_FIRST_SOUND_LIMIT_S: Final = 10.0
"""A response whose sound does not begin to be played is over without it: the line may be lost."""

_HEARING_LIMIT_S: Final = 1.0
"""What the media path may take for sound that a client has sent."""


@dataclass(slots=True, eq=False)
class Saying:
    """A message while it is spoken."""

    response_id: str
    item_id: str
    output_index: int
    made: asyncio.Event = field(default_factory=asyncio.Event)
    """All of it is sound, or will never be."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """The caller hears it, or never will."""
    sound_s: float = 0.0
    """How much sound there is of it so far."""
    text: str = ""


class _TappedLine:
    """A line on which is counted what the caller says, and what is said to him."""

    def __init__(self, line: VoiceLine, sayings: dict[int, Saying], *, is_lane: bool) -> None:
        self._line = line
        self._sayings = sayings
        self._is_lane = is_lane
        self.heard_s = 0.0
        """Media time of the sound that came."""
        self.came = asyncio.Event()

    async def events(self) -> AsyncIterator[LineEvent]:
        async for event in self._line.events():
            yield event
            if isinstance(event, CallerSound):
                self.heard_s = event.start_s + len(event.speech) * WINDOW_S
                self.came.set()

    def say(self, utterance: int, pcm: bytes, *, is_last: bool = False) -> None:
        self._line.say(utterance, pcm, is_last=is_last)
        self._said(utterance, pcm, is_last)

    def say_prompt(self, utterance: int, prompt: int, pcm: bytes) -> None:
        self._line.say_prompt(utterance, prompt, pcm)
        self._said(utterance, pcm)

    def hold(self) -> None:
        self._line.hold()

    def go_on(self) -> None:
        self._line.go_on()

    def hush(self) -> None:
        self._line.hush()

    def write(self, text: str) -> None:
        self._line.write(text)

    def close(self, reason: str = "") -> None:
        self._line.close(reason)

    def _said(self, answer: int, pcm: bytes, is_last: bool = False) -> None:
        saying = self._sayings.get(answer)
        if saying is not None:
            saying.sound_s += len(pcm) / (2 * SAID_HZ)
            if is_last and not self._is_lane:
                saying.made.set()


class CallVoice:
    """Hears and speaks on one line, and knows which message is being spoken.

    On a lane, `is_lane`, a message is spoken when its last piece has come back as the lane's
    sound: `sound_came` says so.
    """

    def __init__(
        self, line: VoiceLine, voices: Voices, settings: TurnSettings, *, is_lane: bool
    ) -> None:
        self._line = line
        self._sayings: dict[int, Saying] = {}
        self._tapped = _TappedLine(line, self._sayings, is_lane=is_lane)
        self._call = VoiceCall(
            self._tapped,
            voices.recogniser,
            voices.synthesiser,
            settings,
            endings=voices.endings,
        )
        self.speaker = self._call.speaker
        self.listener = self._call.listener

    async def run(self) -> None:
        """Hear and speak until the line is closed."""
        await self._call.run()

    async def events(self) -> AsyncIterator[CallEvent]:
        """What happens, up to the end of the line. Iterated once."""
        async for event in self._call.events():
            if isinstance(event, AudioBegan | AudioEnded):
                saying = self._sayings.get(event.answer)
                if saying is not None:
                    saying.begun.set()
                    if isinstance(event, AudioEnded):
                        saying.made.set()
            yield event

    async def heard_until(self, fed_s: float) -> None:
        """Return once the listener has heard so much sound, or never will.

        The last two windows may not be full.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_HEARING_LIMIT_S):
                while self._tapped.heard_s < fed_s - 2 * WINDOW_S:
                    self._tapped.came.clear()
                    await self._tapped.came.wait()

    def close(self, reason: str) -> None:
        """End the call."""
        self._line.close(reason)

    def mouth(self, response_id: str, clock: StageClock) -> ResponseMouth:
        """For one response."""
        return ResponseMouth(self, response_id, clock)

    def begin(self, saying: Saying, clock: StageClock | None) -> int:
        """Begin to speak a message; its number."""
        answer = self.speaker.begin(clock=clock)
        self._sayings[answer] = saying
        return answer

    @property
    def unheard(self) -> tuple[str, ...]:
        """The items of messages that are being spoken, or will be."""
        return tuple(saying.item_id for saying in self._sayings.values())

    def saying(self, answer: int) -> Saying | None:
        """The message of that number, while it is not over."""
        return self._sayings.get(answer)

    def over(self, answer: int) -> Saying | None:
        """The message of that number, which is over."""
        return self._sayings.pop(answer, None)

    def sound_came(self, answer: int, sound: bytes) -> Saying | None:
        """A piece of a message on a lane; an empty one is the last."""
        saying = self._sayings.get(answer)
        if saying is not None and not sound:
            saying.made.set()
        return saying


class ResponseMouth:
    """Speaks the messages of one response, one after the other."""

    def __init__(self, voice: CallVoice, response_id: str, clock: StageClock) -> None:
        self._voice = voice
        self._response_id = response_id
        self._clock = clock
        self._answer: int | None = None
        self._saying: Saying | None = None
        self._first: Saying | None = None
        """The first message that is part of the answer."""

    def begin(self, item_id: str, output_index: int, *, is_aside: bool) -> None:
        """Begin a message. An aside ("one moment") is no part of the answer."""
        self._saying = Saying(self._response_id, item_id, output_index)
        self._answer = self._voice.begin(self._saying, None if is_aside else self._clock)
        if not is_aside and self._first is None:
            self._first = self._saying

    def say(self, text: str) -> None:
        """More of the message, as it is written."""
        if self._answer is not None and self._saying is not None:
            self._saying.text += text
            self._voice.speaker.add(self._answer, text)

    async def end(self) -> None:
        """Nothing more of the message; returns once it is sound, which is heard later."""
        answer, saying, self._answer, self._saying = self._answer, self._saying, None, None
        if answer is not None and saying is not None:
            self._voice.speaker.finish(answer)
            await saying.made.wait()

    async def first_heard(self) -> None:
        """Return once the caller hears the answer, or will not."""
        if self._first is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_SOUND_LIMIT_S):
                    await self._first.begun.wait()

    def hush(self) -> None:
        """Stop speaking."""
        self._answer = self._saying = None
        self._voice.speaker.hush()
