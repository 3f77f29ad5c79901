"""The simulated engine against the shipped scheduler stepped one step at a time."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from math import inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.budget import TurnClass
from gateway.core.generation import Backlog
from gateway.core.scheduling import Scheduler, check
from gateway.core.step_time import Curve, StepTimes
from loadtests.sim.engine import (
    INTER_TOKEN_BUDGET_S,
    Cancel,
    Ended,
    Engine,
    EngineEffect,
    EngineEvent,
    Expired,
    FirstToken,
    Refused,
    Submit,
)
from loadtests.sim.step_costs import StepCosts

if TYPE_CHECKING:
    from collections.abc import Sequence

Script = list[tuple[float, EngineEvent]]

TIMES = StepTimes(
    name="test",
    decode=Curve((1, 2), (0.023, 0.026)),
    decode_s_per_context_token=0.0001,
    prefill=Curve((1, 4, 8), (0.011, 0.013, 0.018)),
    prefill_s_per_pair=0.00003,
    is_measured=False,
)
NUM_SLOTS, CHUNK_TOKENS, MAX_NUM_QUEUED = 2, 8, 3
LONG_CHUNKS = StepTimes(
    name="long chunks",
    decode=Curve((1, 2), (0.011, 0.012)),
    decode_s_per_context_token=0.0,
    prefill=Curve((1, 256), (0.001, 0.256)),
    prefill_s_per_pair=0.0,
    is_measured=False,
)
"""A prompt token a millisecond, however it is cut."""


def run_script(engine: Engine, script: Script) -> list[EngineEffect]:
    """As a driver does it: a wake that is due comes first."""
    effects: list[EngineEffect] = []
    for at_s, event in [*script, (inf, None)]:
        while engine.wake_at_s <= at_s and engine.wake_at_s != inf:
            effects += engine.wake(engine.wake_at_s)
        if event is not None:
            effects += engine.receive(event, at_s)
    return effects


class StepByStep:
    """The reference: every step planned, executed and committed on its own, as a worker does."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(NUM_SLOTS, CHUNK_TOKENS, MAX_NUM_QUEUED)
        self.requests: dict[int, Submit] = {}
        self.num_generated: dict[int, int] = {}
        self.effects: list[EngineEffect] = []
        self.pending: Script = []
        self.begun: set[int] = set()

    def run(self, script: Script) -> list[EngineEffect]:
        self.pending = list(script)
        now_s = 0.0
        while self.pending or not self.scheduler.is_idle:
            if self.scheduler.is_idle:
                now_s = max(now_s, self.pending[0][0])
            self._take(now_s)
            if not self.scheduler.is_idle:
                now_s = self._step(now_s)
        return self.effects

    def _take(self, now_s: float) -> None:
        # An event at the very end of a step is seen by the next look at the socket only if it
        # came before it; the first event of an idle engine starts it.
        idle = self.scheduler.is_idle
        while self.pending and (
            self.pending[0][0] < now_s or (idle and self.pending[0][0] <= now_s)
        ):
            _, event = self.pending.pop(0)
            idle = False
            if isinstance(event, Cancel):
                self.scheduler.cancel(event.key)
                self.requests.pop(event.key, None)
                continue
            if self.scheduler.is_full_for(event.turn_class):
                self.effects.append(Refused(event.key, now_s))
                continue
            self.scheduler.submit(
                event.key,
                prompt=range(1000 * event.key, 1000 * event.key + event.prompt_tokens),
                turn_class=event.turn_class,
                deadline_s=event.deadline_s,
            )
            self.requests[event.key] = event
            self.num_generated[event.key] = 0

    def _step(self, now_s: float) -> float:
        plan = self.scheduler.plan_step(now_s)
        self.effects += [Expired(key, now_s) for key in plan.expired]
        table = self.scheduler.table
        context = sum(
            self.requests[key].prompt_tokens + self.num_generated[key] for key in plan.decode
        )
        if plan.decode:
            now_s += TIMES.decode_s(len(plan.decode), context)
        for chunk in plan.prefill:
            now_s += TIMES.prefill_s(chunk.stop - chunk.start, chunk.start)
        assert check(self.scheduler) == []
        ended = []
        for key in plan.decode:
            self.num_generated[key] += 1
            assert table.lengths[table.row_of[key]] + 2 == (
                self.requests[key].prompt_tokens + self.num_generated[key]
            )
            if self.num_generated[key] == self.requests[key].output_tokens:
                ended.append(key)
        for chunk in plan.prefill:
            if not chunk.is_last:
                continue
            key = chunk.key
            if key not in self.begun:
                self.begun.add(key)
                self.effects.append(FirstToken(key, now_s))
            self.num_generated[key] = 1
            if self.requests[key].output_tokens == 1:
                ended.append(key)
        # As the simulated engine has it, prompts of ended turns take no room from preempted ones.
        self.scheduler.commit(plan, (), failed=ended)
        self.effects += [Ended(key, now_s) for key in ended]
        return now_s


