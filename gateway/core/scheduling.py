"""What one engine step does: who expires, which rows move, what is prefilled, who decodes.

The scheduler never sees an array or a clock, and of token ids only whether prompts begin alike. A
step is a transaction: `plan_step` says what to do, the engine does it, `commit` says what came of
it. Between the two nothing else may be called.

Prompts are cut only at multiples of the grid. Where kernels round differently when a prompt is cut
differently, the grid is the chunk, so that the same prompt is cut the same way whatever else runs;
where they do not, a finer grid allows shorter chunks beside running streams and finer caching.
Resumed tokens are not prefilled: they go through decode like generated ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import InitVar, dataclass, field
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import CLASS_RANK, Backlog
from gateway.core.prefix_cache import PrefixCache, check_cache
from gateway.core.prefix_index import PrefixIndex
from gateway.core.rows import Move

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.core.generation import ClassBacklogs
    from gateway.core.rows import RowTable

_VOICE, _BATCH = CLASS_RANK[TurnClass.VOICE], CLASS_RANK[TurnClass.BATCH]
_MAX_PADDING_RATIO = 2
"""A prompt joins a batch only if padding at most doubles its length."""


class Rank(NamedTuple):
    """Order of service: class, then earliest first-token deadline, then arrival."""

    class_rank: int
    """Place in `SERVICE_ORDER`."""
    deadline_s: float
    arrival: int
    key: int


class Prefill(msgspec.Struct, frozen=True, gc=False):
    """Run prompt tokens [start, stop) of `key` into KV row `row`."""

    key: int
    row: int
    start: int
    stop: int
    is_first: bool
    """What lies before `start` came from the cache."""
    is_last: bool
    """The chunk ends the prompt, so its logits give the first token."""


class StepPlan(msgspec.Struct, frozen=True, gc=False):
    """One step, in order: drop the expired, move rows, decode rows 0..n-1, prefill."""

    expired: tuple[int, ...]
    preempted: tuple[int, ...]
    """Lost their slot to a voice turn and wait for another."""
    moves: tuple[Move, ...]
    decode: tuple[int, ...]
    """Keys by row: `decode[r]` is in KV row r."""
    prefill: tuple[Prefill, ...]
    """Nothing, one chunk, or several whole prompts for one run, in consecutive rows."""


@dataclass(slots=True)
class _Job:
    rank: Rank
    prompt: Sequence[int]
    prefilled_tokens: int = 0
    """In a slot, what its row holds; before, what the cache held when it was queued."""
    may_expire: bool = True


@dataclass(slots=True)
class Scheduler:
    """Queue, prefills under way, decoding rows and cached prompts of one engine.

    `chunk_tokens` is the longest stretch of prompt in a step and a multiple of `grid_tokens`,
    where prompts may be cut (0: only at chunks). `num_spare_rows` KV rows keep prompts beside
    those of the slots. `batches_prompts` allows several whole prompts in one run. `index` finds
    cached prompts; without one they are found by blocks of the grid.
    """

    num_slots: int
    chunk_tokens: int
    max_num_queued: int
    grid_tokens: int = 0
    num_spare_rows: int = 0
    batches_prompts: bool = False
    index: InitVar[PrefixIndex | None] = None
    cache: PrefixCache = field(init=False)
    table: RowTable = field(init=False)
    """Which row belongs to whom."""
    num_preempted: int = field(init=False, default=0)
    """How often a generation lost its slot."""
    _jobs: dict[int, _Job] = field(init=False, default_factory=dict)
    _queue: list[Rank] = field(init=False, default_factory=list)
    _prefilling: list[Rank] = field(init=False, default_factory=list)
    _prompt_tokens: list[int] = field(init=False, default_factory=lambda: [0] * len(CLASS_RANK))
    """Prompt tokens still to be prefilled as far as known, queued or in a slot, by class."""
    _moves: list[Move] = field(init=False, default_factory=list)
    _num_arrived: int = field(init=False, default=0)

    def __post_init__(self, index: PrefixIndex | None) -> None:
        """Begin with every row free. Raises ValueError for a grid that does not fit the chunk."""
        self.grid_tokens = self.grid_tokens or self.chunk_tokens
        if self.chunk_tokens % self.grid_tokens:
            raise ValueError(f"chunks of {self.chunk_tokens} are cut at {self.grid_tokens}")
        self.cache = PrefixCache(
            self.num_slots,
            num_spare_rows=self.num_spare_rows,
            index=index or PrefixIndex(self.grid_tokens),
        )
        self.table = self.cache.table

    @property
    def num_queued(self) -> int:
        """Generations without a slot."""
        return len(self._queue)

    @property
    def num_active(self) -> int:
        """Generations with a slot."""
        return self.table.num_active

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to plan."""
        return not self._jobs

    @property
    def active(self) -> list[int]:
        """The keys that hold a slot."""
        return [key for key in self.table.row_of if key not in self.table.parked]

    @property
    def backlog(self) -> ClassBacklogs:
        """What waits, by class."""
        voice, agent, batch = self._prompt_tokens
        if not self._queue:
            return (Backlog(0, voice), Backlog(0, agent), Backlog(0, batch))
        num_voice, num_both = self._num_ahead(_VOICE), self._num_ahead(_BATCH - 1)
        return (
            Backlog(num_voice, voice),
            Backlog(num_both - num_voice, agent),
            Backlog(len(self._queue) - num_both, batch),
        )

    def is_full_for(self, turn_class: TurnClass, *, num_preparing: int = 0) -> bool:
        """Whether a new arrival of this class is to be refused: too many wait before it.

        Work of later classes does not count, so that a queue of patient work keeps no urgent one
        out. `num_preparing` of what counts is still on its way here. To be asked once, on
        arrival: what was accepted is queued, whatever has come since.
        """
        return self._num_ahead(CLASS_RANK[turn_class]) + num_preparing >= self.max_num_queued

    def submit(
        self, key: int, *, prompt: Sequence[int], turn_class: TurnClass, deadline_s: float | None
    ) -> None:
        """Queue a generation of at least one prompt token under a new key.

        `deadline_s` is the instant until which it may wait for a slot; None means any time. The
        prompt is kept as it is: nobody may change it.
        """
        rank = Rank(
            CLASS_RANK[turn_class],
            inf if deadline_s is None else deadline_s,
            self._num_arrived,
            key,
        )
        self._num_arrived += 1
        cached_tokens = self.cache.cached_tokens(prompt)
        self._jobs[key] = _Job(rank, prompt, cached_tokens)
        self._prompt_tokens[rank.class_rank] += len(prompt) - cached_tokens
        insort(self._queue, rank)

    def cancel(self, key: int, *, keeps_prompt: bool = True) -> bool:
        """Forget a generation wherever it is; False if it is not here.

        What was prefilled of its prompt stays in the cache, unless it `keeps_prompt` no more.
        """
        job = self._jobs.pop(key, None)
        if job is None:
            return False
        self._prompt_tokens[job.rank.class_rank] -= len(job.prompt) - job.prefilled_tokens
        if key in self.table.row_of:
            self._leave_slot(job, keeps_prompt=keeps_prompt)
        else:
            _remove(self._queue, job.rank)
        return True

    def plan_step(self, now_s: float, *, prefill_tokens: int | None = None) -> StepPlan:
        """Decide the next step. The plan must be executed and committed.

        `prefill_tokens` bounds what is prefilled beside running streams, down to one grid.
        """
        if not self._queue and not self._prefilling:
            return StepPlan((), (), self.take_moves(), self.table.decoding, ())
        expired: tuple[int, ...] = ()
        preempted: tuple[int, ...] = ()
        if self._queue:
            expired, preempted = self.expire(now_s), self._preempt()
        decode = self.table.decoding
        limit = self.chunk_tokens
        if decode and prefill_tokens is not None:
            limit = max(self.grid_tokens, min(limit, prefill_tokens))
        prefill = self._next_prefill(limit)
        return StepPlan(expired, preempted, self.take_moves(), decode, prefill)

    def take_moves(self) -> tuple[Move, ...]:
        """Moves that are due; whoever writes to a free row outside a plan makes them first."""
        if not self._moves:
            return ()
        moves, self._moves = tuple(self._moves), []
        return moves

    def commit(
        self,
        plan: StepPlan,
        ended: Collection[int],
        failed: Collection[int] = (),
        *,
        num_steps: int = 1,
    ) -> None:
        """The plan was executed; those in `ended` and `failed` need no further step.

        Nothing is kept of what failed. Each decoding row may have taken `num_steps` tokens.
        """
        self.table.grow_decoding(num_steps)
        for key in failed:
            self.cancel(key, keeps_prompt=False)
        for chunk in plan.prefill:
            if chunk.key in self._jobs:
                self._commit_prefill(chunk)
        for key in ended:
            self.cancel(key)

    def _commit_prefill(self, chunk: Prefill) -> None:
        job = self._jobs[chunk.key]
        num_tokens = chunk.stop - chunk.start
        self.table.grow(chunk.key, num_tokens)
        job.prefilled_tokens = chunk.stop
        self._prompt_tokens[job.rank.class_rank] -= num_tokens
        if chunk.is_last:
            _remove(self._prefilling, job.rank)
            self._moves += self.table.start_decoding(chunk.key)
            self.cache.hold(chunk.key, job.prompt)

    def _leave_slot(self, job: _Job, *, keeps_prompt: bool) -> None:
        key = job.rank.key
        if job.prefilled_tokens < len(job.prompt):
            _remove(self._prefilling, job.rank)
        if keeps_prompt:
            self._moves += self.cache.leave(key, job.prompt[: job.prefilled_tokens])
        else:
            self._moves += self.cache.drop(key)

    def _num_ahead(self, class_rank: int) -> int:
        """How many wait of this class and of those before it: where the next one's queue begins."""
        return bisect_left(self._queue, Rank(class_rank + 1, -inf, 0, 0))

    def expire(self, now_s: float) -> tuple[int, ...]:
        """Drop what waited past its deadline and never had a slot: in each class, the first.

        Part of every plan; to be called where none is made for long.
        """
        late = [
            rank
            for rank in self._queue
            if rank.deadline_s <= now_s and self._jobs[rank.key].may_expire
        ]
        if not late:
            return ()
        for rank in late:
            self.cancel(rank.key)
        return tuple(rank.key for rank in late)

    def _preempt(self) -> tuple[int, ...]:
        """Take a slot from batch work if a voice turn comes next and has none.

        The victim, the last in the order of service, waits again; its prompt stays in the cache
        and its tokens are computed again as they were.
        """
        if not self._queue or self.table.num_free or self._queue[0].class_rank != _VOICE:
            return ()
        victim = max(self._jobs[key].rank for key in self.active)
        if victim.class_rank != _BATCH:
            return ()
        job = self._jobs[victim.key]
        self._leave_slot(job, keeps_prompt=True)
        self._hold_prefilled(victim, 0)
        insort(self._queue, victim)
        self.num_preempted += 1
        return (victim.key,)

    def _next_prefill(self, limit: int) -> tuple[Prefill, ...]:
        """The next chunk of whoever comes first: a prefill under way or, with a slot free, the
        head of the queue, which whole prompts like it may join.
        """
        head = self._queue[0] if self._queue and self.table.num_free else None
        under_way = self._prefilling[0] if self._prefilling else None
        if head is None or (under_way is not None and under_way < head):
            return (self._chunk(under_way.key, limit, is_first=False),) if under_way else ()
        together = self._together(limit) if self.batches_prompts else ()
        if len(together) > 1:
            for rank in together:
                self._leave_queue(rank, 0)
            self._moves += self.cache.take_together([rank.key for rank in together])
            return tuple(self._chunk(rank.key, limit, is_first=True) for rank in together)
        cached_tokens, moves = self.cache.take(head.key, self._jobs[head.key].prompt)
        self._leave_queue(head, cached_tokens)
        self._moves += moves
        return (self._chunk(head.key, limit, is_first=True),)

    def _leave_queue(self, head: Rank, cached_tokens: int) -> None:
        """The head of the queue has a slot, and so much of its prompt."""
        del self._queue[0]
        insort(self._prefilling, head)
        self._jobs[head.key].may_expire = False
        self._hold_prefilled(head, cached_tokens)

    def _hold_prefilled(self, rank: Rank, num_tokens: int) -> None:
        """So much of a prompt need not be prefilled, whatever was expected."""
        job = self._jobs[rank.key]
        self._prompt_tokens[rank.class_rank] += job.prefilled_tokens - num_tokens
        job.prefilled_tokens = num_tokens

    def _together(self, limit: int) -> list[Rank]:
        """The heads of the queue that can be prefilled in one run; at least the first."""
        chosen = self._queue[:1]
        if not self._fits(self._queue[0], limit):
            return chosen
        shortest = longest = len(self._jobs[chosen[0].key].prompt)
        for rank in self._queue[1 : self.table.num_free]:
            prompt = self._jobs[rank.key].prompt
            shortest, longest = min(shortest, len(prompt)), max(longest, len(prompt))
            if (
                not self._fits(rank, limit)
                or longest > _MAX_PADDING_RATIO * shortest
                or longest * (len(chosen) + 1) > limit
                or any(self.cache.share_a_block(self._jobs[o.key].prompt, prompt) for o in chosen)
            ):
                break
            chosen.append(rank)
        return chosen

    def _fits(self, rank: Rank, limit: int) -> bool:
        """Whether it can be prefilled from its beginning to its end in one step."""
        prompt = self._jobs[rank.key].prompt
        return len(prompt) <= limit and not self.cache.cached_tokens(prompt)

    def _chunk(self, key: int, limit: int, *, is_first: bool) -> Prefill:
        job = self._jobs[key]
        start = job.prefilled_tokens
        stop = min(start + limit - limit % self.grid_tokens, len(job.prompt))
        return Prefill(
            key, self.table.row_of[key], start, stop, is_first, is_last=stop == len(job.prompt)
        )


