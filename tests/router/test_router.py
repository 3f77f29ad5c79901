import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import pytest

from gateway.core.budget import Budget
from gateway.core.errors import EngineFault, InvalidSchema, SloUnattainable
from gateway.core.generation import (
    EngineLoad,
    FinishReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    TokenFrame,
)
from gateway.core.stages import Stage, StageClock, TurnTrail
from gateway.router.router import Router

IDLE = EngineLoad(0.0, 4, 0, 0, 0, 0.001, 0.010, 20.0)


class Clock:
    """A hand-moved monotonic clock."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class ScriptedEngine:
    """Yields scripted events, moving the clock before each."""

    max_context_tokens = 128

    def __init__(self, clock: Clock, script: list[tuple[float, GenerationEvent]]) -> None:
        self._clock = clock
        self._script = script
        self.reported = IDLE
        self.num_started = 0
        self.num_closed = 0

    def load(self) -> EngineLoad:
        return self.reported

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.num_started += 1
        try:
            for after_s, event in self._script:
                self._clock.now_s += after_s
                yield event
        finally:
            self.num_closed += 1


def end(reason: FinishReason, error: str = "") -> GenerationEnd:
    return GenerationEnd(reason, prompt_tokens=3, completion_tokens=2, error=error)


ANSWER: list[tuple[float, GenerationEvent]] = [
    (0.050, TokenFrame(0, (7,), queue_s=0.010, prefill_s=0.030)),
    (0.020, TokenFrame(1, (8,))),
    (0.001, end(FinishReason.STOP)),
]


class Bench:
    """A router over a scripted engine, with a trail whose clock is moved by hand."""

    def __init__(self, script: list[tuple[float, GenerationEvent]]) -> None:
        self.clock = Clock()
        self.engine = ScriptedEngine(self.clock, script)
        self.router = Router(
            site="edge-a", engine=self.engine, max_num_queued=8, monotonic=self.clock
        )
        self.trail = TurnTrail("r", StageClock(self.clock.now_s))

    def request(self, budget: Budget) -> GenerationRequest:
        return GenerationRequest(
            "r", (1, 2, 3), 16, first_token_deadline_s=budget.first_token_deadline_s
        )

    async def collect(self, budget: Budget | None = None) -> list[GenerationEvent]:
        budget = budget or Budget(self.clock.now_s, 0.5)
        events = self.router.generate(self.request(budget), budget, self.trail)
        async with aclosing(events):
            return [event async for event in events]


def test_events_pass_through_and_stages_add_up() -> None:
    bench = Bench(ANSWER)
    events = asyncio.run(bench.collect())
    assert events == [event for _, event in ANSWER]
    durations = bench.trail.clock.durations_s()
    assert durations[Stage.QUEUE] == pytest.approx(0.010)
    assert durations[Stage.PREFILL] == pytest.approx(0.030)
    assert durations[Stage.LINK] == pytest.approx(0.010)
    assert durations[Stage.DECODE] == pytest.approx(0.021)
    assert sum(durations.values()) == pytest.approx(bench.clock.now_s - 100.0)
    assert (bench.trail.site, bench.trail.path) == ("edge-a", ["edge-a"])
    assert bench.trail.decisions[0].chosen == "edge-a"


def test_a_turn_that_cannot_meet_its_budget_is_shed_before_the_engine_is_asked() -> None:
    bench = Bench(ANSWER)
    bench.engine.reported = msgspec.structs.replace(IDLE, queued_prompt_tokens=5_000)
    with pytest.raises(SloUnattainable) as shed:
        asyncio.run(bench.collect())
    assert shed.value.estimate_s > shed.value.budget_s == 0.5
    assert shed.value.reason == "estimate_over_budget"
    assert shed.value.retry_after_s == 5.0
    assert bench.engine.num_started == 0
    assert bench.trail.decisions[0].chosen == ""


def test_a_hopeless_turn_is_shed_before_its_prompt_is_known() -> None:
    bench = Bench(ANSWER)
    budget = Budget(bench.clock.now_s, 0.5)
    bench.router.refuse_hopeless(budget, bench.trail)
    assert bench.trail.decisions == []
    bench.engine.reported = msgspec.structs.replace(IDLE, queued_prompt_tokens=5_000)
    with pytest.raises(SloUnattainable):
        bench.router.refuse_hopeless(budget, bench.trail)
    assert bench.trail.decisions[0].reason == "estimate_over_budget"


def test_after_a_tool_has_run_a_late_answer_is_not_shed() -> None:
    bench = Bench(ANSWER)
    spent = Budget(started_s=bench.clock.now_s - 9.0, first_token_s=0.5)
    request = GenerationRequest("r", (1, 2, 3), 16, first_token_deadline_s=None)

    async def scenario() -> int:
        events = bench.router.generate(request, spent, bench.trail)
        async with aclosing(events):
            return len([event async for event in events])

    assert asyncio.run(scenario()) == len(ANSWER)


def test_expiry_in_the_engine_queue_is_shed_too() -> None:
    bench = Bench([(0.6, end(FinishReason.EXPIRED))])
    with pytest.raises(SloUnattainable) as shed:
        asyncio.run(bench.collect())
    assert shed.value.reason == "expired_in_queue"
    assert shed.value.estimate_s == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ("invalid_schema: bad pattern", InvalidSchema, "bad pattern"),
        ("the request killed the engine twice", EngineFault, "killed the engine"),
    ],
)
def test_engine_failures_are_typed(error: str, kind: type[Exception], text: str) -> None:
    bench = Bench([(0.0, end(FinishReason.FAILED, error))])
    with pytest.raises(kind, match=text):
        asyncio.run(bench.collect())


def test_closing_the_stream_closes_the_engines_generation() -> None:
    bench = Bench(ANSWER)

    async def scenario() -> None:
        budget = Budget(bench.clock.now_s, 0.5)
        events = bench.router.generate(bench.request(budget), budget, bench.trail)
        async for _ in events:
            break
        await events.aclose()

    asyncio.run(scenario())
    assert (bench.engine.num_started, bench.engine.num_closed) == (1, 1)


def test_a_slow_consumer_shows_as_egress() -> None:
    bench = Bench(ANSWER)

    async def scenario() -> None:
        budget = Budget(bench.clock.now_s, 0.5)
        events = bench.router.generate(bench.request(budget), budget, bench.trail)
        async with aclosing(events):
            async for _ in events:
                bench.clock.now_s += 0.1

    asyncio.run(scenario())
    durations = bench.trail.clock.durations_s()
    assert durations[Stage.EGRESS] == pytest.approx(0.3)
    assert durations[Stage.DECODE] == pytest.approx(0.021)
