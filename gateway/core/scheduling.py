"""What one engine step does: who expires, which rows move, what is prefilled, who decodes.

The scheduler counts tokens and rows; it never sees a token id, an array or a clock. A step is a
transaction: `plan_step` says what to do, the engine does it, `commit` says what came of it.
Between the two nothing else may be called.

A prompt is prefilled in chunks on absolute boundaries (chunk k covers tokens [kC, (k+1)C)), so
that the same prompt is cut the same way whatever else runs: quantised models round differently
when cut differently. Resumed tokens are not prefilled: they go through decode like generated
ones, for the same reason.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.generation import CLASS_RANK, Backlog
from gateway.core.rows import Move, RowTable, check_rows

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.core.budget import TurnClass
    from gateway.core.generation import ClassBacklogs


class Rank(NamedTuple):
    """Order of service: class, then earliest first-token deadline, then arrival."""

    class_rank: int
    """Place in `SERVICE_ORDER`."""
    deadline_s: float
    arrival: int
    key: int


class Prefill(NamedTuple):
    """Run prompt tokens [start, stop) of `key` into KV row `row`."""

    key: int
    row: int
    start: int
    stop: int
    is_last: bool
    """The chunk ends the prompt, so its logits give the first token."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step, in order: drop the expired, move rows, decode rows 0..n-1, prefill a chunk."""

    expired: tuple[int, ...]
    moves: tuple[Move, ...]
    decode: tuple[int, ...]
    """Keys by row: `decode[r]` is in KV row r."""
    prefill: Prefill | None


@dataclass(slots=True)
class _Job:
    rank: Rank
    prompt_tokens: int
    prefilled_tokens: int = 0


