"""Requests to an engine behind its client, what came back, and what should have."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from gateway.core.generation import GenerationEnd, GenerationRequest, Sampling, TokenFrame
from gateway.engine.frames import Start

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from gateway.core.generation import EngineLoad, GenerationEvent
    from gateway.engine.client import EngineClient

_T = TypeVar("_T")
LAG_TOKENS = 128
"""The tiny model repeats what came so long ago."""
CRAWLING = 0.02
"""A capacity at which a long answer outlasts whatever else a busy machine does meanwhile."""
GREEDY = Sampling(temperature=0.0)
CHANCE = Sampling(temperature=1.0, top_p=0.95, seed=11)


def run_bounded(main: Coroutine[object, object, _T]) -> _T:
    async def bounded() -> _T:
        async with asyncio.timeout(120):
            return await main

    return asyncio.run(bounded())


def start_for(path: Path, *, num_slots: int = 8, chunk_tokens: int = 64) -> Start:
    return Start(str(path), num_slots=num_slots, num_threads=1, chunk_tokens=chunk_tokens)


def random_prompt(seed: int, num_tokens: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(256), k=num_tokens))


def make_request(
    seed: int = 1, *, num_prompt: int = 150, max_tokens: int = 60, sampling: Sampling = GREEDY
) -> GenerationRequest:
    return GenerationRequest(
        str(seed), random_prompt(seed, num_prompt), max_tokens, sampling, ignore_end=True
    )


def lagged_answer(request: GenerationRequest) -> list[int]:
    """What the tiny model answers to a prompt of at least its lag."""
    tokens = list(request.prompt)
    for _ in range(request.max_tokens):
        tokens.append(tokens[-LAG_TOKENS])
    return tokens[len(request.prompt) :]


async def events_of(engine: EngineClient, request: GenerationRequest) -> list[GenerationEvent]:
    return [event async for event in engine.generate(request)]


async def all_events_of(
    engine: EngineClient, requests: list[GenerationRequest]
) -> list[list[GenerationEvent]]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(events_of(engine, request)) for request in requests]
    return [task.result() for task in tasks]


async def load_when(engine: EngineClient, holds: Callable[[EngineLoad], bool]) -> EngineLoad:
    while not holds(engine.load()):  # noqa: ASYNC110 (a load is a snapshot, nobody announces it)
        await asyncio.sleep(0.001)
    return engine.load()


def tokens_of(events: list[GenerationEvent], first_index: int = 0) -> list[int]:
    """The tokens of a stream, after checking that frames follow one another and one end is last."""
    tokens: list[int] = []
    for event in events[:-1]:
        assert isinstance(event, TokenFrame)
        assert event.first_index == first_index + len(tokens)
        tokens += event.ids
    assert isinstance(events[-1], GenerationEnd)
    return tokens


def end_of(events: list[GenerationEvent]) -> GenerationEnd:
    assert isinstance(events[-1], GenerationEnd)
    return events[-1]
