"""The engine process behind the client: exact tokens, whatever else it serves."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.budget import TurnClass
from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    Refusal,
    Sampling,
    TokenFrame,
)
from gateway.engine.client import EngineClient
from tests.engine.streams import (
    CHANCE,
    CRAWLING,
    GREEDY,
    LAG_TOKENS,
    all_events_of,
    end_of,
    events_of,
    lagged_answer,
    load_when,
    make_request,
    random_prompt,
    run_bounded,
    start_for,
    tokens_of,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.flow

_SCHEMA = {
    "type": "object",
    "properties": {"plan": {"enum": ["basic", "large"]}, "gigabytes": {"type": "boolean"}},
    "required": ["plan", "gigabytes"],
    "additionalProperties": False,
}


def test_twenty_at_once_answer_exactly_what_each_would_alone(tiny_dir: Path) -> None:
    requests = [make_request(seed, num_prompt=130 + 17 * seed, max_tokens=30) for seed in range(20)]

    async def main() -> None:
        async with EngineClient(start_for(tiny_dir)) as engine:
            answers = await all_events_of(engine, requests)
            for request, events in zip(requests, answers, strict=True):
                assert tokens_of(events) == lagged_answer(request)
                assert end_of(events) == GenerationEnd(FinishReason.LENGTH, len(request.prompt), 30)
                first = events[0]
                assert isinstance(first, TokenFrame)
                assert len(first.ids) == 1
                assert first.prefill_s > 0.0
            load = await load_when(engine, lambda load: load.num_active == 0)
            assert load.num_queued == load.queued_prompt_tokens == 0
            assert load.prefill_s_per_token > 0.0
            assert load.decode_step_s > 0.0

    run_bounded(main())


@pytest.mark.parametrize("sampling", [GREEDY, CHANCE], ids=["greedy", "sampled"])
def test_a_random_model_answers_alike_alone_and_among_twenty(
    random_dir: Path, sampling: Sampling
) -> None:
    requests = [
        make_request(seed, num_prompt=20 + 9 * seed, max_tokens=25, sampling=sampling)
        for seed in range(20)
    ]

    async def main() -> None:
        async with EngineClient(start_for(random_dir, chunk_tokens=32)) as engine:
            together = [tokens_of(events) for events in await all_events_of(engine, requests)]
            alone = [tokens_of(await events_of(engine, request)) for request in requests]
        assert together == alone
        assert len({tuple(answer) for answer in together}) > 15

    run_bounded(main())


def test_an_end_token_stops_and_is_not_delivered(tiny_dir: Path) -> None:
    end_id = 257
    prompt = (*random_prompt(1, 140), 65, 66, end_id, *random_prompt(2, LAG_TOKENS - 3))

    async def main() -> None:
        async with EngineClient(start_for(tiny_dir)) as engine:
            events = await events_of(engine, GenerationRequest("a", prompt, 50, GREEDY))
            assert tokens_of(events) == [65, 66]
            assert end_of(events) == GenerationEnd(FinishReason.STOP, len(prompt), 2)
            full = GenerationRequest("b", prompt, 9000, GREEDY, ignore_end=True)
            events = await events_of(engine, full)
            assert end_of(events).reason is FinishReason.LENGTH
            assert len(prompt) + len(tokens_of(events)) == engine.max_context_tokens

    run_bounded(main())


def test_closing_a_stream_frees_its_slot(tiny_dir: Path) -> None:
    async def main() -> None:
        async with (
            EngineClient(start_for(tiny_dir, num_slots=1)) as engine,
            asyncio.TaskGroup() as group,
        ):
            engine.set_capacity(CRAWLING)
            async with aclosing(engine.generate(make_request(1, max_tokens=1800))) as stream:
                await anext(stream)
                waiting = group.create_task(events_of(engine, make_request(2)))
                load = await load_when(engine, lambda load: load.num_queued == 1)
                assert load.num_active == 1
            engine.set_capacity(1.0)
            assert tokens_of(await waiting) == lagged_answer(make_request(2))
            load = await load_when(engine, lambda load: load.num_active == 0)
            assert load.num_queued == 0

    run_bounded(main())


def test_fifty_times_more_than_slots_wait_to_their_deadline(tiny_dir: Path) -> None:
    patient = [make_request(seed, num_prompt=130, max_tokens=8) for seed in range(50)]
    late = [
        msgspec.structs.replace(
            make_request(seed, num_prompt=130, max_tokens=8),
            first_token_deadline_s=time.monotonic(),
            turn_class=TurnClass.VOICE,
        )
        for seed in range(50)
    ]

    async def main() -> None:
        async with EngineClient(start_for(tiny_dir, num_slots=2)) as engine:
            answers = await all_events_of(engine, late + patient)
        for events in answers[:50]:
            assert events == [GenerationEnd(FinishReason.EXPIRED, 130, 0)]
        for request, events in zip(patient, answers[50:], strict=True):
            assert tokens_of(events) == lagged_answer(request)

    run_bounded(main())


def test_a_full_queue_refuses(tiny_dir: Path) -> None:
    async def main() -> None:
        start = msgspec.structs.replace(start_for(tiny_dir, num_slots=1), max_num_queued=1)
        async with EngineClient(start) as engine, asyncio.TaskGroup() as group:
            engine.set_capacity(CRAWLING)
            running = engine.generate(make_request(1, max_tokens=1500))
            await anext(running)
            waiting = group.create_task(events_of(engine, make_request(2)))
            await load_when(engine, lambda load: load.num_queued == 1)
            refused = end_of(await events_of(engine, make_request(3)))
            assert (refused.reason, refused.refusal) == (FinishReason.EXPIRED, Refusal.QUEUE_FULL)
            await running.aclose()
            engine.set_capacity(1.0)
            assert tokens_of(await waiting) == lagged_answer(make_request(2))

    run_bounded(main())


def test_a_schema_holds_and_a_bad_one_fails_alone(random_dir: Path) -> None:
    def constrained(text: str) -> GenerationRequest:
        constraint = Constraint(ConstraintKind.JSON_SCHEMA, text)
        return GenerationRequest("c", random_prompt(1, 30), 400, CHANCE, constraint)

    async def main() -> None:
        async with EngineClient(start_for(random_dir)) as engine:
            free = make_request(1, num_prompt=30, max_tokens=100)
            good, bad, other = await all_events_of(
                engine, [constrained(json.dumps(_SCHEMA)), constrained('{"type": "objekt"}'), free]
            )
            answer = json.loads(bytes(tokens_of(good)))
            assert answer["plan"] in ("basic", "large")
            assert isinstance(answer["gigabytes"], bool)
            assert end_of(good).reason is FinishReason.STOP
            assert end_of(bad).reason is FinishReason.FAILED
            assert end_of(bad).refusal is Refusal.INVALID_SCHEMA
            assert "objekt" in end_of(bad).error
            assert len(tokens_of(other)) == 100

    run_bounded(main())


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
        async with EngineClient(start_for(random_dir)) as engine:
            events = await events_of(engine, GenerationRequest("x", prompt, max_tokens, GREEDY))
            assert len(events) == 1
            assert end_of(events).reason is reason
            assert word in end_of(events).error
            assert engine.load().num_active == 0

    run_bounded(main())


def test_a_consumer_that_does_not_read_stops_nobody(tiny_dir: Path) -> None:
    async def main() -> None:
        async with EngineClient(start_for(tiny_dir, num_slots=2)) as engine:
            slow_request = make_request(1, max_tokens=1500)
            slow = engine.generate(slow_request)
            events = [await anext(slow)]
            for seed in range(2, 6):
                assert tokens_of(await events_of(engine, make_request(seed))) == lagged_answer(
                    make_request(seed)
                )
            await load_when(engine, lambda load: load.num_active == 0)
            events += [event async for event in slow]
            assert tokens_of(events) == lagged_answer(slow_request)

    run_bounded(main())


def test_logprobs_come_with_every_token(random_dir: Path) -> None:
    sampling = msgspec.structs.replace(CHANCE, top_logprobs=3)

    async def main() -> None:
        async with EngineClient(start_for(random_dir)) as engine:
            events = await events_of(engine, make_request(1, num_prompt=30, sampling=sampling))
        for event in events[:-1]:
            assert isinstance(event, TokenFrame)
            assert tuple(one.token_id for one in event.logprobs) == event.ids
            assert all(len(one.top) == 3 for one in event.logprobs)

    run_bounded(main())
