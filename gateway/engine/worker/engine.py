"""Executes the scheduler's plans: takes requests, runs steps, gives out events.

Everything here happens in the caller's thread; only grammars are compiled in another.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from gateway.core.errors import EngineFault
from gateway.core.generation import (
    CLASS_RANK,
    NO_BACKLOG,
    EngineLoad,
    FinishReason,
    GenerationEnd,
    Refusal,
    add_backlogs,
    backlog_of,
)
from gateway.engine.worker.generation import Generation, drawn_together
from gateway.engine.worker.grammar import UnusableGrammar
from gateway.engine.worker.pace import Pace, timed_runs
from gateway.engine.worker.port import NUM_AHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from gateway.core.generation import (
        ClassBacklogs,
        Constraint,
        GenerationEvent,
        GenerationRequest,
    )
    from gateway.core.scheduling import Prefill, Scheduler, StepPlan
    from gateway.engine.worker.grammar import GrammarCompiler, Matcher
    from gateway.engine.worker.port import Logits, RunnableModel
    from gateway.engine.worker.sampling import Top


class Engine:
    """One model, its scheduler and the generations under way.

    `on_compiled` is called from the compiler's thread when a grammar is done; the loop then calls
    `admit_compiled`. `ahead_cost` is that of a run of NUM_AHEAD tokens, in runs of one.
    """

    def __init__(
        self,
        model: RunnableModel,
        scheduler: Scheduler,
        compiler: GrammarCompiler,
        *,
        end_ids: frozenset[int],
        frame_interval_s: float,
        inter_token_budget_s: float,
        on_compiled: Callable[[], None],
        ahead_cost: float = inf,
        resumes_fast: bool = False,
    ) -> None:
        self.model = model
        self.scheduler = scheduler
        self.pace = Pace()
        self.num_measured = 0
        """How often `measure` ran."""
        self._compiler = compiler
        self._end_ids = end_ids
        self._frame_interval_s = frame_interval_s
        self._inter_token_budget_s = inter_token_budget_s
        self._on_compiled = on_compiled
        self._least_hits = ahead_cost - 1.0
        self._resumes_fast = resumes_fast
        self._generations: dict[int, Generation] = {}
        self._compiling: dict[int, Future[Matcher]] = {}
        self._compiled: deque[int] = deque()
        self._events: list[tuple[int, GenerationEvent]] = []
        self._ended: list[int] = []
        self._failed: list[int] = []

    @property
    def is_idle(self) -> bool:
        """Whether a step would do nothing."""
        return self.scheduler.is_idle

    @property
    def is_resting(self) -> bool:
        """Whether nothing will happen until something is submitted."""
        return self.is_idle and not self._compiling

    @property
    def next_expiry_s(self) -> float:
        """The first deadline of those whose grammar is being compiled, or infinity."""
        return min(map(self._deadline_s, self._compiling), default=inf)

    @property
    def backlog(self) -> ClassBacklogs:
        """What waits, by class; those whose grammar is being compiled included."""
        compiling = NO_BACKLOG
        for key in self._compiling:
            compiling = add_backlogs(compiling, backlog_of(self._generations[key].request))
        return add_backlogs(self.scheduler.backlog, compiling)

    def close(self) -> None:
        """Let the compiler's thread end."""
        self._compiler.close()

    def measure(self) -> None:
        """Run the model each way and take note of its pace. Only while idle.

        The first time it also warms the model up.
        """
        for move in self.scheduler.take_moves():
            self.model.kv.move(move)
        self.pace.remeasured(*timed_runs(self.model, self.scheduler.table.free_row))
        self.num_measured += 1

    def prepare(self, constraint: Constraint) -> None:
        """Have a constraint compiled that will be asked for; whether it can be used shows then."""
        self._compiler.compile(constraint)

    def submit(
        self, key: int, request: GenerationRequest, *, is_resubmission: bool = False
    ) -> None:
        """Take a request; its events come under `key`.

        What was taken before or has been answered in part is taken even when too many wait.
        """
        generation = Generation(
            key,
            request,
            arrived_s=time.monotonic(),
            max_context_tokens=self.model.max_context_tokens,
            resumes_fast=self._resumes_fast,
        )
        self._generations[key] = generation
        is_bounded = not (is_resubmission or request.resume)
        refusal = generation.unusable(self.model.layout.vocab_size)
        if refusal is None and is_bounded and self._is_full_for(generation):
            refusal = generation.end(FinishReason.EXPIRED, refusal=Refusal.QUEUE_FULL)
        if refusal is not None:
            self._end(generation, refusal)
        elif request.constraint is None:
            self._enqueue(generation)
        else:
            future = self._compiler.compile(request.constraint, request.turn_class)
            self._compiling[key] = future
            future.add_done_callback(lambda _: self._note_compiled(key))

    def cancel(self, key: int) -> None:
        """Drop a generation; its slot is free at the next step."""
        generation = self._generations.get(key)
        if generation is None:
            return
        future = self._compiling.pop(key, None)
        if future is not None:
            future.cancel()
        self.scheduler.cancel(key)
        self._end(generation, generation.end(FinishReason.CANCELLED))

    def admit_compiled(self) -> None:
        """Queue the generations whose grammar is ready; fail those whose grammar is unusable.

        Those that cannot wait longer for their grammar expire.
        """
        while self._compiled:
            key = self._compiled.popleft()
            future = self._compiling.pop(key, None)
            if future is None:
                continue
            generation = self._generations[key]
            try:
                generation.matcher = future.result()
            except UnusableGrammar as error:
                refusal = Refusal.INVALID_SCHEMA
                end = generation.end(FinishReason.FAILED, str(error), refusal=refusal)
                self._end(generation, end)
            except EngineFault as error:
                self._fail(generation, error)
            else:
                self._enqueue(generation)
        self._expire_compiling(time.monotonic())

    def _expire_compiling(self, now_s: float) -> None:
        for key in [key for key in self._compiling if self._deadline_s(key) <= now_s]:
            self._compiling.pop(key).cancel()
            generation = self._generations[key]
            self._end(generation, generation.end(FinishReason.EXPIRED))

    def _deadline_s(self, key: int) -> float:
        deadline_s = self._generations[key].request.first_token_deadline_s
        return inf if deadline_s is None else deadline_s

    def step(self) -> None:
        """Plan one step, execute it, commit it."""
        plan = self.scheduler.plan_step(
            time.monotonic(), prefill_tokens=self.pace.prefill_tokens_in(self._inter_token_budget_s)
        )
        self._end_expired(plan.expired)
        for move in plan.moves:
            self.model.kv.move(move)
        num_steps = self._decode(plan)
        self._prefill(plan)
        ended, self._ended = self._ended, []
        failed, self._failed = self._failed, []
        self.scheduler.commit(plan, ended, failed, num_steps=num_steps)

    def expire(self) -> None:
        """End what waited too long, while no steps are made."""
        self._end_expired(self.scheduler.expire(time.monotonic()))

    def _end_expired(self, keys: tuple[int, ...]) -> None:
        for key in keys:
            generation = self._generations[key]
            self._end(generation, generation.end(FinishReason.EXPIRED))

    def take_events(self) -> tuple[tuple[int, GenerationEvent], ...]:
        """The events since the last call, in order."""
        events, self._events = tuple(self._events), []
        return events

    def load(self) -> EngineLoad:
        """What there is to do now, and how fast it goes."""
        scheduler, pace = self.scheduler, self.pace
        active_keys = scheduler.active
        active = [self._generations[key] for key in active_keys]
        waiting = self._generations.keys() - active_keys
        answer_tokens = self._mean_tokens([self._generations[key] for key in waiting])
        return EngineLoad(
            as_of_s=time.monotonic(),
            num_slots=scheduler.num_slots,
            num_active=scheduler.num_active,
            prefill_s_per_token=pace.prefill_s_per_token,
            decode_step_s=pace.decode_step_s,
            chunk_tokens=scheduler.chunk_tokens,
            mean_remaining_tokens=self._mean_tokens(active) if active else answer_tokens,
            answer_tokens=answer_tokens,
            backlog=self.backlog,
            cached_ratio=pace.cached_ratio,
        )

    def _mean_tokens(self, generations: Sequence[Generation]) -> float:
        """What each of these is expected to produce still; without any, a whole answer."""
        if not generations:
            return self.pace.answer_tokens
        expected = [self.pace.remaining_tokens(one.num_left) for one in generations]
        return sum(expected) / len(expected)

    def _is_full_for(self, generation: Generation) -> bool:
        """Whether too many wait before it, those whose grammar is being compiled included."""
        turn_class = generation.request.turn_class
        preparing = [self._generations[key].request.turn_class for key in self._compiling]
        num_preparing = sum(CLASS_RANK[one] <= CLASS_RANK[turn_class] for one in preparing)
        return self.scheduler.is_full_for(turn_class, num_preparing=num_preparing)

    def _enqueue(self, generation: Generation) -> None:
        request = generation.request
        end = generation.resume(self._end_ids)
        if end is not None:
            self._end(generation, end)
            return
        self.scheduler.submit(
            generation.key,
            prompt=generation.read_first,
            turn_class=request.turn_class,
            deadline_s=request.first_token_deadline_s,
        )

    def _note_compiled(self, key: int) -> None:
        self._compiled.append(key)
        self._on_compiled()

    def _decode(self, plan: StepPlan) -> int:
        """At least one token for every decoding row; how many."""
        generations = [self._generations[key] for key in plan.decode]
        lengths = self.scheduler.table.lengths[: len(generations)]
        began_s = time.monotonic()
        num_steps = 0
        if len(generations) == 1:
            num_steps = self._decode_ahead(generations[0], lengths[0])
        if generations and not num_steps:
            self._decode_together(generations, lengths)
            num_steps = 1
        if num_steps:
            self.pace.decoded((time.monotonic() - began_s) / num_steps)
        return num_steps

    def _decode_ahead(self, generation: Generation, length: int) -> int:
        """Several tokens for the only decoding row, if it knows or guesses them; how many held."""
        ahead = self.model.ahead
        if ahead is None or length + NUM_AHEAD > self.model.max_context_tokens:
            return 0
        ids = generation.next_ids(length, NUM_AHEAD, least_hits=self._least_hits)
        if len(ids) == 1:
            return 0
        try:
            logits, top = ahead.decode(ids, length)
        except EngineFault:
            return 0  # the run of one token tells whether it is this generation's fault
        for nth in range(len(ids)):
            num_kv = length + nth + 1
            self._advance([generation], [num_kv], logits, top.rows(nth, nth + 1), first_row=nth)
            is_over = generation.key not in self._generations
            if is_over or nth + 1 == len(ids) or generation.input_id(num_kv) != ids[nth + 1]:
                break
        return nth + 1

    def _decode_together(self, generations: list[Generation], lengths: list[int]) -> None:
        ids = [one.input_id(length) for one, length in zip(generations, lengths, strict=True)]
        try:
            logits = self.model.decode(ids, lengths)
        except EngineFault:
            self._decode_apart(generations, ids, lengths)
            return
        self._advance(generations, [length + 1 for length in lengths], logits)

    def _decode_apart(
        self, generations: list[Generation], ids: list[int], lengths: list[int]
    ) -> None:
        """The same row by row after the batch failed, so that only the cause of it fails."""
        for row, generation in enumerate(generations):
            try:
                logits = self.model.decode([ids[row]], [lengths[row]], first_row=row)
            except EngineFault as error:
                self._fail(generation, error)
            else:
                self._advance([generation], [lengths[row] + 1], logits)

    def _prefill(self, plan: StepPlan) -> None:
        """Run the plan's chunks, and give prompts that end with them their first token."""
        began_s = time.monotonic()
        for chunk in plan.prefill:
            if chunk.is_first:
                self._note_first_chunk(chunk, began_s)
        if len(plan.prefill) > 1:
            prompts = [self._generations[chunk.key].read_first for chunk in plan.prefill]
            try:
                logits = self.model.prefill_together(plan.prefill[0].row, prompts)
            except EngineFault:
                self._prefill_apart(plan.prefill)
                return
            generations = [self._generations[chunk.key] for chunk in plan.prefill]
            self.pace.prefilled(sum(map(len, prompts)), time.monotonic() - began_s)
            self._advance(generations, [len(prompt) for prompt in prompts], logits)
        else:
            self._prefill_apart(plan.prefill)

    def _prefill_apart(self, chunks: tuple[Prefill, ...]) -> None:
        for chunk in chunks:
            generation = self._generations[chunk.key]
            began_s = time.monotonic()
            ids = generation.read_first[chunk.start : chunk.stop]
            try:
                logits = self.model.prefill(chunk.row, ids, chunk.start)
            except EngineFault as error:
                self._fail(generation, error)
                continue
            self.pace.prefilled(len(ids), time.monotonic() - began_s)
            if chunk.is_last:
                self._advance([generation], [chunk.stop], logits)

    def _note_first_chunk(self, chunk: Prefill, now_s: float) -> None:
        generation = self._generations[chunk.key]
        if generation.prefill_began_s is None:
            generation.prefill_began_s = now_s
            generation.cached_tokens = min(chunk.start, len(generation.request.prompt))
            self.pace.cached(chunk.start, len(generation.read_first))

    def _advance(
        self,
        generations: list[Generation],
        lengths: list[int],
        logits: Logits,
        top: Top | None = None,
        *,
        first_row: int = 0,
    ) -> None:
        """Give each generation the token that follows from its row of logits, from the first on.

        `lengths` are the KV positions in each row now; they tell whether the token is known. The
        largest logits are those of the model's last run, if not given.
        """
        if top is None:
            top = self.model.top(len(generations))
        drawn = drawn_together(generations, logits, top)
        now_s = time.monotonic()
        for row, generation in enumerate(generations):
            if generation.is_known(lengths[row]):
                continue
            try:
                end = generation.take(
                    partial(logits.__getitem__, first_row + row),
                    self._end_ids,
                    top=None if top is None else top.row(row),
                    drawn_id=drawn.get(row),
                )
            except EngineFault as error:
                self._fail(generation, error)
                continue
            if end is not None:
                self.pace.answered(len(generation.tokens))
                self._end(generation, end)
                self._ended.append(generation.key)
            else:
                self._deliver(generation, now_s, self._frame_interval_s)

    def _deliver(self, generation: Generation, now_s: float, interval_s: float) -> None:
        frame = generation.frame(now_s, interval_s=interval_s)
        if frame is not None:
            self._events.append((generation.key, frame))

    def _fail(self, generation: Generation, error: EngineFault) -> None:
        self._end(generation, generation.end(FinishReason.FAILED, error.message))
        self._failed.append(generation.key)

    def _end(self, generation: Generation, end: GenerationEnd) -> None:
        """Deliver what is left and the end; forget the generation."""
        self._deliver(generation, time.monotonic(), 0.0)
        self._events.append((generation.key, end))
        del self._generations[generation.key]
