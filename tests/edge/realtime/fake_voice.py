"""A site's voice without sound: lines whose worker is played here, engines that know their lines.

The lines are the real ones of `gateway.media.lines`; what the worker would do is done on the spot.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.call_errors import LinesBusy
from gateway.core.voice_line import (
    SAID_HZ,
    WINDOW_S,
    CallerSound,
    ClientMessage,
    LineChange,
    LineState,
    PlayBegan,
    PlayEnded,
)
from gateway.edge.realtime.voices import Voices
from gateway.media.frames import (
    Close,
    Feed,
    Hush,
    LaneFormat,
    LaneSound,
    Offer,
    Say,
    SayPrompt,
    Write,
)
from gateway.media.lines import CallLine, LaneLine, WorkerLine
from gateway.speech.port import Heard, SpeechGrade, Spoken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.media.frames import SiteFrame, WorkerStats
    from gateway.speech.port import Hearing

CLAUSE_S = 0.2
"""How long every clause sounds."""
_CLAUSE = b"\x01\x00" * int(CLAUSE_S * SAID_HZ)
SPEECH = b"\x00\x40"
"""A sample that counts as speech."""
SILENCE = b"\x00\x00"


class Worker:
    """Plays the worker of one line: all that is said is played at once, or when the test says."""

    def __init__(self) -> None:
        self.line: WorkerLine | None = None
        self.plays = True
        """False: what is said begins to be played, and never ends by itself."""
        self.written: list[str] = []
        self.prompts: list[int] = []
        self.closed = ""
        self._fed_s = self._media_s = 0.0
        self._saying: int | None = None
        self._said_s = 0.0

    def send(self, frame: SiteFrame) -> None:
        match frame:
            case Feed(sound=sound):
                self._hear(sound)
            case Say():
                self._say(frame)
            case SayPrompt(call, utterance, prompt):
                self.prompts.append(prompt)
                self._say(Say(call, utterance, _CLAUSE, False))
            case Hush() if self._saying is not None:
                self._tell(PlayEnded(self._saying, CLAUSE_S / 2, False, time.monotonic()))
                self._saying = None
            case Write(text=text):
                self.written.append(text)
            case Close(reason=reason):
                self.closed = self.closed or reason
                self._tell(LineChange(LineState.CLOSED, reason))

    def _tell(self, event: object) -> None:
        assert self.line is not None
        self.line.happened(event)  # type: ignore[arg-type]

    def wrote(self, text: str) -> None:
        self._tell(ClientMessage(text))

    def hear(self, num_windows: int, probability: float) -> None:
        """So much of the caller's sound."""
        pcm = bytes(1024 * num_windows)
        speech = (probability,) * num_windows
        self._tell(CallerSound(self._media_s, speech, pcm, time.monotonic()))
        self._media_s += num_windows * WINDOW_S

    def _hear(self, sound: bytes) -> None:
        self._fed_s += len(sound) / 2 / SAID_HZ
        num_windows = int((self._fed_s - self._media_s) / WINDOW_S)
        if num_windows:
            self.hear(num_windows, 1.0 if SPEECH in sound else 0.0)

    def _say(self, say: Say) -> None:
        if isinstance(self.line, LaneLine):
            self.line.sounds.put(LaneSound(say.call, say.utterance, say.pcm))
        self._said_s += len(say.pcm) / 2 / SAID_HZ
        if self._saying is None and say.pcm:
            self._saying = say.utterance
            self._tell(PlayBegan(say.utterance, time.monotonic()))
        if say.is_last and self.plays and self._saying is not None:
            self._tell(PlayEnded(say.utterance, self._said_s, True, time.monotonic()))
            self._saying = None


class Lines:
    """Opens lines; the last one's worker is at hand."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.formats: list[LaneFormat] = []
        self.plays = True
        self.offers: list[str] = []
        self.num_free = 1
        """0: all lines are busy."""
        self.kept: dict[int, bytes] = {}

    def keep(self, prompt: int, pcm: bytes) -> None:
        self.kept[prompt] = pcm

    @property
    def stats(self) -> dict[int, WorkerStats]:
        return {}

    @property
    def num_restarts(self) -> int:
        return 0

    async def open_lane(self, format_: LaneFormat, *, is_paced: bool = False) -> LaneLine:
        self.formats.append(format_)
        worker = self._worker()
        line = worker.line = LaneLine(len(self.workers), worker)
        line.happened(LineChange(LineState.CONNECTED))
        return line

    async def accept(self, offer_sdp: str, *, is_spare: bool = False) -> tuple[CallLine, str]:
        if self.num_free == 0 and not is_spare:
            raise LinesBusy(max_num_calls=0)
        self.offers.append(offer_sdp)
        worker = self._worker()
        line = worker.line = _Call(len(self.workers), worker, self.offers)
        line.happened(LineChange(LineState.CONNECTED))
        return line, "v=0\r\nanswer\r\n"

    def _worker(self) -> Worker:
        worker = Worker()
        worker.plays = self.plays
        self.workers.append(worker)
        return worker


class _Call(CallLine):
    """A call that is taken up at once."""

    def __init__(self, number: int, worker: Worker, offers: list[str]) -> None:
        super().__init__(number, worker)
        self._offers = offers

    async def ask(self, question: SiteFrame) -> str:
        assert isinstance(question, Offer)
        self._offers.append(question.sdp)
        return "v=0\r\nanother answer\r\n"


@dataclass
class FakeHearing:
    """Hears what the engine was told, from the first sound on."""

    heard: list[str | Exception]
    partial: Callable[[Heard], None] | None
    confidence: float

    def feed(self, pcm: bytes) -> None:
        if self.partial is not None and pcm:
            asyncio.get_running_loop().call_soon(self.partial, self._so_far())

    async def so_far(self) -> Heard:
        return self._so_far()

    def _so_far(self) -> Heard:
        first = self.heard[0] if self.heard else ""
        return Heard(first if isinstance(first, str) else "")

    async def finish(self) -> Heard:
        words = self.heard.pop(0)
        if isinstance(words, Exception):
            raise words
        return Heard(words, is_final=True, confidence=self.confidence)

    def drop(self) -> None:
        pass


@dataclass
class FakeEngines:
    """Recogniser and synthesiser."""

    heard: list[str | Exception] = field(default_factory=list)
    """What callers say, turn by turn."""
    confidence: float = 0.9
    spoken: list[str] = field(default_factory=list)
    holds: bool = False
    """What is said is never whole."""
    name: str = "fake"
    grade: SpeechGrade = SpeechGrade.DEMONSTRATION

    def open(
        self, *, partial: Callable[[Heard], None] | None = None, after: Hearing | None = None
    ) -> FakeHearing:
        return FakeHearing(self.heard, partial, self.confidence)

    async def back(self) -> None:
        """It was never away."""

    async def say(self, text: str) -> AsyncGenerator[Spoken, None]:
        self.spoken.append(text)
        yield Spoken(_CLAUSE)
        if self.holds:
            await asyncio.Event().wait()


class FakeVoices(Voices):
    """A site's voice."""

    def __init__(self) -> None:
        self.engines = FakeEngines()
        self.fake_lines = Lines()
        super().__init__()
        self.have(self.fake_lines, self.engines, self.engines)

    def reset(self) -> None:
        """As new."""
        self.__init__()  # type: ignore[misc]
