"""The engine process behind the client: exact tokens, whatever happens around them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pytest

from gateway.core.budget import TurnClass
from gateway.core.errors import EngineFault, EngineUnavailable
from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    Sampling,
    TokenFrame,
)
from gateway.engine.client import EngineClient
from gateway.engine.frames import QUEUE_FULL, Start

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from gateway.core.generation import EngineLoad, GenerationEvent

pytestmark = pytest.mark.flow

_T = TypeVar("_T")
_LAG_TOKENS = 128
_GREEDY = Sampling(temperature=0.0)
_CHANCE = Sampling(temperature=1.0, top_p=0.95, seed=11)
_SCHEMA = {
    "type": "object",
    "properties": {"plan": {"enum": ["basic", "large"]}, "gigabytes": {"type": "boolean"}},
    "required": ["plan", "gigabytes"],
    "additionalProperties": False,
}


def _run(main: Coroutine[object, object, _T]) -> _T:
    async def bounded() -> _T:
        async with asyncio.timeout(60):
            return await main

    return asyncio.run(bounded())


def _start(path: Path, *, num_slots: int = 8, chunk_tokens: int = 64) -> Start:
    return Start(str(path), num_slots=num_slots, num_threads=1, chunk_tokens=chunk_tokens)


def _prompt(seed: int, num_tokens: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(256), k=num_tokens))


def _request(
    seed: int = 1, *, num_prompt: int = 150, max_tokens: int = 60, sampling: Sampling = _GREEDY
) -> GenerationRequest:
    return GenerationRequest(
        str(seed), _prompt(seed, num_prompt), max_tokens, sampling, ignore_end=True
    )


def _expected(request: GenerationRequest) -> list[int]:
    """What the tiny model answers to a prompt of at least its lag."""
    tokens = list(request.prompt)
    for _ in range(request.max_tokens):
        tokens.append(tokens[-_LAG_TOKENS])
    return tokens[len(request.prompt) :]


async def _events(engine: EngineClient, request: GenerationRequest) -> list[GenerationEvent]:
    return [event async for event in engine.generate(request)]


async def _all_events(
    engine: EngineClient, requests: list[GenerationRequest]
) -> list[list[GenerationEvent]]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_events(engine, request)) for request in requests]
    return [task.result() for task in tasks]


async def _load_when(engine: EngineClient, holds: Callable[[EngineLoad], bool]) -> EngineLoad:
    while not holds(engine.load()):  # noqa: ASYNC110 (a load is a snapshot, nobody announces it)
        await asyncio.sleep(0.001)
    return engine.load()


def _tokens(events: list[GenerationEvent], first_index: int = 0) -> list[int]:
    """The tokens of a stream, after checking that frames follow one another and one end is last."""
    tokens: list[int] = []
    for event in events[:-1]:
        assert isinstance(event, TokenFrame)
        assert event.first_index == first_index + len(tokens)
        tokens += event.ids
    assert isinstance(events[-1], GenerationEnd)
    return tokens


def _end(events: list[GenerationEvent]) -> GenerationEnd:
    assert isinstance(events[-1], GenerationEnd)
    return events[-1]


def test_twenty_at_once_answer_exactly_what_each_would_alone(tiny_dir: Path) -> None:
    requests = [_request(seed, num_prompt=130 + 17 * seed, max_tokens=30) for seed in range(20)]

    async def main() -> None:
        async with EngineClient(_start(tiny_dir)) as engine:
            answers = await _all_events(engine, requests)
            for request, events in zip(requests, answers, strict=True):
                assert _tokens(events) == _expected(request)
                assert _end(events) == GenerationEnd(FinishReason.LENGTH, len(request.prompt), 30)
                first = events[0]
                assert isinstance(first, TokenFrame)
                assert len(first.ids) == 1
                assert first.prefill_s > 0.0
            load = await _load_when(engine, lambda load: load.num_active == 0)
            assert load.num_queued == load.queued_prompt_tokens == 0
            assert load.prefill_s_per_token > 0.0
            assert load.decode_step_s > 0.0

    _run(main())


@pytest.mark.parametrize("sampling", [_GREEDY, _CHANCE], ids=["greedy", "sampled"])
def test_a_random_model_answers_alike_alone_and_among_twenty(
    random_dir: Path, sampling: Sampling
) -> None:
    requests = [
        _request(seed, num_prompt=20 + 9 * seed, max_tokens=25, sampling=sampling)
        for seed in range(20)
    ]

    async def main() -> None:
        async with EngineClient(_start(random_dir, chunk_tokens=32)) as engine:
            together = [_tokens(events) for events in await _all_events(engine, requests)]
            alone = [_tokens(await _events(engine, request)) for request in requests]
        assert together == alone
        assert len({tuple(answer) for answer in together}) > 15

    _run(main())


def test_an_end_token_stops_and_is_not_delivered(tiny_dir: Path) -> None:
    end_id = 257
    prompt = (*_prompt(1, 140), 65, 66, end_id, *_prompt(2, _LAG_TOKENS - 3))

    async def main() -> None:
        async with EngineClient(_start(tiny_dir)) as engine:
            events = await _events(engine, GenerationRequest("a", prompt, 50, _GREEDY))
            assert _tokens(events) == [65, 66]
            assert _end(events) == GenerationEnd(FinishReason.STOP, len(prompt), 2)
            full = GenerationRequest("b", prompt, 9000, _GREEDY, ignore_end=True)
            events = await _events(engine, full)
            assert _end(events).reason is FinishReason.LENGTH
            assert len(prompt) + len(_tokens(events)) == engine.max_context_tokens

    _run(main())


def test_closing_a_stream_frees_its_slot(tiny_dir: Path) -> None:
    async def main() -> None:
        async with (
            EngineClient(_start(tiny_dir, num_slots=1)) as engine,
            asyncio.TaskGroup() as group,
        ):
            async with aclosing(engine.generate(_request(1, max_tokens=1800))) as stream:
                await anext(stream)
                waiting = group.create_task(_events(engine, _request(2)))
                load = await _load_when(engine, lambda load: load.num_queued == 1)
                assert load.num_active == 1
            assert _tokens(await waiting) == _expected(_request(2))
            load = await _load_when(engine, lambda load: load.num_active == 0)
            assert load.num_queued == 0

    _run(main())


_CONSTRAINED = msgspec.structs.replace(
    _request(3, num_prompt=40, max_tokens=150, sampling=_CHANCE),
    constraint=Constraint(ConstraintKind.REGEX, "([a-m]{3} ){12,30}[n-z]"),
    ignore_end=False,
)


@pytest.mark.parametrize(
    "request_",
    [
        _request(1, num_prompt=70, max_tokens=300),
        _request(2, num_prompt=70, max_tokens=300, sampling=_CHANCE),
        _CONSTRAINED,
    ],
    ids=["greedy", "sampled", "grammar"],
)
def test_a_stream_survives_kill_9_token_for_token(
    random_dir: Path, request_: GenerationRequest
) -> None:
    resumed: list[str] = []

    async def main() -> None:
        start = _start(random_dir)
        async with EngineClient(start, on_resume=resumed.append) as engine:
            unbroken = _tokens(await _events(engine, request_))
            events: list[GenerationEvent] = []
            async for event in engine.generate(request_):
                events.append(event)
                if len(events) == 1 and engine.pid is not None:
                    os.kill(engine.pid, signal.SIGKILL)
            assert _tokens(events) == unbroken
            assert len(unbroken) > 10
            assert engine.restarts == 1

    _run(main())
    assert resumed == [request_.request_id]


@pytest.mark.parametrize(
    "request_", [_request(2, num_prompt=70, sampling=_CHANCE), _CONSTRAINED], ids=["", "grammar"]
)
def test_resuming_equals_not_having_stopped(random_dir: Path, request_: GenerationRequest) -> None:
    async def main() -> None:
        async with EngineClient(_start(random_dir)) as engine:
            unbroken = await _events(engine, request_)
            tokens = _tokens(unbroken)
            for num_known in (1, len(tokens) // 2, len(tokens) - 1):
                known = tuple(tokens[:num_known])
                resumed = msgspec.structs.replace(request_, resume=known)
                events = await _events(engine, resumed)
                assert _tokens(events, num_known) == tokens[num_known:]
                end = _end(events)
                assert end.cached_tokens > 0
                assert msgspec.structs.replace(end, cached_tokens=0) == _end(unbroken)

    _run(main())


def test_a_request_that_kills_the_engine_fails_alone(tiny_dir: Path) -> None:
    async def main() -> None:
        engine = EngineClient(_start(tiny_dir))

        def kill(request_id: str) -> None:
            if request_id == "poison" and engine.pid is not None:
                os.kill(engine.pid, signal.SIGKILL)

        engine.on_resume = kill
        poison = msgspec.structs.replace(_request(1, max_tokens=1500), request_id="poison")
        bystander = _request(2, max_tokens=1500)
        async with engine, asyncio.TaskGroup() as group:
            spared = group.create_task(_events(engine, bystander))
            poisoned = engine.generate(poison)
            await anext(poisoned)
            kill("poison")
            with pytest.raises(EngineFault):
                async for _ in poisoned:
                    pass
            assert _tokens(await spared) == _expected(bystander)
            assert engine.restarts == 3

    _run(main())


def test_fifty_times_more_than_slots_wait_to_their_deadline(tiny_dir: Path) -> None:
    patient = [_request(seed, num_prompt=130, max_tokens=8) for seed in range(50)]
    late = [
        msgspec.structs.replace(
            _request(seed, num_prompt=130, max_tokens=8),
            first_token_deadline_s=time.monotonic(),
            turn_class=TurnClass.VOICE,
        )
        for seed in range(50)
    ]

    async def main() -> None:
        async with EngineClient(_start(tiny_dir, num_slots=2)) as engine:
            answers = await _all_events(engine, late + patient)
        for events in answers[:50]:
            assert events == [GenerationEnd(FinishReason.EXPIRED, 130, 0)]
        for request, events in zip(patient, answers[50:], strict=True):
            assert _tokens(events) == _expected(request)

    _run(main())


def test_a_full_queue_refuses(tiny_dir: Path) -> None:
    async def main() -> None:
        start = msgspec.structs.replace(_start(tiny_dir, num_slots=1), max_num_queued=1)
        async with EngineClient(start) as engine, asyncio.TaskGroup() as group:
            running = engine.generate(_request(1, max_tokens=1500))
            await anext(running)
            waiting = group.create_task(_events(engine, _request(2)))
            await _load_when(engine, lambda load: load.num_queued == 1)
            refused = _end(await _events(engine, _request(3)))
            assert (refused.reason, refused.error) == (FinishReason.EXPIRED, QUEUE_FULL)
            await running.aclose()
            assert _tokens(await waiting) == _expected(_request(2))

    _run(main())


def test_a_schema_holds_and_a_bad_one_fails_alone(random_dir: Path) -> None:
    def constrained(text: str) -> GenerationRequest:
        constraint = Constraint(ConstraintKind.JSON_SCHEMA, text)
        return GenerationRequest("c", _prompt(1, 30), 400, _CHANCE, constraint)

    async def main() -> None:
        async with EngineClient(_start(random_dir)) as engine:
            free = _request(1, num_prompt=30, max_tokens=100)
            good, bad, other = await _all_events(
                engine, [constrained(json.dumps(_SCHEMA)), constrained('{"type": "objekt"}'), free]
            )
            answer = json.loads(bytes(_tokens(good)))
            assert answer["plan"] in ("basic", "large")
            assert isinstance(answer["gigabytes"], bool)
            assert _end(good).reason is FinishReason.STOP
            assert _end(bad).reason is FinishReason.FAILED
            assert _end(bad).error.startswith("invalid_schema: ")
            assert len(_tokens(other)) == 100

    _run(main())


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "reason", "word"),
    [
        ((), 5, FinishReason.FAILED, "no tokens"),
        ((1,) * 600, 5, FinishReason.FAILED, "context holds 512"),
        ((1, 100_000), 5, FinishReason.FAILED, "vocabulary"),
        ((1, 2), 0, FinishReason.LENGTH, ""),
    ],
)
def test_unusable_requests_end_at_once(
    random_dir: Path, prompt: tuple[int, ...], max_tokens: int, reason: FinishReason, word: str
) -> None:
    async def main() -> None:
        async with EngineClient(_start(random_dir)) as engine:
            events = await _events(engine, GenerationRequest("x", prompt, max_tokens, _GREEDY))
            assert len(events) == 1
            assert _end(events).reason is reason
            assert word in _end(events).error
            assert engine.load().num_active == 0

    _run(main())


def test_a_consumer_that_does_not_read_stops_nobody(tiny_dir: Path) -> None:
    async def main() -> None:
        async with EngineClient(_start(tiny_dir, num_slots=2)) as engine:
            slow_request = _request(1, max_tokens=1500)
            slow = engine.generate(slow_request)
            events = [await anext(slow)]
            for seed in range(2, 6):
                assert _tokens(await _events(engine, _request(seed))) == _expected(_request(seed))
            await _load_when(engine, lambda load: load.num_active == 0)
            events += [event async for event in slow]
            assert _tokens(events) == _expected(slow_request)

    _run(main())


def test_logprobs_come_with_every_token(random_dir: Path) -> None:
    sampling = msgspec.structs.replace(_CHANCE, top_logprobs=3)

    async def main() -> None:
        async with EngineClient(_start(random_dir)) as engine:
            events = await _events(engine, _request(1, num_prompt=30, sampling=sampling))
        for event in events[:-1]:
            assert isinstance(event, TokenFrame)
            assert tuple(one.token_id for one in event.logprobs) == event.ids
            assert all(len(one.top) == 3 for one in event.logprobs)

    _run(main())


def test_a_bundle_that_cannot_be_served_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(EngineUnavailable, match="is not a directory"):
            async with EngineClient(_start(tmp_path / "nowhere")):
                pass

    _run(main())


def test_streams_fail_when_the_engine_does_not_come_back(tiny_dir: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_dir, bundle)

    async def main() -> None:
        async with EngineClient(_start(bundle)) as engine:
            stream = engine.generate(_request(1, max_tokens=1500))
            await anext(stream)
            shutil.rmtree(bundle)
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGKILL)
            with pytest.raises(EngineUnavailable, match="does not start"):
                async for _ in stream:
                    pass
            assert not engine.is_available
            with pytest.raises(EngineUnavailable):
                await anext(engine.generate(_request(2)))

    _run(main())


def test_a_frozen_engine_is_booked_on_and_replaced(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.engine.client._STALL_LIMIT_S", 0.4)

    async def main() -> None:
        async with EngineClient(_start(tiny_dir)) as engine, asyncio.TaskGroup() as group:
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGSTOP)
            answer = group.create_task(_events(engine, _request(1, num_prompt=150)))
            load = await _load_when(engine, lambda load: load.num_queued == 1)
            assert (load.num_active, load.queued_prompt_tokens) == (0, 150)
            assert _tokens(await answer) == _expected(_request(1, num_prompt=150))
            assert engine.restarts == 1

    _run(main())