def told(effects: Sequence[EngineEffect]) -> list[tuple[str, int, float]]:
    """Comparable whatever the order within one instant and the last bits of its time."""
    return sorted((type(e).__name__, e.key, round(e.at_s, 9)) for e in effects)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Submissions and cancellations at instants that never coincide with a step's end."""
    script: Script = []
    at_s = 0.0
    submitted = 0
    for _ in range(draw(st.integers(1, 14))):
        at_s += draw(st.sampled_from([0.0007, 0.0131, 0.0517, 0.3001])) + 1.37e-6 * len(script)
        if submitted and draw(st.integers(0, 4)) == 0:
            script.append((at_s, Cancel(draw(st.integers(0, submitted - 1)))))
            continue
        patience_s = draw(st.none() | st.sampled_from([0.0203, 0.1109, 0.5003]))
        script.append(
            (
                at_s,
                Submit(
                    submitted,
                    draw(st.integers(1, 20)),
                    draw(st.integers(1, 12)),
                    draw(st.sampled_from(TurnClass)),
                    None if patience_s is None else at_s + patience_s,
                ),
            )
        )
        submitted += 1
    return script


def new_engine() -> Engine:
    return Engine(
        TIMES, num_slots=NUM_SLOTS, chunk_tokens=CHUNK_TOKENS, max_num_queued=MAX_NUM_QUEUED
    )


@given(scripts())
@settings(max_examples=150, deadline=None)
def test_stretches_give_what_single_steps_give(script: Script) -> None:
    engine = new_engine()
    assert told(run_script(engine, script)) == told(StepByStep().run(script))
    assert engine.wake_at_s == inf
    assert engine._context_tokens == 0
    assert check(engine.scheduler) == []


@given(
    num_rows=st.integers(1, 64),
    context_tokens=st.integers(0, 100_000),
    num_steps=st.integers(0, 3000),
    slope_s=st.sampled_from([0.0, 1e-9, 1e-5]),
)
def test_whole_steps_inverts_the_time_of_steps(
    num_rows: int, context_tokens: int, num_steps: int, slope_s: float
) -> None:
    curve = Curve((1, 2, 40), (0.001, 0.0011, 0.009))
    times = StepTimes("t", curve, slope_s, curve, 0.0, is_measured=False)
    costs = StepCosts(times, num_slots=64, chunk_tokens=8)
    one_by_one_s = sum(
        times.decode_s(num_rows, context_tokens + k * num_rows) for k in range(num_steps)
    )
    passed_s = costs.decode_s(num_rows, context_tokens, num_steps)
    assert passed_s == pytest.approx(one_by_one_s)
    assert costs.whole_steps(num_rows, context_tokens, passed_s) == num_steps
    assert costs.whole_steps(num_rows, context_tokens, passed_s + 0.0009) == num_steps


