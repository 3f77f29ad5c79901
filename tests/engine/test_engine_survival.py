"""The engine process killed, frozen or away: streams go on, deadlines hold, work is counted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.errors import EngineFault, EngineUnavailable
from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
)
from gateway.engine.client import EngineClient
from gateway.engine.frames import Prepare
from gateway.engine.process import EngineProcess
from tests.engine.streams import (
    CHANCE,
    CRAWLING,
    end_of,
    events_of,
    lagged_answer,
    load_when,
    make_request,
    run_bounded,
    start_for,
    tokens_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.generation import GenerationEvent
    from gateway.engine.frames import Ready, SiteFrame, Start

pytestmark = pytest.mark.flow

_CONSTRAINED = msgspec.structs.replace(
    make_request(3, num_prompt=40, max_tokens=150, sampling=CHANCE),
    constraint=Constraint(ConstraintKind.REGEX, "([a-m]{3} ){12,30}[n-z]"),
    ignore_end=False,
)


@pytest.mark.parametrize(
    "request_",
    [
        make_request(1, num_prompt=70, max_tokens=300),
        make_request(2, num_prompt=70, max_tokens=300, sampling=CHANCE),
        _CONSTRAINED,
    ],
    ids=["greedy", "sampled", "grammar"],
)
def test_a_stream_survives_kill_9_token_for_token(
    random_dir: Path, request_: GenerationRequest
) -> None:
    resumed: list[str] = []

    async def main() -> None:
        start = start_for(random_dir)
        async with EngineClient(start, on_resume=resumed.append) as engine:
            unbroken = tokens_of(await events_of(engine, request_))
            events: list[GenerationEvent] = []
            async for event in engine.generate(request_):
                events.append(event)
                if len(events) == 1 and engine.pid is not None:
                    os.kill(engine.pid, signal.SIGKILL)
            assert tokens_of(events) == unbroken
            assert len(unbroken) > 10
            assert engine.restarts == 1

    run_bounded(main())
    assert resumed == [request_.request_id]


@pytest.mark.parametrize(
    "request_", [make_request(2, num_prompt=70, sampling=CHANCE), _CONSTRAINED], ids=["", "grammar"]
)
def test_resuming_equals_not_having_stopped(random_dir: Path, request_: GenerationRequest) -> None:
    async def main() -> None:
        async with EngineClient(start_for(random_dir)) as engine:
            unbroken = await events_of(engine, request_)
            tokens = tokens_of(unbroken)
            for num_known in (1, len(tokens) // 2, len(tokens) - 1):
                known = tuple(tokens[:num_known])
                resumed = msgspec.structs.replace(request_, resume=known)
                events = await events_of(engine, resumed)
                assert tokens_of(events, num_known) == tokens[num_known:]
                end = end_of(events)
                assert end.cached_tokens > 0
                assert msgspec.structs.replace(end, cached_tokens=0) == end_of(unbroken)

    run_bounded(main())


def test_every_engine_process_prepares_the_usual_grammar(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[SiteFrame] = []
    send = EngineProcess.send

    def recording(worker: EngineProcess, frame: SiteFrame) -> None:
        sent.append(frame)
        send(worker, frame)

    monkeypatch.setattr(EngineProcess, "send", recording)
    prepare = Prepare(Constraint(ConstraintKind.REGEX, "[a-c]{3}"))

    async def main() -> None:
        async with EngineClient(start_for(tiny_dir)) as engine:
            engine.prepare(prepare.constraint)
            assert sent.count(prepare) == 1
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGKILL)
            request = make_request(1, max_tokens=3)
            assert tokens_of(await events_of(engine, request)) == lagged_answer(request)
            assert engine.restarts == 1
            assert sent.count(prepare) == 2

    run_bounded(main())


def test_a_request_that_kills_the_engine_fails_alone(tiny_dir: Path) -> None:
    async def main() -> None:
        engine = EngineClient(start_for(tiny_dir))

        def kill(request_id: str) -> None:
            if request_id == "poison" and engine.pid is not None:
                os.kill(engine.pid, signal.SIGKILL)

        engine.on_resume = kill
        poison = msgspec.structs.replace(make_request(1, max_tokens=1500), request_id="poison")
        bystander = make_request(2, max_tokens=1500)
        async with engine, asyncio.TaskGroup() as group:
            spared = group.create_task(events_of(engine, bystander))
            poisoned = engine.generate(poison)
            await anext(poisoned)
            kill("poison")
            with pytest.raises(EngineFault):
                async for _ in poisoned:
                    pass
            assert tokens_of(await spared) == lagged_answer(bystander)
            assert engine.restarts == 4

    run_bounded(main())


def test_after_a_crash_no_stream_is_refused_for_a_full_queue(tiny_dir: Path) -> None:
    requests = [make_request(seed, max_tokens=600) for seed in range(4)]

    async def main() -> None:
        start = msgspec.structs.replace(start_for(tiny_dir, num_slots=3), max_num_queued=1)
        async with EngineClient(start) as engine, asyncio.TaskGroup() as group:
            engine.set_capacity(CRAWLING)
            running = []
            for request in requests[:3]:
                stream = engine.generate(request)
                events = [await anext(stream)]
                running.append((events, stream))
            waiting = group.create_task(events_of(engine, requests[3]))
            await load_when(engine, lambda load: load.num_queued == 1)
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGKILL)
            engine.set_capacity(1.0)
            for request, (events, stream) in zip(requests, running, strict=False):
                events += [event async for event in stream]
                assert tokens_of(events) == lagged_answer(request)
            assert tokens_of(await waiting) == lagged_answer(requests[3])
            assert engine.restarts == 1

    run_bounded(main())


def _hurried(seed: int, patience_s: float) -> GenerationRequest:
    deadline_s = time.monotonic() + patience_s
    return msgspec.structs.replace(make_request(seed), first_token_deadline_s=deadline_s)


def test_deadlines_hold_while_the_engine_is_frozen(tiny_dir: Path) -> None:
    async def main() -> None:
        async with EngineClient(start_for(tiny_dir)) as engine:
            assert engine.pid is not None
            assert engine.load().available_in_s == 0.0
            os.kill(engine.pid, signal.SIGSTOP)
            try:
                late = await events_of(engine, _hurried(1, 0.2))
                assert late == [GenerationEnd(FinishReason.EXPIRED, 150, 0)]
                load = await load_when(engine, lambda load: load.available_in_s > 0.5)
                assert load.num_queued == 1
            finally:
                os.kill(engine.pid, signal.SIGCONT)
            await load_when(engine, lambda load: load.available_in_s == load.num_queued == 0)
            assert tokens_of(await events_of(engine, make_request(2))) == lagged_answer(
                make_request(2)
            )

    run_bounded(main())


def test_deadlines_hold_and_work_is_counted_while_there_is_no_engine(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_start = asyncio.Event()
    spawn = EngineProcess.spawn

    async def held_up(start: Start) -> tuple[EngineProcess, Ready]:
        await may_start.wait()
        return await spawn(start)

    async def main() -> None:
        async with EngineClient(start_for(tiny_dir)) as engine, asyncio.TaskGroup() as group:
            assert engine.pid is not None
            monkeypatch.setattr(EngineProcess, "spawn", held_up)
            os.kill(engine.pid, signal.SIGKILL)
            load = await load_when(engine, lambda load: load.available_in_s > 0.0)
            assert load.num_queued == 0
            patient = group.create_task(events_of(engine, make_request(1)))
            late = group.create_task(events_of(engine, _hurried(2, 1.0)))
            load = await load_when(engine, lambda load: load.num_queued == 2)
            assert (load.num_active, load.queued_prompt_tokens) == (0, 300)
            assert await late == [GenerationEnd(FinishReason.EXPIRED, 150, 0)]
            assert engine.load().num_queued == 1
            assert not engine.is_available
            may_start.set()
            assert tokens_of(await patient) == lagged_answer(make_request(1))
            await load_when(engine, lambda load: load.available_in_s == load.num_queued == 0)

    run_bounded(main())


def test_a_bundle_that_cannot_be_served_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(EngineUnavailable, match="is not a directory"):
            async with EngineClient(start_for(tmp_path / "nowhere")):
                pass

    run_bounded(main())


def test_streams_fail_when_the_engine_does_not_come_back(tiny_dir: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_dir, bundle)

    async def main() -> None:
        async with EngineClient(start_for(bundle)) as engine:
            engine.set_capacity(CRAWLING)
            stream = engine.generate(make_request(1, max_tokens=1500))
            await anext(stream)
            shutil.rmtree(bundle)
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGKILL)
            with pytest.raises(EngineUnavailable, match="does not start"):
                async for _ in stream:
                    pass
            assert not engine.is_available
            with pytest.raises(EngineUnavailable, match="see the log"):
                await anext(engine.generate(make_request(2)))

    run_bounded(main())


def test_a_site_that_stood_still_does_not_blame_its_engine(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.engine.client._STALL_LIMIT_S", 0.4)

    async def main() -> None:
        async with EngineClient(start_for(tiny_dir)) as engine, asyncio.TaskGroup() as group:
            assert engine.pid is not None
            request = make_request(1, max_tokens=5)
            answer = group.create_task(events_of(engine, request))
            os.kill(engine.pid, signal.SIGSTOP)
            await load_when(engine, lambda load: load.num_queued == 1)
            time.sleep(0.8)  # noqa: ASYNC251  what the test is about: the loop stands still
            await asyncio.sleep(0.15)  # the wait that the stall was in ends
            os.kill(engine.pid, signal.SIGCONT)
            assert tokens_of(await answer) == lagged_answer(request)
            assert engine.restarts == 0

    run_bounded(main())


def test_an_engine_that_is_silent_over_its_work_is_not_ready(tiny_dir: Path) -> None:
    async def main() -> None:
        async with EngineClient(start_for(tiny_dir)) as engine, asyncio.TaskGroup() as group:
            assert engine.pid is not None
            ready = [engine.is_ready]
            os.kill(engine.pid, signal.SIGSTOP)
            answer = group.create_task(events_of(engine, make_request(1)))
            await load_when(engine, lambda load: load.available_in_s > 0.5)
            assert engine.is_available
            ready.append(engine.is_ready)
            os.kill(engine.pid, signal.SIGCONT)
            await answer
            assert [*ready, engine.is_ready] == [True, False, True]

    run_bounded(main())


def test_a_frozen_engine_is_booked_on_and_replaced(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.engine.client")
    monkeypatch.setattr("gateway.engine.client._STALL_LIMIT_S", 0.4)

    async def main() -> None:
        async with EngineClient(start_for(tiny_dir)) as engine, asyncio.TaskGroup() as group:
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGSTOP)
            answer = group.create_task(events_of(engine, make_request(1, num_prompt=150)))
            load = await load_when(engine, lambda load: load.num_queued == 1)
            assert (load.num_active, load.queued_prompt_tokens) == (0, 150)
            assert tokens_of(await answer) == lagged_answer(make_request(1, num_prompt=150))
            assert engine.restarts == 1

    run_bounded(main())
    assert "the engine is back" in caplog.text
