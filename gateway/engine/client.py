"""The engine as the site sees it: streams that outlive the engine process.

The client starts the process, hands it requests and, when it dies, starts another, which goes on
with every live stream after the tokens received so far. The consumer of a stream notices a pause
and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

import msgspec

from gateway.core.errors import EngineError, EngineUnavailable
from gateway.core.generation import NO_BACKLOG, add_backlogs
from gateway.engine.frames import Batch, Capacity, Failed, Load, Prepare, Ready
from gateway.engine.live_stream import is_end
from gateway.engine.live_streams import LiveStreams
from gateway.engine.process import EngineProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from gateway.core.generation import (
        Constraint,
        EngineLoad,
        GenerationEvent,
        GenerationRequest,
    )
    from gateway.engine.frames import Start, WorkerFrame
    from gateway.engine.live_stream import LiveStream

_log = logging.getLogger(__name__)

_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.05, 5.0
_MAX_FAILED_STARTS = 5
"""After so many in a row, live streams fail; starting is tried on."""
_STALL_LIMIT_S = 30.0
"""A busy engine reports its load several times a second; one silent for so long is killed."""
_QUIET_WAITS = 4
"""Silence is only counted while this process listens: so many whole waits make up the limit."""
_SILENCE_S = 0.5
"""One silent for so long is not counted on."""


class EngineClient:
    """A TextEngine in a process of its own; an async context manager.

    Entering starts the process and returns when it is ready, or raises EngineUnavailable with the
    reason. The context's task group owns everything that runs; leaving ends the process and fails
    the streams that are left. `on_resume` is called with a request's id whenever its stream goes
    on in a new process. `load` may be called from any thread.
    """

    def __init__(
        self, start: Start, *, on_resume: Callable[[str], None] = lambda request_id: None
    ) -> None:
        self.start = start
        self.restarts = 0
        self._streams = LiveStreams(on_resume)
        self._worker: EngineProcess | None = None
        self._facts: Ready | None = None
        self._load: EngineLoad | None = None
        self._prepared: list[Constraint] = []
        self._capacity_ratio = 1.0
        self._has_produced = False
        self._failed_starts = 0
        self._waiting_since_s: float | None = None
        """Since when an engine with work has said nothing."""
        self._startup_s = 0.0
        self._expected_back_s = 0.0
        """When the engine process that is being started is likely ready."""
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start the engine. Raises EngineUnavailable."""
        self._tasks = await self._exit.enter_async_context(asyncio.TaskGroup())
        try:
            await self._spawn()
        except BaseException:
            await self._exit.aclose()
            raise
        self._supervisor = self._tasks.create_task(self._supervise(), name="engine supervisor")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the engine."""
        self._supervisor.cancel()
        if self._worker is not None:
            await self._worker.close()
        self._streams.fail_all(EngineUnavailable("the engine was shut down"))
        await self._exit.aclose()

    @property
    def on_resume(self) -> Callable[[str], None]:
        """Who is told that a stream goes on in a new process."""
        return self._streams.on_resume

    @on_resume.setter
    def on_resume(self, on_resume: Callable[[str], None]) -> None:
        self._streams.on_resume = on_resume

    @property
    def max_context_tokens(self) -> int:
        """Prompt and answer together."""
        return self.facts.max_context_tokens

    @property
    def facts(self) -> Ready:
        """What the engine said of itself when it was ready. Raises EngineUnavailable before."""
        if self._facts is None:
            raise EngineUnavailable("the engine has not been started")
        return self._facts

    @property
    def is_available(self) -> bool:
        """Whether a process is running and ready."""
        return self._worker is not None

    @property
    def is_ready(self) -> bool:
        """Whether a process is running and, when it has work, is heard from."""
        return self._worker is not None and not self._available_in_s(time.monotonic())

    @property
    def pid(self) -> int | None:
        """The process id of the engine, while there is one."""
        return None if self._worker is None else self._worker.pid

    def load(self) -> EngineLoad:
        """The engine's last report plus what was submitted since. Raises EngineUnavailable.

        An engine at rest has nothing to report: what it said last is true until it gets work.
        """
        load = self._load
        if load is None:
            raise EngineUnavailable("the engine has not been started")
        now_s = time.monotonic()
        has_work = self._waiting_since_s is not None or load.num_active > 0
        return msgspec.structs.replace(
            load,
            as_of_s=load.as_of_s if has_work or self._worker is None else now_s,
            backlog=add_backlogs(load.backlog, self._streams.backlog),
            available_in_s=self._available_in_s(now_s),
        )

    def _available_in_s(self, now_s: float) -> float:
        """When the engine is likely to work again; 0 while it does.

        What takes longer than it should is expected to take as long again as it is overdue.
        """
        if self._worker is None:
            return abs(self._expected_back_s - now_s)
        since_s = self._waiting_since_s
        silent_s = 0.0 if since_s is None else now_s - since_s
        return silent_s if silent_s > _SILENCE_S else 0.0

    def prepare(self, constraint: Constraint) -> None:
        """Have a constraint that many turns will bring compiled by every engine process."""
        self._prepared.append(constraint)
        if self._worker is not None:
            self._worker.send(Prepare(constraint))

    def set_capacity(self, ratio: float) -> None:
        """Let steps run for this share of the time (0 to 1), in this engine process and later."""
        self._capacity_ratio = ratio
        if self._worker is not None:
            self._worker.send(Capacity(ratio))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Run a generation; see TextEngine.

        Raises EngineUnavailable when the engine is gone and did not come back, and EngineFault
        when this request ended the engine process repeatedly.
        """
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise EngineUnavailable("the engine process does not start; see the log")
        stream = self._streams.open(request)
        if self._worker is not None and self._waiting_since_s is None:
            self._waiting_since_s = time.monotonic()
        try:
            event = await self._first_event(stream)
            yield event
            while not is_end(event):
                event = await stream.next()
                yield event
        finally:
            self._streams.close(stream)

    async def _first_event(self, stream: LiveStream) -> GenerationEvent:
        """The stream's first event, or its end when its deadline passes without an engine."""
        deadline_s = stream.request.first_token_deadline_s
        if deadline_s is None:
            return await stream.next()
        while (patience_s := self._give_up_s(stream, deadline_s) - time.monotonic()) > 0.0:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await stream.next()
        return stream.expired()

    def _give_up_s(self, stream: LiveStream, deadline_s: float) -> float:
        """Until when an engine may begin what was due at `deadline_s`.

        One that is heard from serves or expires its queue by itself; what is not in it waits here.
        """
        if not self._streams.is_in_engine(stream):
            return deadline_s
        return max(deadline_s, self._waiting_since_s or 0.0) + _SILENCE_S

    async def _spawn(self) -> None:
        """Start a process and give it what is live. Raises EngineError, OSError, TimeoutError."""
        began_s = time.monotonic()
        worker, self._facts = await EngineProcess.spawn(self.start)
        self._startup_s = time.monotonic() - began_s
        # Streams that go on in a later process go on where their tokens were computed.
        self.start = msgspec.structs.replace(self.start, accelerator=self._facts.accelerator)
        self._load = self._facts.load
        self._has_produced = False
        self._failed_starts = 0
        self._worker = worker
        self._tasks.create_task(worker.log_stderr(), name=f"engine {worker.pid} stderr")
        worker.send(Capacity(self._capacity_ratio))
        for constraint in self._prepared:
            worker.send(Prepare(constraint))
        self._streams.attach(worker.send)
        self._note_heard()
        worker.listen(self._receive)

    async def _supervise(self) -> None:
        """Watch over the process, and start again after every crash."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            if self._worker is not None:
                await self._watch(self._worker)
                backoff_s = _FIRST_BACKOFF_S if self._has_produced else _doubled(backoff_s)
                await self._bury(self._worker)
            await asyncio.sleep(backoff_s)
            try:
                await self._spawn()
            except (EngineError, OSError, TimeoutError) as error:
                self._count_failed_start(error)
                backoff_s = _doubled(backoff_s)
            else:
                self.restarts += 1
                _log.info(
                    "the engine is back after %.1f s: process %d, %d generations go on",
                    self._startup_s,
                    self.pid,
                    len(self._streams),
                )

    async def _watch(self, worker: EngineProcess) -> None:
        """Return when the process is gone; kill one that has work and stays silent."""
        num_quiet = 0
        while not worker.is_lost:
            num_heard = worker.num_heard
            with suppress(TimeoutError):
                async with asyncio.timeout(_STALL_LIMIT_S / _QUIET_WAITS):
                    await worker.lost()
                    return
            is_quiet = self._waiting_since_s is not None and worker.num_heard == num_heard
            num_quiet = num_quiet + 1 if is_quiet else 0
            if num_quiet > _QUIET_WAITS:  # the first may have begun before there was work
                _log.error("engine %d: silent for %g s, killed", worker.pid, _STALL_LIMIT_S)
                worker.kill()

    def _receive(self, frames: list[WorkerFrame]) -> None:
        """Frames came. Raises ValueError for such as make no sense."""
        for frame in frames:
            match frame:
                case Batch(events):
                    self._has_produced = True
                    self._streams.receive(events)
                case Load(load, num_submits_seen):
                    self._load = load
                    self._streams.settle(num_submits_seen)
                case Failed(message):
                    _log.error("engine: %s", message)
                case Ready():
                    raise ValueError("an engine becomes ready once")
        self._note_heard()

    def _note_heard(self) -> None:
        self._waiting_since_s = time.monotonic() if self._streams.num_in_engine else None

    async def _bury(self, worker: EngineProcess) -> None:
        """Nothing runs now, and everything that is live waits for the next process."""
        status = await worker.close()
        self._worker = None
        _log.error(
            "the engine process ended (status %d) with %d generations; starting another",
            status,
            self._streams.num_in_engine,
        )
        self._expected_back_s = time.monotonic() + _FIRST_BACKOFF_S + self._startup_s
        if self._load is not None:
            self._load = msgspec.structs.replace(self._load, num_active=0, backlog=NO_BACKLOG)
        self._streams.detach()

    def _count_failed_start(self, error: Exception) -> None:
        self._failed_starts += 1
        _log.error("the engine process does not start (%d): %s", self._failed_starts, error)
        if self._failed_starts >= _MAX_FAILED_STARTS:
            reason = f"the engine process does not start: {error}"
            self._streams.fail_all(EngineUnavailable(reason))


def _doubled(backoff_s: float) -> float:
    return min(2 * backoff_s, _MAX_BACKOFF_S)