@dataclass(slots=True)
class Scheduler:
    """Queue, prefills under way and decoding rows of one engine."""

    num_slots: int
    chunk_tokens: int
    max_num_queued: int
    table: RowTable = field(init=False)
    _jobs: dict[int, _Job] = field(init=False, default_factory=dict)
    _queue: list[Rank] = field(init=False, default_factory=list)
    _prefilling: list[Rank] = field(init=False, default_factory=list)
    _prompt_tokens: list[int] = field(init=False, default_factory=lambda: [0] * len(CLASS_RANK))
    """Prompt tokens not prefilled yet, queued or in a slot, by class."""
    _moves: list[Move] = field(init=False, default_factory=list)
    _num_arrived: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Begin with every row free."""
        self.table = RowTable(self.num_slots)

    @property
    def num_queued(self) -> int:
        """Generations without a slot."""
        return len(self._queue)

    @property
    def num_active(self) -> int:
        """Generations with a slot."""
        return len(self.table.row_of)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to plan."""
        return not self._jobs

    @property
    def backlog(self) -> ClassBacklogs:
        """What waits, by class."""
        voice, agent, batch = (
            Backlog(self._num_ahead(rank) - self._num_ahead(rank - 1), prompt_tokens)
            for rank, prompt_tokens in enumerate(self._prompt_tokens)
        )
        return (voice, agent, batch)

    def is_full_for(self, turn_class: TurnClass, *, num_preparing: int = 0) -> bool:
        """Whether a new arrival of this class is to be refused: too many wait before it.

        Work of later classes does not count, so that a queue of patient work keeps no urgent one
        out. `num_preparing` of what counts is still on its way here. To be asked once, on
        arrival: what was accepted is queued, whatever has come since.
        """
        return self._num_ahead(CLASS_RANK[turn_class]) + num_preparing >= self.max_num_queued

    def submit(
        self, key: int, *, prompt_tokens: int, turn_class: TurnClass, deadline_s: float | None
    ) -> None:
        """Queue a generation of at least one prompt token under a new key.

        `deadline_s` is the instant until which it may wait for a slot; None means any time.
        """
        rank = Rank(
            CLASS_RANK[turn_class],
            inf if deadline_s is None else deadline_s,
            self._num_arrived,
            key,
        )
        self._num_arrived += 1
        self._jobs[key] = _Job(rank, prompt_tokens)
        self._prompt_tokens[rank.class_rank] += prompt_tokens
        insort(self._queue, rank)

    def cancel(self, key: int) -> bool:
        """Forget a generation wherever it is; its slot is free now. False for an unknown key."""
        job = self._jobs.pop(key, None)
        if job is None:
            return False
        self._prompt_tokens[job.rank.class_rank] -= job.prompt_tokens - job.prefilled_tokens
        if key not in self.table.row_of:
            _remove(self._queue, job.rank)
            return True
        if job.prefilled_tokens < job.prompt_tokens:
            _remove(self._prefilling, job.rank)
        self._moves += self.table.release(key)
        return True

    def plan_step(self, now_s: float) -> StepPlan:
        """Decide the next step. The plan must be executed and committed."""
        expired = self._expire(now_s)
        decode = self.table.decoding
        prefill = self._next_prefill()
        moves, self._moves = tuple(self._moves), []
        return StepPlan(expired, moves, decode, prefill)

    def commit(self, plan: StepPlan, ended: Collection[int]) -> None:
        """The plan was executed; the generations in `ended` need no further step."""
        for key in plan.decode:
            self.table.grow(key, 1)
        if plan.prefill is not None:
            self._commit_prefill(plan.prefill)
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

    def _num_ahead(self, class_rank: int) -> int:
        """How many wait of this class and of those before it: where the next one's queue begins."""
        return bisect_left(self._queue, Rank(class_rank + 1, -inf, 0, 0))

    def _expire(self, now_s: float) -> tuple[int, ...]:
        """Drop what waited past its deadline: in each class's part of the queue, the first."""
        late: list[Rank] = []
        for class_rank in CLASS_RANK.values():
            start = self._num_ahead(class_rank - 1)
            stop = bisect_right(self._queue, Rank(class_rank, now_s, self._num_arrived, 0))
            late += self._queue[start:stop]
        for rank in late:
            self.cancel(rank.key)
        return tuple(rank.key for rank in late)

    def _next_prefill(self) -> Prefill | None:
        """The next chunk of whoever comes first: a prefill under way or, with a slot free, the
        head of the queue.
        """
        head = self._queue[0] if self._queue and self.table.num_free else None
        under_way = self._prefilling[0] if self._prefilling else None
        if head is not None and (under_way is None or head < under_way):
            del self._queue[0]
            insort(self._prefilling, head)
            self.table.take(head.key)
            under_way = head
        if under_way is None:
            return None
        job = self._jobs[under_way.key]
        start = job.prefilled_tokens
        stop = min(start - start % self.chunk_tokens + self.chunk_tokens, job.prompt_tokens)
        row = self.table.row_of[under_way.key]
        return Prefill(under_way.key, row, start, stop, stop == job.prompt_tokens)


def _remove(ranks: list[Rank], rank: Rank) -> None:
    del ranks[bisect_left(ranks, rank)]


def check(scheduler: Scheduler) -> list[str]:
    """Violated invariants, in words; empty for a sound scheduler. For tests and post-mortems."""
    table = scheduler.table
    violations = check_rows(table)
    queued = {rank.key for rank in scheduler._queue}
    prefilling = {rank.key for rank in scheduler._prefilling}
    decoding = set(table.decoding)
    if queued & set(table.row_of):
        violations.append(f"both queued and in a slot: {queued & set(table.row_of)}")
    if prefilling | decoding != set(table.row_of) or prefilling & decoding:
        violations.append(f"slots {table.row_of}, prefilling {prefilling}, decoding {decoding}")
    if queued | prefilling | decoding != set(scheduler._jobs):
        violations.append("a generation is lost or was never submitted")
    if len(queued) != len(scheduler._queue) or scheduler._queue != sorted(scheduler._queue):
        violations.append("the queue holds a key twice or is out of order")
    pending = [0] * len(CLASS_RANK)
    for job in scheduler._jobs.values():
        pending[job.rank.class_rank] += job.prompt_tokens - job.prefilled_tokens
    if pending != scheduler._prompt_tokens:
        violations.append(f"{scheduler._prompt_tokens} pending tokens counted, {pending} are")
    for key in prefilling:
        if table.lengths[table.row_of[key]] != scheduler._jobs[key].prefilled_tokens:
            violations.append(f"the row of {key} is not as long as what was prefilled")
    return violations
