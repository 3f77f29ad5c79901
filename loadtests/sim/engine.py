"""A site's engine in virtual time: the shipped scheduler, steps that take what a profile says.

It is a `core` machine, so either driver runs it. Nothing happens per token: as long as a plan is
nothing but decoding the same rows, its steps are one stretch whose end is computed. Whatever
arrives meanwhile waits for the end of the step under way, as in the engine process, which looks at
its socket between steps. Beside decoding rows a step prefills what the token interval leaves room
for, as in the engine process. Left out: prompts found in the prefix cache (no two begin alike),
several prompts prefilled in one run, and the measurements an idle engine makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import (
    CLASS_RANK,
    NO_BACKLOG,
    Backlog,
    ClassBacklogs,
    EngineLoad,
    add_backlogs,
)
from gateway.core.scheduling import Scheduler
from loadtests.sim.step_costs import StepCosts
from loadtests.sim.unlike_prompts import UnlikePrompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.scheduling import Prefill, StepPlan
    from gateway.core.step_time import StepTimes

_PACE_WEIGHT = 0.1
_FIRST_ANSWER_TOKENS = 64.0
"""Both as in the engine process's own calibration."""
INTER_TOKEN_BUDGET_S = 0.05
"""How long a step of an engine may take beside running streams: what is shipped."""


class Submit(msgspec.Struct, frozen=True, gc=False):
    """A generation of at least one token; `deadline_s` bounds its wait for a slot."""

    key: int
    prompt_tokens: int
    output_tokens: int
    turn_class: TurnClass
    deadline_s: float | None


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Forget a generation, wherever it is."""

    key: int


class FirstToken(msgspec.Struct, frozen=True, gc=False):
    """The prompt is prefilled; `at_s` is the end of the step."""

    key: int
    at_s: float


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The last token is out."""

    key: int
    at_s: float


