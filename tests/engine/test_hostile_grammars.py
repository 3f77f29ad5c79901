"""Grammars made to stall the engine, sent to a real engine process: they fail, alone."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

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
from gateway.engine.frames import Start

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.flow

_PLAIN_TOKENS = 400
# Far below the second that one hostile mask takes. A busy machine may add one such pause; of each
# kind of hostile grammar there are at least two.
_LONGEST_PAUSE_S, _MAX_NUM_LONGER = 0.5, 1


def _schema(value: object) -> Constraint:
    return Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(value))


def _object(num_properties: int, first: int) -> dict[str, object]:
    properties = {f"p{number}": {"type": "string"} for number in range(first, num_properties)}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _hidden(first: str) -> Constraint:
    """Cheap until an answer has gone some way."""
    rules = ["start: A B", f"A: /{first}{{30}}/", "B: /(y|yy){5000}/"]
    return Constraint(ConstraintKind.LARK, "\n".join(rules))


_HOSTILE = [
    *(_schema({"const": "y" * (250_000 + extra)}) for extra in range(3)),
    *(_schema({"const": "y" * (60_000 + extra)}) for extra in range(3)),
    *(_schema(_object(5000, first)) for first in range(2)),
    *(Constraint(ConstraintKind.LARK, f"start: /{char * 60_000}/") for char in "xyz"),
    *(_hidden(first) for first in ("[a-z]", "[0-9]")),
    _schema({"$ref": "#"}),
    *(
        Constraint(ConstraintKind.REGEX, f"(a{{1000}}){{1000}}{{{times}}}")
        for times in range(9, 17)
    ),
]


async def _end_of(engine: EngineClient, constraint: Constraint) -> GenerationEnd:
    request = GenerationRequest("h", (1, 2, 3), 100, Sampling(seed=1), constraint)
    *_, end = [event async for event in engine.generate(request)]
    assert isinstance(end, GenerationEnd)
    return end


async def _pauses_s(engine: EngineClient, begun: asyncio.Event) -> list[float]:
    """Times between the frames of a long stream that nothing constrains."""
    sampling = Sampling(temperature=0.0)
    request = GenerationRequest("p", (1, 2, 3), _PLAIN_TOKENS, sampling, ignore_end=True)
    came_s: list[float] = []
    async for event in engine.generate(request):
        if isinstance(event, TokenFrame):
            came_s.append(time.monotonic())
            begun.set()
    return [later - earlier for earlier, later in pairwise(came_s)]


def test_hostile_grammars_stall_no_other_stream(random_dir: Path) -> None:
    async def main() -> None:
        start = Start(str(random_dir), num_slots=4, num_threads=1)
        async with (
            asyncio.timeout(120),
            EngineClient(start) as engine,
            asyncio.TaskGroup() as group,
        ):
            begun = asyncio.Event()
            plain = group.create_task(_pauses_s(engine, begun))
            await begun.wait()
            ends = [group.create_task(_end_of(engine, hostile)) for hostile in _HOSTILE]
            long_ones = [pause_s for pause_s in await plain if pause_s > _LONGEST_PAUSE_S]
            assert len(long_ones) <= _MAX_NUM_LONGER
            for end in ends:
                assert (await end).reason is FinishReason.FAILED
                assert (await end).refusal is Refusal.INVALID_SCHEMA
            assert engine.restarts == 0

    asyncio.run(main())
