"""One speech process, started again whenever it ends.

What was under way when it ended is lost: whoever waits for it is told.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gateway.core.errors import SetupError
from gateway.core.speech_errors import SpeechLost, SpeechUnavailable
from gateway.runtime.child_process import ChildDied, ChildProcess
from gateway.speech.frames import Drop, Failed, Ready, worker_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.speech.frames import SiteFrame, StartRecogniser, StartVoice, WorkerFrame

    Receive = Callable[[WorkerFrame], None]
    Lose = Callable[[], None]

_log = logging.getLogger(__name__)

_MODULE: Final = "gateway.speech.worker"
_START_LIMIT_S = 60.0  # a large recogniser from a cold disk
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.05, 5.0


class SpeechProcess:
    """A recogniser's or a voice's process, and who waits for what in it."""

    def __init__(self, start: StartRecogniser | StartVoice, *, name: str) -> None:
        self.name = name
        self.restarts = 0
        self._start = start
        self._child: ChildProcess[SiteFrame, WorkerFrame] | None = None
        self._waiting: dict[int, tuple[Receive, Lose]] = {}
        self._last_key = 0
        self._problem = "it is started again"
        self._is_running = asyncio.Event()

    @property
    def num_open(self) -> int:
        """Hearings or clauses under way."""
        return len(self._waiting)

    @property
    def pid(self) -> int | None:
        """The process id, while there is one."""
        return None if self._child is None or self._child.is_lost else self._child.pid

    async def begin(self) -> Ready:
        """Start the process. Raises SetupError with its reason."""
        child: ChildProcess[SiteFrame, WorkerFrame]
        try:
            child, said = await ChildProcess.start(
                _MODULE, self._start, worker_frames(), name=self.name, limit_s=_START_LIMIT_S
            )
        except (ChildDied, OSError, TimeoutError) as error:
            reason = str(error) or f"it says nothing for {_START_LIMIT_S:g} s"
            raise SpeechUnavailable(f"the {self.name} does not start: {reason}") from error
        if not isinstance(said, Ready):
            await child.close()
            raise SetupError(said.message if isinstance(said, Failed) else f"it said {said!r}")
        self._child = child
        child.listen(self._receive)
        self._is_running.set()
        return said

    async def watch(self) -> None:
        """Keep a begun process running until cancelled."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            if self._child is not None:
                await self._attend(self._child)
            await asyncio.sleep(backoff_s)
            try:
                await self.begin()
            except SetupError as error:
                self._problem = str(error)
                _log.error("the %s does not start: %s", self.name, error)
                backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
            else:
                self.restarts += 1
                backoff_s = _FIRST_BACKOFF_S
                _log.info("the %s is back: process %d", self.name, self.pid)

    async def back(self) -> None:
        """Return when the process runs."""
        await self._is_running.wait()

    def open(self, receive: Receive, lose: Lose) -> int:
        """A key for new work: its frames go to `receive`, `lose` is called if they cannot come.

        Raises SpeechLost while there is no process.
        """
        if self.pid is None:
            raise SpeechLost(f"the {self.name} ended; {self._problem}")
        self._last_key += 1
        self._waiting[self._last_key] = (receive, lose)
        return self._last_key

    def send(self, frame: SiteFrame) -> None:
        """Queue a frame; where there is no process any more it goes nowhere."""
        if self._child is not None:
            self._child.send(frame)

    def settle(self, key: int) -> None:
        """Nothing more is expected for a key."""
        self._waiting.pop(key, None)

    def drop(self, key: int) -> None:
        """Nobody wants what a key stands for. Harmless if it is settled."""
        if self._waiting.pop(key, None) is not None:
            self.send(Drop(key))

    async def close(self) -> None:
        """End the process; what is under way is lost."""
        if self._child is not None:
            await self._child.close()
            self._child = None
        self._lose_all()

    async def _attend(self, child: ChildProcess[SiteFrame, WorkerFrame]) -> None:
        async with asyncio.TaskGroup() as group:
            log = group.create_task(child.log_stderr())
            await child.lost()
            self._is_running.clear()
            self._problem = "it is started again"
            num_lost = self.num_open
            self._lose_all()
            status = await child.close()
            self._child = None
            log.cancel()
        _log.error("the %s ended (status %d) with %d under way", self.name, status, num_lost)

    def _lose_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, lose in waiting.values():
            lose()

    def _receive(self, frames: list[WorkerFrame]) -> None:
        for frame in frames:
            if isinstance(frame, (Ready, Failed)):
                raise ValueError("a speech process is ready once")
            if (waiting := self._waiting.get(frame.key)) is not None:
                waiting[0](frame)
