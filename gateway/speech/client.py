"""The site's speech engines: recognisers and a voice in processes of their own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

import msgspec

from gateway.core.errors import SetupError
from gateway.core.speech_errors import SpeechBusy, SpeechError, SpeechLost
from gateway.core.voice_line import HEARD_HZ
from gateway.runtime.tasks import first_cause
from gateway.speech.frames import (
    Ask,
    Open,
    Over,
    Piece,
    Result,
    Say,
    Sound,
    StartRecogniser,
    StartVoice,
)
from gateway.speech.port import Heard, SpeechGrade, Spoken
from gateway.speech.process import SpeechProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from types import TracebackType

    from gateway.config.speech import Speech
    from gateway.speech.frames import WorkerFrame
    from gateway.speech.port import Hearing

MAX_HEARING_S = 120.0
"""Of sound in one hearing; what is fed beyond is not heard."""
_MAX_HEARING_BYTES = int(MAX_HEARING_S * HEARD_HZ) * 2
_PATIENCE_S = 3.0
"""With a voice that is started again; it takes some 0.3 s."""
_MAX_NUM_CLAUSES = 256
"""Waiting for one voice; each takes some 30 ms."""


class EngineState(msgspec.Struct, frozen=True):
    """What stands behind a port."""

    name: str = ""
    """Engine and model or voice; empty: there is none."""
    grade: SpeechGrade | None = None
    problem: str = ""
    """Why there is none: the cause, then after "; " the mend. Empty if none was asked for."""


class SpeechService:
    """What the configuration asks for, running; an async context manager.

    Entering starts the processes. An engine that is set to `auto` and not to be had leaves its port
    None and says why in its state; one that is named and not to be had raises SetupError.
    """

    def __init__(self, config: Speech) -> None:
        self._config = config
        self.recogniser: ProcessRecogniser | None = None
        self.synthesiser: ProcessSynthesiser | None = None
        self.recogniser_state = EngineState()
        self.voice_state = EngineState()
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start what is configured, all at the same time. Raises SetupError."""
        await self._exit.__aenter__()
        try:
            self._tasks = await self._exit.enter_async_context(asyncio.TaskGroup())
            with first_cause():
                async with asyncio.TaskGroup() as starting:
                    starting.create_task(self._start_recogniser())
                    starting.create_task(self._start_voice())
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes; what is under way is lost."""
        await self._exit.aclose()

    async def _start_recogniser(self) -> None:
        config = self._config
        if config.recogniser == "none":
            return
        start = StartRecogniser(
            config.recogniser, str(config.hearing_path), config.max_num_hearings
        )
        processes = [SpeechProcess(start, name="recogniser") for _ in range(config.num_recognisers)]
        self.recogniser_state = await self._begin(processes, config.recogniser)
        if self.recogniser_state.name:
            self.recogniser = ProcessRecogniser(
                processes, self.recogniser_state, config.max_num_hearings
            )

    async def _start_voice(self) -> None:
        config = self._config
        if config.voice == "none":
            return
        start = StartVoice(config.voice, config.voice_directory, config.voice_name)
        processes = [SpeechProcess(start, name="voice") for _ in range(config.num_voices)]
        self.voice_state = await self._begin(processes, config.voice)
        if self.voice_state.name:
            self.synthesiser = ProcessSynthesiser(processes, self.voice_state)

    async def _begin(self, processes: Sequence[SpeechProcess], engine: str) -> EngineState:
        """Run and watch over processes, or say why there are none."""
        for process in processes:
            self._exit.push_async_callback(process.close)
        try:
            with first_cause():
                async with asyncio.TaskGroup() as starting:
                    begun = [starting.create_task(process.begin()) for process in processes]
        except SetupError as error:
            if engine != "auto":
                raise
            return EngineState(problem=str(error))
        for process in processes:
            watch = self._tasks.create_task(process.watch(), name=process.name)
            self._exit.callback(watch.cancel)
        ready = begun[0].result()
        return EngineState(ready.name, ready.grade)


class _Port:
    """What both ports know of their engine."""

    def __init__(self, processes: Sequence[SpeechProcess], state: EngineState) -> None:
        self._processes = processes
        self.name = state.name
        self.grade = state.grade or SpeechGrade.DEMONSTRATION

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [process.pid for process in self._processes if process.pid is not None]

    @property
    def restarts(self) -> int:
        """How often a process was started again."""
        return sum(process.restarts for process in self._processes)

    async def back(self) -> None:
        """Return when a process runs, at once if one does."""
        await self._least_busy().back()

    def _least_busy(self) -> SpeechProcess:
        running = [process for process in self._processes if process.pid is not None]
        return min(running or self._processes, key=lambda process: process.num_open)


class ProcessRecogniser(_Port):
    """A `port.Recogniser` in processes of its own."""

    def __init__(
        self, processes: Sequence[SpeechProcess], state: EngineState, max_num_hearings: int
    ) -> None:
        super().__init__(processes, state)
        self._max_num_hearings = max_num_hearings

    def open(
        self, *, partial: Callable[[Heard], None] | None = None, after: Hearing | None = None
    ) -> ProcessHearing:
        """Begin to hear; see the port. Raises SpeechLost and SpeechBusy."""
        process = self._least_busy()
        if process.num_open >= self._max_num_hearings:
            raise SpeechBusy(limit=self._max_num_hearings * len(self._processes))
        caller = after.caller if isinstance(after, ProcessHearing) else ""
        return ProcessHearing(process, partial, caller)


class ProcessHearing:
    """A `port.Hearing` in a process."""

    def __init__(
        self, process: SpeechProcess, partial: Callable[[Heard], None] | None, caller: str
    ) -> None:
        self.caller = caller
        """What helps the engine to hear this caller again."""
        self._process = process
        self._partial = partial
        self._answers: list[asyncio.Future[Heard]] = []
        self._error: SpeechError | None = None
        self._num_bytes = 0
        self._key = process.open(self._receive, self._lose)
        process.send(Open(self._key, caller))

    def feed(self, pcm: bytes) -> None:
        """More sound; beyond `MAX_HEARING_S` it is not heard."""
        if self._error is None and self._num_bytes < _MAX_HEARING_BYTES:
            self._num_bytes += len(pcm)
            self._process.send(Sound(self._key, pcm))

    async def so_far(self) -> Heard:
        """What all the sound that was fed says until now. Raises SpeechLost, SpeechError."""
        return await self._ask(is_end=False)

    async def finish(self) -> Heard:
        """The final result. Raises SpeechLost, SpeechError."""
        try:
            return await self._ask(is_end=True)
        finally:
            self.drop()

    def drop(self) -> None:
        """Nobody wants the result. Harmless after the end."""
        self._process.drop(self._key)
        self._error = self._error or SpeechError("the hearing has ended")

    async def _ask(self, *, is_end: bool) -> Heard:
        if self._error is not None:
            raise self._error
        answer: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._process.send(Ask(self._key, is_end=is_end))
        return await answer

    def _receive(self, frame: WorkerFrame) -> None:
        match frame:
            case Result(_, heard, is_answer, caller):
                if not is_answer:
                    if self._partial is not None:
                        # Not from here: what goes wrong there must not end the process's pipe.
                        asyncio.get_running_loop().call_soon(self._partial, heard)
                    return
                answer = self._answers.pop(0)
                if heard.is_final:
                    self.caller = caller or self.caller
                    self._process.settle(self._key)
                if not answer.done():
                    answer.set_result(heard)
            case Over(_, problem):
                self._process.settle(self._key)
                self._fail(SpeechError(f"the recogniser failed: {problem}"))

    def _lose(self) -> None:
        self._fail(SpeechLost("the recogniser ended while it listened; say it again"))

    def _fail(self, error: SpeechError) -> None:
        self._error = error
        answers, self._answers = self._answers, []
        for answer in answers:
            if not answer.done():
                answer.set_exception(error)


class ProcessSynthesiser(_Port):
    """A `port.Synthesiser` in processes of its own."""

    async def say(self, text: str) -> AsyncGenerator[Spoken, None]:
        """A clause as sound. Raises SpeechLost, SpeechBusy and SpeechError."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self.back()
        process = self._least_busy()
        if process.num_open >= _MAX_NUM_CLAUSES:
            raise SpeechBusy(limit=_MAX_NUM_CLAUSES * len(self._processes))
        # Bounded by the clause: a voice makes no more sound than its text has.
        pieces: asyncio.Queue[Spoken | SpeechError | None] = asyncio.Queue()

        def receive(frame: WorkerFrame) -> None:
            match frame:
                case Piece(_, spoken):
                    pieces.put_nowait(spoken)
                case Over(_, problem):
                    process.settle(key)
                    failed = SpeechError(f"the voice failed: {problem}") if problem else None
                    pieces.put_nowait(failed)

        def lose() -> None:
            pieces.put_nowait(SpeechLost("the voice ended while it spoke"))

        key = process.open(receive, lose)
        try:
            process.send(Say(key, text))
            while (piece := await pieces.get()) is not None:
                if isinstance(piece, SpeechError):
                    raise piece
                yield piece
        finally:
            process.drop(key)
