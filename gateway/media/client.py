"""The site's voice workers: processes with one UDP port each and all of their calls.

A call goes to the worker with the fewest and stays there. A worker that dies ends its lines and is
started again; their calls may go on over new lines.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self, TypeVar

from gateway.core.call_errors import VoiceUnavailable
from gateway.core.voice_line import LineChange, LineState
from gateway.media.frames import (
    Answer,
    Failed,
    Happened,
    Keep,
    LaneSound,
    Offer,
    OpenLane,
    Ready,
    Refused,
    SoundSettings,
    Start,
    WorkerStats,
    worker_frames,
)
from gateway.media.lines import CallLine, LaneLine, WorkerLine
from gateway.runtime.child_process import ChildDied, ChildProcess
from gateway.runtime.tasks import first_cause

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from gateway.config.voice import Voice
    from gateway.core.voice_line import LineEvent
    from gateway.media.frames import LaneFormat, SiteFrame, WorkerFrame

_log = logging.getLogger(__name__)

_START_LIMIT_S = 30.0
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.05, 5.0
_SETTLED_S = 10.0
"""A worker that ends sooner is started again later and later."""

_Line = TypeVar("_Line", bound=WorkerLine)


def starts_of(voice: Voice) -> tuple[Start, ...]:
    """What each of the configured workers is started with."""
    return tuple(
        Start(
            host=voice.host,
            port=voice.port + index if voice.port else 0,
            advertised_host=voice.advertised_host,
            max_num_calls=voice.max_calls,
            calls_per_s=voice.calls_per_s,
            lost_s=voice.lost_s,
            grace_s=voice.grace_s,
            sound=SoundSettings(bitrate_bps=voice.bitrate_bps, complexity=voice.complexity),
        )
        for index in range(voice.workers)
    )


class VoiceWorkers:
    """All voice workers of a site; an async context manager.

    Entering starts the processes and returns when all are ready, or raises VoiceUnavailable with
    the reason. Leaving ends them, and the calls that are left.
    """

    def __init__(self, starts: Sequence[Start]) -> None:
        self._workers = [_Worker(start) for start in starts]
        self._last_number = 0
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start the workers. Raises VoiceUnavailable."""
        tasks = await self._exit.enter_async_context(asyncio.TaskGroup())
        try:
            with first_cause():
                async with asyncio.TaskGroup() as starting:
                    for worker in self._workers:
                        starting.create_task(worker.start())
        except BaseException:
            for worker in self._workers:
                await worker.close()
            await self._exit.aclose()
            raise
        for worker in self._workers:
            worker.supervisor = tasks.create_task(worker.supervise(), name="voice supervisor")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the workers."""
        for worker in self._workers:
            if worker.supervisor is not None:
                worker.supervisor.cancel()
            await worker.close()
        await self._exit.aclose()

    @property
    def ports(self) -> tuple[int, ...]:
        """The UDP ports, of the workers that run."""
        return tuple(worker.port for worker in self._workers if worker.is_available)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids, of the workers that run."""
        return tuple(pid for worker in self._workers if (pid := worker.pid) is not None)

    @property
    def num_lines(self) -> int:
        """Calls and lanes under way."""
        return sum(len(worker.lines) for worker in self._workers)

    @property
    def stats(self) -> dict[int, WorkerStats]:
        """What each worker that runs said of itself last, at most a second ago, by its place."""
        workers = enumerate(self._workers)
        return {place: worker.stats for place, worker in workers if worker.stats is not None}

    @property
    def num_restarts(self) -> int:
        """How often a worker was started again."""
        return sum(worker.num_restarts for worker in self._workers)

    def keep(self, prompt: int, pcm: bytes) -> None:
        """Have a prompt ready wherever there are lines: int16, mono, `SAID_HZ`."""
        for worker in self._workers:
            worker.keep(Keep(prompt, pcm))

    async def accept(self, offer_sdp: str, *, is_spare: bool = False) -> tuple[CallLine, str]:
        """A new call and the answer to its offer. Raises OfferRefused.

        A spare line is there when all others are busy, for a caller who is told that they are.
        """
        worker = self._least_loaded()
        line = worker.add(CallLine(self._number(), worker))
        return line, await worker.open(line, Offer(line.number, offer_sdp, is_spare))

    async def open_lane(self, format_: LaneFormat, *, is_paced: bool = False) -> LaneLine:
        """A line for a client whose sound comes another way. Raises OfferRefused.

        What is paced comes into `sounds` when its time is; else all that is said comes at once,
        for a client that keeps it and plays it.
        """
        worker = self._least_loaded()
        line = worker.add(LaneLine(self._number(), worker))
        await worker.open(line, OpenLane(line.number, format_, is_paced))
        return line

    def _least_loaded(self) -> _Worker:
        available = [worker for worker in self._workers if worker.is_available]
        if not available:
            raise VoiceUnavailable("no voice worker runs now; call again in a moment")
        return min(available, key=lambda worker: len(worker.lines))

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number