def _remove(ranks: list[Rank], rank: Rank) -> None:
    del ranks[bisect_left(ranks, rank)]


def check(scheduler: Scheduler) -> list[str]:
    """Violated invariants, in words; empty for a sound scheduler. For tests and post-mortems."""
    table = scheduler.table
    violations = check_cache(scheduler.cache)
    queued = {rank.key for rank in scheduler._queue}
    prefilling = {rank.key for rank in scheduler._prefilling}
    decoding = set(table.decoding)
    active = set(scheduler.active)
    if queued & active:
        violations.append(f"both queued and in a slot: {queued & active}")
    if prefilling | decoding != active or prefilling & decoding:
        violations.append(f"slots {table.row_of}, prefilling {prefilling}, decoding {decoding}")
    if queued | active != set(scheduler._jobs):
        violations.append("a generation is lost or was never submitted")
    if len(queued) != len(scheduler._queue) or scheduler._queue != sorted(scheduler._queue):
        violations.append("the queue holds a key twice or is out of order")
    pending = [0] * len(CLASS_RANK)
    for job in scheduler._jobs.values():
        pending[job.rank.class_rank] += len(job.prompt) - job.prefilled_tokens
    if pending != scheduler._prompt_tokens:
        violations.append(f"{scheduler._prompt_tokens} pending tokens counted, {pending} are")
    for key in prefilling:
        if table.lengths[table.row_of[key]] != scheduler._jobs[key].prefilled_tokens:
            violations.append(f"the row of {key} is not as long as what was prefilled")
    return violations
