"""The scheduler: order of service, chunk boundaries, and its invariants under random schedules."""

from __future__ import annotations

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.budget import TurnClass
from gateway.core.generation import CLASS_RANK, SERVICE_ORDER, Backlog
from gateway.core.scheduling import Scheduler, StepPlan, check


def _scheduler(num_slots: int = 2, chunk_tokens: int = 4, max_num_queued: int = 8) -> Scheduler:
    return Scheduler(num_slots, chunk_tokens, max_num_queued)


def _submit(
    scheduler: Scheduler,
    key: int,
    *,
    prompt_tokens: int = 3,
    turn_class: TurnClass = TurnClass.AGENT,
    deadline_s: float | None = None,
) -> None:
    scheduler.submit(key, prompt_tokens=prompt_tokens, turn_class=turn_class, deadline_s=deadline_s)


def _step(scheduler: Scheduler, *ended: int, now_s: float = 0.0) -> StepPlan:
    plan = scheduler.plan_step(now_s)
    scheduler.commit(plan, ended)
    assert check(scheduler) == []
    return plan


def test_service_goes_by_class_then_deadline_then_arrival() -> None:
    scheduler = _scheduler(num_slots=5)
    _submit(scheduler, 1, turn_class=TurnClass.BATCH)
    _submit(scheduler, 2)
    _submit(scheduler, 3, deadline_s=9.0)
    _submit(scheduler, 4, deadline_s=5.0)
    _submit(scheduler, 5, turn_class=TurnClass.VOICE, deadline_s=99.0)
    order = [plan.prefill.key for _ in range(5) if (plan := _step(scheduler)).prefill]
    assert order == [5, 4, 3, 2, 1]


def test_chunks_lie_on_absolute_boundaries_and_one_runs_per_step() -> None:
    scheduler = _scheduler(chunk_tokens=4)
    _submit(scheduler, 1, prompt_tokens=10)
    chunks = [_step(scheduler).prefill for _ in range(3)]
    assert [(c.start, c.stop, c.is_last) for c in chunks if c] == [
        (0, 4, False),
        (4, 8, False),
        (8, 10, True),
    ]
    assert _step(scheduler).decode == (1,)


def test_a_voice_turn_overtakes_a_long_prefill_and_its_rows_stay_apart() -> None:
    scheduler = _scheduler(num_slots=2, chunk_tokens=4)
    _submit(scheduler, 1, prompt_tokens=12, turn_class=TurnClass.BATCH)
    _step(scheduler)
    _submit(scheduler, 2, prompt_tokens=2, turn_class=TurnClass.VOICE)
    overtaking = _step(scheduler).prefill
    assert overtaking is not None
    assert (overtaking.key, overtaking.is_last) == (2, True)
    plan = _step(scheduler)
    assert plan.decode == (2,)
    assert plan.prefill is not None
    assert (plan.prefill.key, plan.prefill.start) == (1, 4)


def test_the_queue_is_bounded_and_patient_work_keeps_no_urgent_one_out() -> None:
    scheduler = _scheduler(max_num_queued=2)
    _submit(scheduler, 1, turn_class=TurnClass.BATCH)
    _submit(scheduler, 2)
    full = {turn_class: scheduler.is_full_for(turn_class) for turn_class in TurnClass}
    assert full == {TurnClass.VOICE: False, TurnClass.AGENT: False, TurnClass.BATCH: True}
    assert scheduler.is_full_for(TurnClass.AGENT, num_preparing=1)
    _submit(scheduler, 3, turn_class=TurnClass.VOICE)
    assert scheduler.is_full_for(TurnClass.AGENT)
    assert not scheduler.is_full_for(TurnClass.VOICE)


def test_the_backlog_is_told_by_class() -> None:
    scheduler = _scheduler(num_slots=1, chunk_tokens=4)
    _submit(scheduler, 1, prompt_tokens=9, turn_class=TurnClass.BATCH)
    _step(scheduler)
    _submit(scheduler, 2, prompt_tokens=5, turn_class=TurnClass.VOICE)
    _submit(scheduler, 3, prompt_tokens=7, turn_class=TurnClass.VOICE)
    assert scheduler.backlog == (Backlog(2, 12), Backlog(), Backlog(0, 5))


def test_what_waits_past_its_deadline_expires_and_what_runs_does_not() -> None:
    scheduler = _scheduler(num_slots=1)
    _submit(scheduler, 1, deadline_s=1.0)
    _step(scheduler, now_s=0.5)
    _submit(scheduler, 2, deadline_s=2.0)
    assert _step(scheduler, now_s=1.5).expired == ()
    late = _step(scheduler, now_s=2.0)
    assert late.expired == (2,)
    assert late.decode == (1,)


def test_in_every_class_what_is_late_expires_and_the_rest_stays() -> None:
    scheduler = _scheduler(num_slots=1)
    for key, turn_class in enumerate(TurnClass):
        _submit(scheduler, 10 + key, turn_class=turn_class, deadline_s=9.0)
        _submit(scheduler, 20 + key, turn_class=turn_class)
        _submit(scheduler, 30 + key, turn_class=turn_class, deadline_s=1.0)
    assert sorted(_step(scheduler, now_s=1.0).expired) == [30, 31, 32]
    assert scheduler.num_active + scheduler.num_queued == 6