class Expired(msgspec.Struct, frozen=True, gc=False):
    """The deadline passed in the queue."""

    key: int
    at_s: float


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The queue was full when the engine came to look."""

    key: int
    at_s: float


EngineEvent = Submit | Cancel
EngineEffect = FirstToken | Ended | Expired | Refused


def backlog_of(turn_class: TurnClass, prompt_tokens: int) -> ClassBacklogs:
    """What one submission adds to a queue."""
    added = list(NO_BACKLOG)
    added[CLASS_RANK[turn_class]] = Backlog(1, prompt_tokens)
    voice, agent, batch = added
    return (voice, agent, batch)


@dataclass(slots=True)
class _Generation:
    request: Submit
    last_step: int = 0
    """The decode step, counted since the engine began, that yields the last token; 0: it is not
    decoding."""
    has_run: bool = False
    """It has had a slot, so it cannot expire."""
    has_first_token: bool = False


class Engine:
    """One engine. Instants are seconds on the driver's clock."""

    __slots__ = (
        "_answer_tokens",
        "_context_tokens",
        "_costs",
        "_decode_step_s",
        "_decode_took_s",
        "_expiries",
        "_generations",
        "_inbox",
        "_last_steps",
        "_load",
        "_num_decode_steps",
        "_plan",
        "_prefill_s_per_token",
        "_slowness",
        "_started_s",
        "_stretch_steps",
        "max_num_queued",
        "num_slots",
        "num_steps",
        "scheduler",
        "wake_at_s",
    )

    def __init__(
        self,
        times: StepTimes,
        *,
        num_slots: int,
        chunk_tokens: int,
        max_num_queued: int,
        grid_tokens: int = 0,
    ) -> None:
        self._costs = StepCosts(times, num_slots=num_slots, chunk_tokens=chunk_tokens)
        self.num_slots = num_slots
        self.max_num_queued = max_num_queued
        # Cached prompts count in whole chunks: only a preempted generation finds one, its own.
        index = UnlikePrompts(chunk_tokens)
        self.scheduler = Scheduler(
            num_slots, chunk_tokens, max_num_queued, grid_tokens, index=index
        )
        self.wake_at_s = inf
        self.num_steps = 0
        self._slowness = 1.0
        self._generations: dict[int, _Generation] = {}
        self._inbox: list[EngineEvent] = []
        self._load: EngineLoad | None = None
        self._plan: StepPlan | None = None
        self._started_s = 0.0
        self._stretch_steps = 1
        self._num_decode_steps = 0
        self._context_tokens = 0  # of the decoding rows, before the steps under way
        self._last_steps: list[tuple[int, int]] = []  # heap of (decode step, key)
        self._expiries: list[tuple[float, int]] = []  # heap of (deadline, key)
        self._prefill_s_per_token = self._costs.prefill_s(chunk_tokens, 0) / chunk_tokens
        self._decode_took_s = 0.0  # of the stretch under way
        self._decode_step_s = self._costs.decode_s(1, 0)
        self._answer_tokens = _FIRST_ANSWER_TOKENS

    def load(self, now_s: float) -> EngineLoad:
        """What the engine says of itself; what waits in its inbox counts as queued."""
        load = self._load
        if load is not None and load.as_of_s == now_s:
            return load
        scheduler = self.scheduler
        backlog = scheduler.backlog
        for event in self._inbox:
            if isinstance(event, Submit):
                backlog = add_backlogs(backlog, backlog_of(event.turn_class, event.prompt_tokens))
        self._load = load = EngineLoad(
            now_s,
            self.num_slots,
            scheduler.num_active,
            self._prefill_s_per_token,
            self._decode_step_s,
            self._answer_tokens,
            self._answer_tokens,
            backlog,
            chunk_tokens=scheduler.chunk_tokens,
        )
        return load

    def receive(self, event: EngineEvent, now_s: float) -> Sequence[EngineEffect]:
        """Take a submission or a cancellation."""
        self._inbox.append(event)
        self._load = None
        if self._plan is not None:
            self._cut(self._plan, now_s)
            return ()
        effects: list[EngineEffect] = []
        self._begin(now_s, effects)
        return effects

    def wake(self, now_s: float) -> Sequence[EngineEffect]:
        """The step or stretch is over.

        What follows begins at its computed end: a late wake-up does not make the engine slower.
        """
        effects: list[EngineEffect] = []
        at_s, plan = self.wake_at_s, self._plan
        if plan is not None:
            self._load = None
            self._finish(plan, at_s, effects)
            self._begin(at_s, effects)
        return effects

    def set_slowness(self, factor: float, now_s: float, *, is_known: bool) -> None:
        """Steps take `factor` times what the profile says, from the end of the step under way.

        A change the engine knows of (its clocks were capped) scales its own figures at once;
        another (its machine is sick) it has to notice in its step times.
        """
        if is_known:
            self._prefill_s_per_token *= factor / self._slowness
            self._decode_step_s *= factor / self._slowness
            self._load = None
        if self._plan is not None:
            self._cut(self._plan, now_s)
        self._slowness = factor

    def pause(self, seconds: float) -> None:
        """The machine stood still: the step under way ends so much later."""
        self._started_s += seconds
        self.wake_at_s += seconds

    def keys(self) -> tuple[int, ...]:
        """Every generation it has or has been sent."""
        sent = [event.key for event in self._inbox if isinstance(event, Submit)]
        return (*self._generations, *sent)

    def _begin(self, now_s: float, effects: list[EngineEffect]) -> None:
        """Plan what comes next and when it is over."""
        if self._inbox:
            self._take_inbox(now_s, effects)
        scheduler = self.scheduler
        if not self._generations:
            self._plan, self.wake_at_s = None, inf
            return
        plan = scheduler.plan_step(now_s, prefill_tokens=self._prefill_tokens())
        for key in plan.expired:
            del self._generations[key]
            effects.append(Expired(key, now_s))
        for key in plan.preempted:
            self._stop_decoding(self._generations[key])
        if not plan.prefill and not plan.decode:  # all that waited has expired
            scheduler.commit(plan, ())
            self._plan, self.wake_at_s = None, inf
            return
        self._plan, self._started_s = plan, now_s
        self._stretch_steps = 1 if plan.prefill else self._steps_until_change(plan, now_s)
        self.wake_at_s = now_s + self._stretch_s(plan, self._stretch_steps)

    def _prefill_tokens(self) -> int:
        """What fits into a step beside its decode, by the engine's own figures."""
        left_s = INTER_TOKEN_BUDGET_S - self._decode_step_s
        return int(left_s / self._prefill_s_per_token) if left_s > 0.0 else 0

    def _take_inbox(self, now_s: float, effects: list[EngineEffect]) -> None:
        for event in self._inbox:
            if isinstance(event, Cancel):
                self._forget(event.key)
                continue
            key, turn_class, deadline_s = event.key, event.turn_class, event.deadline_s
            if self.scheduler.is_full_for(turn_class):
                effects.append(Refused(key, now_s))
                continue
            self.scheduler.submit(
                key,
                prompt=range(key, key + event.prompt_tokens),  # no two begin alike
                turn_class=turn_class,
                deadline_s=deadline_s,
            )
            self._generations[key] = _Generation(event)
            if deadline_s is not None:
                heappush(self._expiries, (deadline_s, key))
        self._inbox.clear()

    def _forget(self, key: int) -> None:
        generation = self._generations.pop(key, None)
        if generation is None:
            return
        self.scheduler.cancel(key, keeps_prompt=False)
        self._stop_decoding(generation)

    def _stop_decoding(self, generation: _Generation) -> None:
        """It has left its row before its end, for good or, preempted, to begin again.

        What a preempted generation has already told is decoded again, but not told again.
        """
        if generation.last_step:
            self._context_tokens -= self._context_of(generation)
            generation.last_step = 0

    def _context_of(self, generation: _Generation) -> int:
        """Prompt and generated tokens that a decoding row attends to."""
        request = generation.request
        num_left = generation.last_step - self._num_decode_steps
        return request.prompt_tokens + request.output_tokens - num_left

    def _steps_until_change(self, plan: StepPlan, now_s: float) -> int:
        """Decode steps until a row ends or something waiting for a slot expires."""
        last_steps = self._last_steps
        while not self._is_running(*last_steps[0]):
            heappop(last_steps)
        num_steps = last_steps[0][0] - self._num_decode_steps
        if not self.scheduler.num_queued:
            return num_steps
        expiries = self._expiries
        while expiries and not self._is_waiting(expiries[0][1]):
            heappop(expiries)
        if not expiries:
            return num_steps
        return min(num_steps, self._steps_done_after(plan, expiries[0][0] - now_s) + 1)

    def _is_running(self, last_step: int, key: int) -> bool:
        generation = self._generations.get(key)
        return generation is not None and generation.last_step == last_step

    def _is_waiting(self, key: int) -> bool:
        generation = self._generations.get(key)
        return generation is not None and not generation.has_run

    def _steps_done_after(self, plan: StepPlan, passed_s: float) -> int:
        return self._costs.whole_steps(
            len(plan.decode), self._context_tokens, max(0.0, passed_s) / self._slowness
        )

    def _stretch_s(self, plan: StepPlan, num_steps: int) -> float:
        slowness, costs = self._slowness, self._costs
        stretch_s = 0.0
        if plan.decode:
            stretch_s = slowness * costs.decode_s(len(plan.decode), self._context_tokens, num_steps)
        self._decode_took_s = stretch_s
        for chunk in plan.prefill:
            stretch_s += slowness * costs.prefill_s(chunk.stop - chunk.start, chunk.start)
        return stretch_s

    def _cut(self, plan: StepPlan, now_s: float) -> None:
        """End the stretch with the step under way."""
        if self._stretch_steps == 1:
            return
        num_steps = self._steps_done_after(plan, now_s - self._started_s) + 1
        if num_steps < self._stretch_steps:
            self._stretch_steps = num_steps
            self.wake_at_s = self._started_s + self._stretch_s(plan, num_steps)

    def _finish(self, plan: StepPlan, at_s: float, effects: list[EngineEffect]) -> None:
        """The plan was executed, `_stretch_steps` times."""
        ended: list[int] = []
        self.num_steps += self._stretch_steps
        if plan.decode:
            self._finish_decode(plan, self._stretch_steps, ended)
        for chunk in plan.prefill:
            self._finish_prefill(chunk, at_s, ended, effects)
        # As if failed: no later prompt begins like these, so none is worth keeping in the cache.
        self.scheduler.commit(plan, (), failed=ended, num_steps=self._stretch_steps)
        for key in ended:
            generation = self._generations.pop(key)
            output_tokens = generation.request.output_tokens
            self._answer_tokens += _PACE_WEIGHT * (output_tokens - self._answer_tokens)
            effects.append(Ended(key, at_s))

    def _finish_decode(self, plan: StepPlan, num_steps: int, ended: list[int]) -> None:
        weight = _PACE_WEIGHT if num_steps == 1 else 1.0 - (1.0 - _PACE_WEIGHT) ** num_steps
        self._decode_step_s += weight * (self._decode_took_s / num_steps - self._decode_step_s)
        self._num_decode_steps += num_steps
        self._context_tokens += len(plan.decode) * num_steps
        last_steps = self._last_steps
        while last_steps and last_steps[0][0] <= self._num_decode_steps:
            last_step, key = heappop(last_steps)
            if self._is_running(last_step, key):
                ended.append(key)
                self._context_tokens -= self._context_of(self._generations[key])

    def _finish_prefill(
        self, chunk: Prefill, at_s: float, ended: list[int], effects: list[EngineEffect]
    ) -> None:
        num_tokens = chunk.stop - chunk.start
        took_s = at_s - self._started_s - self._decode_took_s
        weight = _PACE_WEIGHT * min(1.0, num_tokens / self.scheduler.chunk_tokens)
        self._prefill_s_per_token += weight * (took_s / num_tokens - self._prefill_s_per_token)
        generation = self._generations[chunk.key]
        generation.has_run = True
        if not chunk.is_last:
            return
        if not generation.has_first_token:
            generation.has_first_token = True
            effects.append(FirstToken(chunk.key, at_s))
        output_tokens = generation.request.output_tokens
        if output_tokens == 1:
            ended.append(chunk.key)
            return
        generation.last_step = self._num_decode_steps + output_tokens - 1
        heappush(self._last_steps, (generation.last_step, chunk.key))
        self._context_tokens += self._context_of(generation)