def test_a_seeded_run_decides_what_it_always_decided() -> None:
    """Making the simulator faster must not change it. Who changes the scheduler's decisions on
    purpose changes the digest with them.
    """
    rng = random.Random(11)
    script: Script = []
    at_s = 0.0
    for key in range(3000):
        at_s += rng.expovariate(8.0)
        turn_class = rng.choice(list(TurnClass))
        deadline_s = at_s + rng.uniform(0.05, 1.0) if rng.random() < 0.7 else None
        size = rng.randint(1, 30), rng.randint(1, 12)
        script.append((at_s, Submit(key, *size, turn_class, deadline_s)))
        if rng.random() < 0.1:
            script.append((at_s + 1e-4, Cancel(rng.randint(max(0, key - 5), key))))
    engine = Engine(TIMES, num_slots=4, chunk_tokens=8, max_num_queued=6)
    effects = told(run_script(engine, script))
    kinds = Counter(kind for kind, _, _ in effects)
    assert kinds == {"FirstToken": 2680, "Ended": 2616, "Expired": 182, "Refused": 42}
    told_lines = "\n".join(f"{kind} {key} {at_s:.6f}" for kind, key, at_s in effects)
    assert hashlib.sha256(told_lines.encode()).hexdigest()[:16] == "6ec4e4eb88ad9e2a"


def test_an_arrival_waits_for_the_end_of_the_step_under_way_only() -> None:
    engine = new_engine()
    engine.receive(Submit(0, 8, 100, TurnClass.VOICE, None), 0.0)
    engine.wake(engine.wake_at_s)
    begun_s = 0.018
    step_s = TIMES.decode_s(1, 9)
    assert engine.wake_at_s > 2.0
    engine.receive(Submit(1, 8, 1, TurnClass.VOICE, None), begun_s + step_s / 2)
    assert engine.wake_at_s == pytest.approx(begun_s + step_s)


def test_a_sick_machine_is_noticed_in_its_step_times_and_a_cap_at_once() -> None:
    sick, capped = new_engine(), new_engine()
    before = sick.load(0.0)
    sick.set_slowness(5.0, 0.0, is_known=False)
    capped.set_slowness(5.0, 0.0, is_known=True)
    assert sick.load(0.0) == before
    assert capped.load(0.0).decode_step_s == pytest.approx(5.0 * before.decode_step_s)
    run_script(sick, [(float(i), Submit(i, 8, 30, TurnClass.AGENT, None)) for i in range(20)])
    assert sick.load(0.0).prefill_s_per_token > 3.0 * before.prefill_s_per_token
    assert sick.load(0.0).decode_step_s > 3.0 * before.decode_step_s


def test_a_slower_machine_takes_so_much_longer() -> None:
    script: Script = [(0.0, Submit(0, 8, 10, TurnClass.AGENT, None))]
    usual = run_script(new_engine(), script)[-1].at_s
    engine = new_engine()
    engine.set_slowness(3.0, 0.0, is_known=False)
    assert run_script(engine, script)[-1].at_s == pytest.approx(3.0 * usual)


def test_what_is_in_the_inbox_counts_in_the_load() -> None:
    engine = new_engine()
    engine.receive(Submit(0, 8, 5, TurnClass.AGENT, None), 0.0)
    engine.receive(Submit(1, 6, 5, TurnClass.AGENT, None), 0.001)
    load = engine.load(0.001)
    assert load.num_active == 1
    assert load.ahead_of(TurnClass.AGENT) == Backlog(1, 14)


def test_a_prompt_is_cut_to_what_fits_beside_a_running_stream() -> None:
    """A step takes about the token interval, not a whole chunk."""

    def longest_step_s(grid_tokens: int) -> float:
        engine = Engine(
            LONG_CHUNKS, num_slots=4, chunk_tokens=256, max_num_queued=4, grid_tokens=grid_tokens
        )
        engine.receive(Submit(0, 8, 400, TurnClass.AGENT, None), 0.0)
        engine.wake(engine.wake_at_s)
        engine.receive(Submit(1, 1000, 2, TurnClass.AGENT, None), 1.0)
        engine.wake(engine.wake_at_s)
        steps_s = []
        for _ in range(4):
            began_s = engine.wake_at_s
            engine.wake(began_s)
            steps_s.append(engine.wake_at_s - began_s)
        return max(steps_s)

    assert longest_step_s(256) > 0.2
    assert longest_step_s(16) <= INTER_TOKEN_BUDGET_S + 16 * 0.001