class _Worker:
    """One worker, through all of its processes."""

    def __init__(self, start: Start) -> None:
        self.lines: dict[int, WorkerLine] = {}
        self.port = 0
        self.stats: WorkerStats | None = None
        self.num_restarts = 0
        self.supervisor: asyncio.Task[None] | None = None
        self._start = start
        self._began_s = 0.0
        self._kept: list[Keep] = []
        self._process: ChildProcess[SiteFrame, WorkerFrame] | None = None

    @property
    def is_available(self) -> bool:
        return self._process is not None and not self._process.is_lost

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def send(self, frame: SiteFrame) -> None:
        if self._process is not None:
            self._process.send(frame)

    def keep(self, prompt: Keep) -> None:
        self._kept.append(prompt)
        self.send(prompt)

    def add(self, line: _Line) -> _Line:
        self.lines[line.number] = line
        return line

    async def open(self, line: WorkerLine, question: SiteFrame) -> str:
        try:
            return await line.ask(question)
        except BaseException:
            line.close("nobody waits for the answer")
            self.lines.pop(line.number, None)
            raise

    async def start(self) -> None:
        """Start a process. Raises VoiceUnavailable."""
        start: SiteFrame = self._start
        try:
            process, first = await ChildProcess.start(
                "gateway.media.worker",
                start,
                worker_frames(),
                name="voice worker",
                limit_s=_START_LIMIT_S,
            )
        except (ChildDied, OSError, TimeoutError) as error:
            raise VoiceUnavailable(f"the voice worker did not start: {error}") from error
        if not isinstance(first, Ready):
            await process.close()
            reason = first.message if isinstance(first, Failed) else f"it said {type(first)}"
            raise VoiceUnavailable(f"the voice worker cannot serve: {reason}")
        self._process, self.port = process, first.port
        self._began_s = time.monotonic()
        process.listen(self._receive)
        for prompt in self._kept:
            self.send(prompt)

    async def supervise(self) -> None:
        """Start again after every crash, until cancelled."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            if self._process is not None:
                async with asyncio.TaskGroup() as group:
                    log = group.create_task(self._process.log_stderr())
                    await self._process.lost()
                    log.cancel()
                await self._bury(self._process)
                has_settled = time.monotonic() - self._began_s > _SETTLED_S
                backoff_s = _FIRST_BACKOFF_S if has_settled else _doubled(backoff_s)
            await asyncio.sleep(backoff_s)
            try:
                await self.start()
            except VoiceUnavailable as error:
                _log.error("%s", error)
                backoff_s = _doubled(backoff_s)
            else:
                self.num_restarts += 1

    async def close(self) -> None:
        """End the process and its lines."""
        if self._process is not None:
            await self._bury(self._process)

    async def _bury(self, process: ChildProcess[SiteFrame, WorkerFrame]) -> None:
        self._process = None
        status = await process.close()
        if status:
            _log.warning("voice worker %d ended with status %d", process.pid, status)
        lines, self.lines = self.lines, {}
        self.stats = None
        for line in lines.values():
            line.worker_lost()

    def _receive(self, frames: list[WorkerFrame]) -> None:
        """Frames came. Raises ValueError for such as make no sense."""
        for frame in frames:
            match frame:
                case Happened(events):
                    for number, event in events:
                        self._happened(number, event)
                case LaneSound(call):
                    lane = self.lines.get(call)
                    if isinstance(lane, LaneLine):
                        lane.sounds.put(frame)
                case Answer(call) | Refused(call):
                    if (line := self.lines.get(call)) is not None:
                        line.answered(frame)
                case WorkerStats():
                    self.stats = frame
                case _:
                    raise ValueError(f"{type(frame).__name__} from a worker that runs")

    def _happened(self, number: int, event: LineEvent) -> None:
        line = self.lines.get(number)
        if line is None:
            return
        line.happened(event)
        if isinstance(event, LineChange) and event.state is LineState.CLOSED:
            del self.lines[number]


def _doubled(backoff_s: float) -> float:
    return min(_MAX_BACKOFF_S, 2.0 * backoff_s)
