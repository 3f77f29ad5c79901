"""The engine as the site sees it: streams that outlive the engine process.

The client starts the process, hands it requests and, when it dies, starts another and gives it
every live stream again, with the tokens received so far. The consumer of a stream notices a pause
and nothing else.

A generation that was in two processes when they died, without a new token in between, is a
suspect: the next process gets suspects one at a time, the next only after the one before has
produced something. A suspect whose process dies before that twice more has killed it, and fails
alone: whoever kills processes from outside would have to be very persistent to look like it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

import msgspec

from gateway.core.errors import EngineError, EngineFault, EngineUnavailable
from gateway.core.generation import NO_BACKLOG, add_backlogs
from gateway.engine.bookings import Bookings
from gateway.engine.frames import Batch, Cancel, Failed, Load, Prepare, Ready, Start, Submit
from gateway.engine.live_stream import LiveStream, is_end
from gateway.engine.process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from gateway.core.generation import Constraint, EngineLoad, GenerationEvent, GenerationRequest
    from gateway.engine.frames import WorkerFrame

_log = logging.getLogger(__name__)

_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.05, 5.0
_MAX_FAILED_STARTS = 5
"""After so many in a row, live streams fail; starting is tried on."""
_SUSPECT_CRASHES, _GUILTY_CRASHES = 2, 4
_MAX_CRASHES = 12
_STALL_LIMIT_S = 30.0
"""A busy engine reports its load several times a second; one silent for so long is killed."""
_QUIET_WAITS = 4
"""That limit in waits, each of which counts only as a whole: while the site itself stood still, it
did not listen."""
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
        self.on_resume = on_resume
        self.restarts = 0
        self._worker: WorkerProcess | None = None
        self._facts: Ready | None = None
        self._load: EngineLoad | None = None
        self._failed_starts = 0
        self._prepared: list[Constraint] = []
        self._last_key = 0
        self._streams: dict[int, LiveStream] = {}
        self._in_worker: set[int] = set()
        self._bookings = Bookings()
        self._suspects: deque[LiveStream] = deque()
        self._on_trial: LiveStream | None = None
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
        self._fail_all(EngineUnavailable("the engine was shut down"))
        await self._exit.aclose()

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
        """The engine's last report plus what was submitted since. Raises EngineUnavailable."""
        load = self._load
        if load is None:
            raise EngineUnavailable("the engine has not been started")
        return msgspec.structs.replace(
            load,
            backlog=add_backlogs(load.backlog, self._bookings.backlog),
            available_in_s=self._available_in_s(time.monotonic()),
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

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Run a generation; see TextEngine.

        Raises EngineUnavailable when the engine is gone and did not come back, and EngineFault
        when this request ended the engine process repeatedly.
        """
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise EngineUnavailable("the engine process does not start; see the log")
        self._last_key += 1
        stream = LiveStream(self._last_key, request)
        self._streams[stream.key] = stream
        try:
            if self._worker is not None:
                self._submit(self._worker, stream)
            else:
                self._bookings.book(stream.key, request)
            event = await self._first_event(stream)
            yield event
            while not is_end(event):
                event = await stream.next()
                yield event
        finally:
            self._drop(stream)

    async def _first_event(self, stream: LiveStream) -> GenerationEvent:
        """The stream's first event, or its end when its deadline passes without an engine."""
        deadline_s = stream.request.first_token_deadline_s
        if deadline_s is None:
            return await stream.next()
        while (patience_s := self._give_up_s(deadline_s) - time.monotonic()) > 0.0:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await stream.next()
        return stream.expired()

    def _give_up_s(self, deadline_s: float) -> float:
        """Until when an engine may begin what was due at `deadline_s`.

        One that is heard from serves or expires its queue by itself.
        """
        if self._worker is None:
            return deadline_s
        return max(deadline_s, self._waiting_since_s or 0.0) + _SILENCE_S

    def _submit(
        self, worker: WorkerProcess, stream: LiveStream, *, is_resubmission: bool = False
    ) -> None:
        request = stream.remaining_request()
        worker.send(Submit(stream.key, request, is_resubmission))
        self._in_worker.add(stream.key)
        self._bookings.book(stream.key, request)
        if self._waiting_since_s is None:
            self._waiting_since_s = time.monotonic()

    def _drop(self, stream: LiveStream) -> None:
        """The consumer is done with a stream: cancel what still runs."""
        if self._streams.pop(stream.key, None) is None:
            return
        if self._worker is None:
            self._bookings.cancel(stream.key)
        elif stream.key in self._in_worker:
            self._worker.send(Cancel(stream.key))
        self._leave_worker(stream)

    def _leave_worker(self, stream: LiveStream) -> None:
        self._in_worker.discard(stream.key)
        if self._on_trial is stream:
            self._try_next_suspect()

    async def _spawn(self) -> None:
        began_s = time.monotonic()
        worker, self._facts = await WorkerProcess.spawn(self.start)
        self._startup_s = time.monotonic() - began_s
        self._load = self._facts.load
        self._in_worker.clear()
        self._bookings = Bookings()
        self._waiting_since_s = None
        self._failed_starts = 0
        self._worker = worker
        for constraint in self._prepared:
            worker.send(Prepare(constraint))
        self._tasks.create_task(worker.log_stderr(), name=f"engine {worker.pid} stderr")

    async def _supervise(self) -> None:
        """Serve, and start again after every crash."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            if self._worker is not None:
                served = await self._serve(self._worker)
                self._after_crash(await self._worker.close())
                backoff_s = _FIRST_BACKOFF_S if served else min(2 * backoff_s, _MAX_BACKOFF_S)
            await asyncio.sleep(backoff_s)
            try:
                await self._spawn()
            except (EngineError, OSError, TimeoutError) as error:
                self._count_failed_start(error)
                backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
            else:
                self.restarts += 1
                _log.info(
                    "the engine is back after %.1f s: process %d, %d generations go on",
                    self._startup_s,
                    self.pid,
                    len(self._streams),
                )
                self._resume_streams()

    async def _serve(self, worker: WorkerProcess) -> bool:
        """Receive until the process is gone or stalled; whether it produced anything."""
        produced = False
        num_quiet = 0
        while True:
            try:
                async with asyncio.timeout(_STALL_LIMIT_S / _QUIET_WAITS):
                    frames = await worker.receive()
            except TimeoutError:
                num_quiet = 0 if self._waiting_since_s is None else num_quiet + 1
                if num_quiet > _QUIET_WAITS:  # the first may have begun before there was work
                    _log.error("engine %d: silent for %g s, killed", worker.pid, _STALL_LIMIT_S)
                    worker.kill()
                continue
            if not frames:
                return produced
            num_quiet = 0
            for frame in frames:
                produced |= isinstance(frame, Batch)
                self._handle(frame)
            self._waiting_since_s = time.monotonic() if self._in_worker else None

    def _handle(self, frame: WorkerFrame) -> None:
        match frame:
            case Batch(events):
                for key, event in events:
                    self._receive(key, event)
            case Load(load, num_submits_seen):
                self._load = load
                self._bookings.settle(num_submits_seen)
            case Failed(message):
                _log.error("engine: %s", message)
            case Ready():
                raise ValueError("an engine becomes ready once")

    def _receive(self, key: int, event: GenerationEvent) -> None:
        stream = self._streams.get(key)
        if stream is None:
            return
        stream.receive(event)
        if is_end(event):
            del self._streams[key]
            self._leave_worker(stream)
        elif self._on_trial is stream:
            self._try_next_suspect()

    def _after_crash(self, status: int) -> None:
        """Count the crash against the streams that were in the process."""
        self._worker = None
        _log.error(
            "the engine process ended (status %d) with %d generations; starting another",
            status,
            len(self._in_worker),
        )
        for stream in [self._streams[key] for key in self._in_worker if key in self._streams]:
            stream.num_crashes += 1
            stream.num_fruitless += 1
            guilty = stream is self._on_trial and stream.num_fruitless >= _GUILTY_CRASHES
            if guilty or stream.num_crashes >= _MAX_CRASHES:
                self._fail(stream, EngineFault("this request ended the engine process repeatedly"))
        self._in_worker.clear()
        self._on_trial = None
        self._expect_restart()

    def _expect_restart(self) -> None:
        """Nothing runs now, and everything that is live waits for the next process."""
        self._expected_back_s = time.monotonic() + _FIRST_BACKOFF_S + self._startup_s
        if self._load is not None:
            self._load = msgspec.structs.replace(self._load, num_active=0, backlog=NO_BACKLOG)
        self._bookings = Bookings()
        for stream in self._streams.values():
            self._bookings.book(stream.key, stream.request)

    def _resume_streams(self) -> None:
        """Give the new process what the old one left."""
        worker = self._worker
        live = list(self._streams.values())
        self._suspects = deque(one for one in live if one.num_fruitless >= _SUSPECT_CRASHES)
        for stream in live:
            if worker is not None and stream.num_fruitless < _SUSPECT_CRASHES:
                self._resume(worker, stream)
        self._try_next_suspect()

    def _resume(self, worker: WorkerProcess, stream: LiveStream) -> None:
        self._submit(worker, stream, is_resubmission=True)
        if stream.num_crashes:
            self.on_resume(stream.request.request_id)

    def _try_next_suspect(self) -> None:
        self._on_trial = None
        while self._suspects and self._worker is not None:
            stream = self._suspects.popleft()
            if stream.key in self._streams:
                self._on_trial = stream
                self._resume(self._worker, stream)
                return

    def _count_failed_start(self, error: Exception) -> None:
        self._failed_starts += 1
        _log.error("the engine process does not start (%d): %s", self._failed_starts, error)
        if self._failed_starts >= _MAX_FAILED_STARTS:
            self._fail_all(EngineUnavailable(f"the engine process does not start: {error}"))

    def _fail_all(self, error: EngineError) -> None:
        for stream in list(self._streams.values()):
            self._fail(stream, error)

    def _fail(self, stream: LiveStream, error: EngineError) -> None:
        del self._streams[stream.key]
        self._bookings.cancel(stream.key)
        stream.fail(error)
