import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import pytest

from gateway.core.budget import Budget, TurnClass
from gateway.core.decision_record import DecisionRecord
from gateway.core.errors import EngineFault, GatewayError, InvalidSchema, SloUnattainable
from gateway.core.generation import (
    Backlog,
    Constraint,
    ConstraintKind,
    EngineLoad,
    FinishReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    Refusal,
    TokenFrame,
)
from gateway.core.route_choice import Here
from gateway.core.stages import Stage, StageClock, TurnTrail
from gateway.router.router import Router

IDLE = EngineLoad(0.0, 4, 0, 0.001, 0.010, 20.0, 20.0)
BUSY = msgspec.structs.replace(IDLE, backlog=(Backlog(), Backlog(0, 5_000), Backlog()))


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
        self.requests: list[GenerationRequest] = []
        self.num_closed = 0

    def load(self) -> EngineLoad:
        return self.reported

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.requests.append(request)
        try:
            for after_s, event in self._script:
                self._clock.now_s += after_s
                yield event
        finally:
            self.num_closed += 1


def end(reason: FinishReason, error: str = "", refusal: Refusal | None = None) -> GenerationEnd:
    return GenerationEnd(reason, prompt_tokens=3, completion_tokens=2, error=error, refusal=refusal)


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
        here = Here("edge-a", max_num_queued=8)
        self.router = Router(here, self.engine, monotonic=self.clock)
        self.trail = TurnTrail("r", StageClock(self.clock.now_s))
        self.constraint: Constraint | None = None

    def request(self, budget: Budget) -> GenerationRequest:
        return GenerationRequest(
            "r",
            (1, 2, 3),
            16,
            constraint=self.constraint,
            first_token_deadline_s=budget.first_token_deadline_s,
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


def test_two_rounds_on_one_site_are_one_hop_and_pay_for_both_prompts() -> None:
    bench = Bench(ANSWER)
    for _ in range(2):
        asyncio.run(bench.collect())
    assert bench.trail.path == ["edge-a"]
    assert bench.trail.prompt_tokens == 2 * 3


def test_a_prompt_is_paid_for_as_soon_as_the_engine_has_it() -> None:
    bench = Bench(ANSWER)

    async def given_up() -> None:
        budget = Budget(bench.clock.now_s, 0.5)
        events = bench.router.generate(bench.request(budget), budget, bench.trail)
        async with aclosing(events):
            await anext(events, None)

    asyncio.run(given_up())
    assert len(bench.engine.requests) == 1
    assert bench.trail.prompt_tokens == 3


def test_a_turn_that_cannot_meet_its_budget_is_shed_before_the_engine_is_asked() -> None:
    bench = Bench(ANSWER)
    bench.engine.reported = BUSY
    with pytest.raises(SloUnattainable) as shed:
        asyncio.run(bench.collect())
    assert shed.value.budget_s == 0.5
    assert shed.value.estimate_s > 0.5
    assert shed.value.reason == "nothing_fits"
    assert shed.value.retry_after_s == 5.0
    assert bench.engine.requests == []
    assert bench.trail.prompt_tokens == 0
    assert bench.trail.decisions[0].chosen == ""


def test_a_hopeless_turn_is_shed_before_its_prompt_is_known() -> None:
    bench = Bench(ANSWER)
    budget = Budget(bench.clock.now_s, 0.5)
    bench.router.refuse_hopeless(TurnClass.AGENT, budget, bench.trail)
    bench.engine.reported = BUSY
    bench.router.refuse_hopeless(TurnClass.VOICE, budget, bench.trail)
    assert bench.trail.decisions == []
    with pytest.raises(SloUnattainable):
        bench.router.refuse_hopeless(TurnClass.AGENT, budget, bench.trail)
    assert bench.trail.decisions[0].reason == "nothing_fits"


@pytest.mark.parametrize(
    ("refusal", "reason"), [(None, "expired_in_queue"), (Refusal.QUEUE_FULL, "queue_full")]
)
def test_expiry_in_the_engine_is_shed_too_and_told_last(
    refusal: Refusal | None, reason: str
) -> None:
    bench = Bench([(0.6, end(FinishReason.EXPIRED, refusal=refusal))])
    with pytest.raises(SloUnattainable) as shed:
        asyncio.run(bench.collect())
    assert shed.value.reason == reason
    assert shed.value.estimate_s == pytest.approx(0.6)
    admitted, expired = bench.trail.decisions
    assert admitted.chosen == "edge-a"
    assert (expired.chosen, expired.reason, expired.remaining_s) == ("", reason, 0.0)
    assert bench.trail.clock.durations_s()[Stage.QUEUE] == pytest.approx(0.6)


def test_turns_that_share_a_request_id_are_told_apart() -> None:
    bench = Bench(ANSWER)
    other = TurnTrail("r", StageClock(bench.clock.now_s))

    async def scenario() -> None:
        budget = Budget(bench.clock.now_s, 0.5)
        request = bench.request(budget)
        first = bench.router.generate(request, budget, bench.trail)
        second = bench.router.generate(request, budget, other)
        async with aclosing(first), aclosing(second):
            await anext(first)
            await anext(second)
            started = [one.request_id for one in bench.engine.requests]
            bench.router.count_resume(started[0])
            bench.router.count_resume("r")
        bench.router.count_resume(started[1])

    asyncio.run(scenario())
    assert (bench.trail.num_resumes, other.num_resumes) == (1, 0)


@pytest.mark.parametrize(
    ("refusal", "kind"), [(Refusal.INVALID_SCHEMA, InvalidSchema), (None, EngineFault)]
)
def test_engine_failures_are_typed(refusal: Refusal | None, kind: type[GatewayError]) -> None:
    bench = Bench([(0.0, end(FinishReason.FAILED, "bad pattern", refusal))])
    with pytest.raises(GatewayError, match="bad pattern") as failed:
        asyncio.run(bench.collect())
    assert type(failed.value) is kind


@pytest.mark.parametrize(
    ("kind", "param"),
    [(ConstraintKind.LARK, "tools"), (ConstraintKind.JSON_SCHEMA, "response_format")],
)
def test_a_grammar_that_cannot_be_used_is_found_by_its_field(
    kind: ConstraintKind, param: str
) -> None:
    bench = Bench([(0.0, end(FinishReason.FAILED, "bad", Refusal.INVALID_SCHEMA))])
    bench.constraint = Constraint(kind, "x")
    with pytest.raises(InvalidSchema, match=f"{param}: bad") as failed:
        asyncio.run(bench.collect())
    assert failed.value.param == param


def test_closing_the_stream_closes_the_engines_generation() -> None:
    bench = Bench(ANSWER)

    async def scenario() -> None:
        budget = Budget(bench.clock.now_s, 0.5)
        events = bench.router.generate(bench.request(budget), budget, bench.trail)
        async for _ in events:
            break
        await events.aclose()

    asyncio.run(scenario())
    assert (len(bench.engine.requests), bench.engine.num_closed) == (1, 1)


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


class Kept:
    """A `DecisionSink` of what it wants."""

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted
        self.decisions: list[DecisionRecord] = []

    def wants(self, request_id: str) -> bool:
        assert request_id == "r"
        return self.wanted

    def record(self, decision: DecisionRecord) -> None:
        self.decisions.append(decision)


def test_decisions_are_kept_with_what_they_were_made_from_if_wanted() -> None:
    bench = Bench(ANSWER)
    bench.router.evidence = kept = Kept(wanted=True)
    asyncio.run(bench.collect())
    budget = Budget(bench.clock.now_s, 0.5)
    bench.router.refuse_hopeless(TurnClass.AGENT, budget, bench.trail)
    (decision,) = kept.decisions
    assert (decision.chosen, decision.ask.prompt_tokens) == ("edge-a", 3)
    assert decision.load == bench.engine.load()

    with pytest.raises(SloUnattainable):
        bench.router.refuse_hopeless(
            TurnClass.AGENT, Budget(bench.clock.now_s - 1.0, 0.5), bench.trail
        )
    assert [one.chosen for one in kept.decisions] == ["edge-a", ""]

    bench.router.evidence = unwanted = Kept(wanted=False)
    asyncio.run(bench.collect())
    assert unwanted.decisions == []