def test_cancelling_frees_the_slot_for_the_next_step() -> None:
    scheduler = _scheduler(num_slots=1)
    _submit(scheduler, 1)
    _step(scheduler)
    _submit(scheduler, 2)
    assert _step(scheduler).prefill is None
    assert scheduler.cancel(1)
    assert not scheduler.cancel(1)
    plan = _step(scheduler)
    assert plan.decode == ()
    assert plan.prefill is not None
    assert plan.prefill.key == 2


class SchedulerMachine(RuleBasedStateMachine):
    """Random schedules against a model of the KV array: each row as the list of its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = _scheduler(num_slots=3, chunk_tokens=4, max_num_queued=6)
        self.kv: list[list[tuple[int, int]]] = [[] for _ in range(4)]
        self.prompts: dict[int, int] = {}
        self.waits: dict[int, tuple[TurnClass, float]] = {}
        """Class and deadline of every live generation."""
        self.cached: dict[int, int] = {}
        self.now_s = 0.0
        self.num_submitted = 0

    @rule(
        prompt_tokens=st.integers(1, 11),
        turn_class=st.sampled_from(TurnClass),
        patience_s=st.none() | st.floats(0.0, 5.0),
    )
    def submit(self, prompt_tokens: int, turn_class: TurnClass, patience_s: float | None) -> None:
        key = self.num_submitted
        self.num_submitted += 1
        deadline_s = None if patience_s is None else self.now_s + patience_s
        num_ahead = sum(
            CLASS_RANK[self.waits[queued][0]] <= CLASS_RANK[turn_class] for queued in self._queued()
        )
        assert self.scheduler.is_full_for(turn_class) == (num_ahead >= 6)
        _submit(
            self.scheduler,
            key,
            prompt_tokens=prompt_tokens,
            turn_class=turn_class,
            deadline_s=deadline_s,
        )
        self.prompts[key], self.cached[key] = prompt_tokens, 0
        self.waits[key] = (turn_class, inf if deadline_s is None else deadline_s)

    def _queued(self) -> list[int]:
        return [key for key in self.prompts if key not in self.scheduler.table.row_of]

    @precondition(lambda self: self.prompts)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.prompts)))
        assert self.scheduler.cancel(key)
        self._forget(key)

    @rule(passed_s=st.floats(0.0, 2.0), data=st.data())
    def step(self, passed_s: float, data: st.DataObject) -> None:
        self.now_s += passed_s
        late = {key for key in self._queued() if self.waits[key][1] <= self.now_s}
        plan = self.scheduler.plan_step(self.now_s)
        assert late == set(plan.expired)
        for key in plan.expired:
            self._forget(key)
        for src, dst, num_tokens in plan.moves:
            self.kv[dst][:num_tokens] = self.kv[src][:num_tokens]
        candidates = self._run(plan)
        ended = data.draw(st.sets(st.sampled_from(candidates))) if candidates else set()
        self.scheduler.commit(plan, ended)
        for key in ended:
            self._forget(key)

    def _run(self, plan: StepPlan) -> list[int]:
        """Execute on the model; the keys that got a token, hence may end."""
        for row, key in enumerate(plan.decode):
            self._append(key, row, self.cached[key], self.cached[key] + 1)
        chunk = plan.prefill
        if chunk is None:
            return list(plan.decode)
        assert chunk.row >= len(plan.decode)
        assert chunk.start % 4 == 0
        assert chunk.start == self.cached[chunk.key]
        self._append(chunk.key, chunk.row, chunk.start, chunk.stop)
        assert chunk.is_last == (chunk.stop == self.prompts[chunk.key])
        return [*plan.decode, chunk.key] if chunk.is_last else list(plan.decode)

    def _append(self, key: int, row: int, start: int, stop: int) -> None:
        assert self.kv[row][:start] == [(key, position) for position in range(start)]
        self.kv[row][start:] = [(key, position) for position in range(start, stop)]
        self.cached[key] = stop

    def _forget(self, key: int) -> None:
        del self.prompts[key], self.cached[key], self.waits[key]

    @invariant()
    def sound(self) -> None:
        assert check(self.scheduler) == []
        assert set(self.scheduler._jobs) == set(self.prompts)
        queued = [self.waits[key][0] for key in self._queued()]
        for turn_class, backlog in zip(SERVICE_ORDER, self.scheduler.backlog, strict=True):
            live = [key for key in self.prompts if self.waits[key][0] is turn_class]
            pending = sum(max(0, self.prompts[key] - self.cached[key]) for key in live)
            assert backlog == Backlog(queued.count(turn_class), pending)

    def teardown(self) -> None:
        """Whatever happened, the rest can be served: nothing is stuck."""
        for _ in range(200):
            if self.scheduler.is_idle:
                break
            plan = self.scheduler.plan_step(self.now_s)
            self.scheduler.commit(plan, plan.decode)
        assert self.scheduler.is_idle
        assert self.scheduler.table.num_free == 3


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
