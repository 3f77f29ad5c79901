"""The client over an engine process that says what the test has it say."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from gateway.core.generation import Backlog, EngineLoad, FinishReason, GenerationEnd, TokenFrame
from gateway.engine.client import EngineClient
from gateway.engine.frames import Batch, Load, Ready, Start, Submit
from gateway.engine.process import EngineProcess
from tests.engine.streams import events_of, load_when, make_request, run_bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.generation import GenerationRequest
    from gateway.engine.frames import SiteFrame, WorkerFrame

    Receive = Callable[[list[WorkerFrame]], None]

_LOAD = EngineLoad(0.0, 8, 0, 0.001, 0.01, 9.0, 9.0)
_BEAT_S = 0.02


class ScriptedWorker:
    """An EngineProcess without a process."""

    pid = 0
    num_heard = 0

    def __init__(self) -> None:
        self.submits: list[Submit] = []
        self.is_gone = asyncio.Event()
        self.is_lost = False
        self.say: Receive = list.clear

    def send(self, frame: SiteFrame) -> None:
        if isinstance(frame, Submit):
            self.submits.append(frame)

    def listen(self, receive: Receive) -> None:
        self.say = receive

    async def lost(self) -> None:
        await self.is_gone.wait()

    async def log_stderr(self) -> None:
        pass

    def kill(self) -> None:
        self.is_gone.set()

    async def close(self) -> int:
        return 1

    async def beat(self) -> None:
        """Be heard from, with nothing to say."""
        while True:
            self.say([Load(_LOAD, 0)])
            await asyncio.sleep(_BEAT_S)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[ScriptedWorker]:
    """Every process that is started."""
    started: asyncio.Queue[ScriptedWorker] = asyncio.Queue()

    async def spawn(start: Start) -> tuple[EngineProcess, Ready]:
        worker = ScriptedWorker()
        started.put_nowait(worker)
        return cast("EngineProcess", worker), Ready(512, 256, 8, 0.0, _LOAD)

    monkeypatch.setattr(EngineProcess, "spawn", spawn)
    return started


def _due_in(seconds: float, seed: int = 1) -> GenerationRequest:
    deadline_s = time.monotonic() + seconds
    return msgspec.structs.replace(make_request(seed), first_token_deadline_s=deadline_s)


def test_a_suspect_that_is_held_back_ends_at_its_deadline(
    workers: asyncio.Queue[ScriptedWorker],
) -> None:
    async def main() -> None:
        async with EngineClient(Start("")) as engine, asyncio.TaskGroup() as group:
            group.create_task(events_of(engine, make_request(1)))
            held_back = group.create_task(events_of(engine, _due_in(1.0, seed=2)))
            await load_when(engine, lambda load: load.num_queued == 2)
            for _ in range(2):
                (await workers.get()).is_gone.set()
            third = await workers.get()
            await load_when(engine, lambda load: engine.is_available)
            beating = group.create_task(third.beat())
            assert await held_back == [GenerationEnd(FinishReason.EXPIRED, 150, 0)]
            assert [submit.request.request_id for submit in third.submits] == ["1"]
            beating.cancel()
            third.say([Batch(((third.submits[0].key, GenerationEnd(FinishReason.STOP, 1, 0)),))])

    run_bounded(main())


def test_an_engine_that_is_heard_from_may_begin_late(
    workers: asyncio.Queue[ScriptedWorker],
) -> None:
    async def main() -> None:
        async with EngineClient(Start("")) as engine, asyncio.TaskGroup() as group:
            worker = await workers.get()
            request = _due_in(0.1)
            asked = group.create_task(events_of(engine, request))
            await load_when(engine, lambda load: load.num_queued == 1)
            beating = group.create_task(worker.beat())
            await asyncio.sleep(0.3)
            beating.cancel()
            frame, end = TokenFrame(0, (7,)), GenerationEnd(FinishReason.STOP, 150, 1)
            worker.say([Batch(((1, frame), (1, end)))])
            assert await asked == [frame, end]

    run_bounded(main())


def test_an_engine_without_work_may_be_silent(
    workers: asyncio.Queue[ScriptedWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.engine.client._STALL_LIMIT_S", 0.04)

    async def main() -> None:
        async with EngineClient(Start("")) as engine, asyncio.TaskGroup() as group:
            worker = await workers.get()
            await asyncio.sleep(0.2)
            assert not worker.is_gone.is_set()
            asked = group.create_task(events_of(engine, make_request(1)))
            await worker.is_gone.wait()
            asked.cancel()

    run_bounded(main())


def test_the_figures_of_an_engine_age_only_while_it_has_work(
    workers: asyncio.Queue[ScriptedWorker],
) -> None:
    async def main() -> None:
        async with EngineClient(Start("")) as engine, asyncio.TaskGroup() as group:
            worker = await workers.get()
            assert time.monotonic() - engine.load().as_of_s < 1.0
            said_s = time.monotonic()
            worker.say([Load(msgspec.structs.replace(_LOAD, as_of_s=said_s, num_active=1), 0)])
            assert engine.load().as_of_s == said_s
            worker.say([Load(msgspec.structs.replace(_LOAD, as_of_s=said_s), 0)])
            assert engine.load().as_of_s > said_s
            asked = group.create_task(events_of(engine, make_request(1)))
            await load_when(engine, lambda load: load.num_queued == 1)
            assert engine.load().as_of_s == said_s
            asked.cancel()

    run_bounded(main())


def test_of_a_dead_engines_work_nothing_is_counted_twice(
    workers: asyncio.Queue[ScriptedWorker],
) -> None:
    async def main() -> None:
        async with EngineClient(Start("")) as engine, asyncio.TaskGroup() as group:
            worker = await workers.get()
            asked = group.create_task(events_of(engine, make_request(1, num_prompt=150)))
            await load_when(engine, lambda load: load.queued_prompt_tokens == 150)
            busy = msgspec.structs.replace(
                _LOAD, num_active=1, backlog=(Backlog(), Backlog(0, 150), Backlog())
            )
            worker.say([Load(busy, 1)])
            worker.is_gone.set()
            load = await load_when(engine, lambda load: not engine.is_available)
            assert (load.num_active, load.queued_prompt_tokens) == (0, 150)
            asked.cancel()

    run_bounded(main())
