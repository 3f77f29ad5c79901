"""The scheduler: order of service, chunk boundaries, and its invariants under random schedules."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.budget import TurnClass
from gateway.core.generation import CLASS_RANK, SERVICE_ORDER, Backlog
from gateway.core.scheduling import Scheduler, StepPlan, check
from tests.core.kv_model import KvModel
from tests.core.random_schedules import run_schedule


def _scheduler(num_slots: int = 2, chunk_tokens: int = 4, max_num_queued: int = 8) -> Scheduler:
    return Scheduler(num_slots, chunk_tokens, max_num_queued)


def _prompt(key: int, num_tokens: int) -> tuple[int, ...]:
    """A prompt that begins like no other key's."""
    return tuple(range(1000 * key, 1000 * key + num_tokens))


def _submit(
    scheduler: Scheduler,
    key: int,
    *,
    prompt_tokens: int = 3,
    prompt: tuple[int, ...] = (),
    turn_class: TurnClass = TurnClass.AGENT,
    deadline_s: float | None = None,
) -> None:
    scheduler.submit(
        key,
        prompt=prompt or _prompt(key, prompt_tokens),
        turn_class=turn_class,
        deadline_s=deadline_s,
    )


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
    order = [chunk.key for _ in range(5) for chunk in _step(scheduler).prefill]
    assert order == [5, 4, 3, 2, 1]


def test_chunks_lie_on_absolute_boundaries_and_one_runs_per_step() -> None:
    scheduler = _scheduler(chunk_tokens=4)
    _submit(scheduler, 1, prompt_tokens=10)
    chunks = [chunk for _ in range(3) for chunk in _step(scheduler).prefill]
    assert [(c.start, c.stop, c.is_last) for c in chunks] == [
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
    (overtaking,) = _step(scheduler).prefill
    assert (overtaking.key, overtaking.is_last) == (2, True)
    plan = _step(scheduler)
    assert plan.decode == (2,)
    assert [(chunk.key, chunk.start) for chunk in plan.prefill] == [(1, 4)]


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
    assert _step(scheduler).prefill == ()
    assert scheduler.cancel(1)
    assert not scheduler.cancel(1)
    plan = _step(scheduler)
    assert plan.decode == ()
    assert [chunk.key for chunk in plan.prefill] == [2]


def test_a_grid_that_does_not_fit_the_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="cut at"):
        Scheduler(2, 6, 8, grid_tokens=4)


def test_beside_running_streams_a_prompt_is_cut_to_what_their_pace_allows() -> None:
    scheduler = Scheduler(2, 8, 8, grid_tokens=2)
    _submit(scheduler, 1, prompt_tokens=3)
    _submit(scheduler, 2, prompt_tokens=20)
    stops = []
    for allowed in (0, 5, 1, 100, None):
        plan = scheduler.plan_step(0.0, prefill_tokens=allowed)
        stops += [chunk.stop for chunk in plan.prefill]
        scheduler.commit(plan, ())
    # Nobody decodes in the first step.
    assert stops == [3, 4, 6, 14, 20]


def test_a_conversations_next_turn_takes_its_row_over_and_prefills_only_what_is_new() -> None:
    scheduler = _scheduler(num_slots=1, chunk_tokens=4)
    first = _prompt(1, 9)
    _submit(scheduler, 1, prompt=first)
    for _ in range(3):
        _step(scheduler)
    _step(scheduler, 1)
    _submit(scheduler, 2, prompt=(*first, 7, 7, 7, 7))
    plan = _step(scheduler)
    assert [(c.start, c.stop, c.is_first) for c in plan.prefill] == [(8, 12, True)]
    assert plan.moves == ()
    assert scheduler.backlog == (Backlog(), Backlog(0, 1), Backlog())


def test_prompts_that_share_a_beginning_get_copies_and_leave_the_original() -> None:
    scheduler = Scheduler(2, 4, 8, num_spare_rows=2)
    shared = _prompt(9, 8)
    for key in (1, 2, 3):
        _submit(scheduler, key, prompt=(*shared, key, key, key))
    first = [chunk for _ in range(3) for chunk in _step(scheduler).prefill]
    assert [chunk.stop for chunk in first] == [4, 8, 11]
    second = _step(scheduler)
    assert [(c.key, c.start) for c in second.prefill] == [(2, 8)]
    assert second.moves[-1].num_tokens == 8
    third = _step(scheduler, 1), _step(scheduler)
    assert [(c.key, c.start) for c in third[1].prefill] == [(3, 8)]


def test_the_row_that_is_cheap_to_compute_again_goes_first() -> None:
    scheduler = Scheduler(1, 4, 8, num_spare_rows=1)
    long, short = _prompt(1, 40), _prompt(2, 8)
    for key, prompt in ((1, long), (2, short), (3, _prompt(3, 8))):
        _submit(scheduler, key, prompt=prompt)
        while scheduler.cache.cached_tokens((*prompt, 0, 0)) < len(prompt) - 1:
            _step(scheduler)
        _step(scheduler, key)
    assert scheduler.cache.cached_tokens((*long, 0, 0)) == 40
    assert scheduler.cache.cached_tokens((*short, 0, 0)) == 0


def test_whole_prompts_of_like_length_run_together_in_consecutive_rows() -> None:
    scheduler = Scheduler(6, 16, 8, grid_tokens=4, batches_prompts=True)
    for key, prompt_tokens in enumerate((5, 4, 3, 2), 1):
        _submit(scheduler, key, prompt_tokens=prompt_tokens)
    plan = _step(scheduler)
    assert [(c.key, c.row, c.stop) for c in plan.prefill] == [(1, 0, 5), (2, 1, 4), (3, 2, 3)]
    after = _step(scheduler)
    assert after.decode == (1, 2, 3)
    assert after.moves == ()
    assert [chunk.key for chunk in after.prefill] == [4]


def test_prompts_that_begin_alike_wait_for_one_another_instead_of_running_together() -> None:
    scheduler = Scheduler(4, 32, 8, grid_tokens=4, batches_prompts=True)
    shared = _prompt(5, 4)
    for key in (1, 2):
        _submit(scheduler, key, prompt=(*shared, key, key))
    assert [chunk.key for chunk in _step(scheduler).prefill] == [1]
    assert [(chunk.key, chunk.start) for chunk in _step(scheduler).prefill] == [(2, 4)]


def test_a_voice_turn_takes_the_slot_of_batch_work_which_goes_on_later() -> None:
    scheduler = Scheduler(2, 4, 8, num_spare_rows=1)
    model = KvModel(scheduler)
    for key, turn_class in ((1, TurnClass.BATCH), (2, TurnClass.AGENT)):
        model.add(key, _prompt(key, 6))
        _submit(scheduler, key, prompt_tokens=6, turn_class=turn_class)
    for _ in range(6):
        plan = scheduler.plan_step(0.0)
        model.execute(plan)
        scheduler.commit(plan, ())
    before = list(model.tokens[1])
    model.add(3, _prompt(3, 3))
    _submit(scheduler, 3, prompt_tokens=3, turn_class=TurnClass.VOICE, deadline_s=1.0)
    plan = scheduler.plan_step(0.5)
    assert plan.preempted == (1,)
    assert [chunk.key for chunk in plan.prefill] == [3]
    model.execute(plan)
    scheduler.commit(plan, ())
    assert scheduler.num_queued == 1
    scheduler.cancel(3)
    model.forget(3)
    while len(model.tokens[1]) <= len(before):
        plan = scheduler.plan_step(9.0)
        model.execute(plan)
        scheduler.commit(plan, ())
        model.check()
    assert model.tokens[1][:-1] == before
    assert model.num_cached == 4


def test_what_lost_its_slot_does_not_expire_and_counts_as_waiting() -> None:
    scheduler = _scheduler(num_slots=1, chunk_tokens=4, max_num_queued=1)
    _submit(scheduler, 1, prompt_tokens=6, turn_class=TurnClass.BATCH, deadline_s=1.0)
    _step(scheduler)
    _submit(scheduler, 2, prompt_tokens=3, turn_class=TurnClass.VOICE)
    assert _step(scheduler, now_s=0.5).preempted == (1,)
    assert scheduler.backlog == (Backlog(), Backlog(), Backlog(1, 6))
    assert scheduler.is_full_for(TurnClass.BATCH)
    assert not scheduler.is_full_for(TurnClass.AGENT)
    _submit(scheduler, 3, turn_class=TurnClass.BATCH, deadline_s=1.0)
    assert _step(scheduler, 2, now_s=2.0).expired == (3,)
    assert [chunk.key for chunk in _step(scheduler, now_s=2.0).prefill] == [1]


def test_what_the_cache_holds_of_a_waiting_prompt_is_no_work() -> None:
    scheduler = _scheduler(num_slots=1, chunk_tokens=4)
    _submit(scheduler, 1, prompt=_prompt(1, 8))
    _step(scheduler)
    _step(scheduler)
    _submit(scheduler, 2, prompt=(*_prompt(1, 8), 7, 7))
    assert scheduler.backlog[1] == Backlog(1, 2)
    scheduler.cancel(1, keeps_prompt=False)
    assert _step(scheduler).prefill[0].start == 0
    assert scheduler.backlog[1] == Backlog(0, 6)


def test_only_batch_work_is_preempted_and_only_for_voice() -> None:
    scheduler = _scheduler(num_slots=1)
    _submit(scheduler, 1, turn_class=TurnClass.BATCH)
    _step(scheduler)
    _submit(scheduler, 2, turn_class=TurnClass.AGENT)
    assert _step(scheduler).preempted == ()
    scheduler.cancel(1)
    _step(scheduler)
    _submit(scheduler, 3, turn_class=TurnClass.VOICE)
    assert _step(scheduler).preempted == ()


def test_nothing_is_kept_of_a_generation_that_failed() -> None:
    scheduler = _scheduler(chunk_tokens=4)
    _submit(scheduler, 1, prompt=_prompt(1, 8))
    _step(scheduler)
    _step(scheduler)
    plan = scheduler.plan_step(0.0)
    scheduler.commit(plan, (), failed=(1,))
    assert check(scheduler) == []
    assert scheduler.cache.cached_tokens((*_prompt(1, 8), 0, 0)) == 0


@pytest.mark.parametrize("first_seed", range(0, 180, 60))
def test_random_schedules_keep_every_row_what_its_generation_needs(first_seed: int) -> None:
    reach = [run_schedule(seed) for seed in range(first_seed, first_seed + 60)]
    # The schedules do get to what they are meant to try.
    assert all(sum(column) > 20 for column in zip(*reach, strict=True))


class SchedulerMachine(RuleBasedStateMachine):
    """Random schedules against a model of the KV array."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(3, 4, 6, grid_tokens=2, num_spare_rows=2, batches_prompts=True)
        self.model = KvModel(self.scheduler)
        self.waits: dict[int, tuple[TurnClass, float]] = {}
        """Class and deadline of every generation submitted."""
        self.began: set[int] = set()
        """Those that have had a slot."""
        self.now_s = 0.0
        self.num_submitted = 0

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=11),
        turn_class=st.sampled_from(TurnClass),
        patience_s=st.none() | st.floats(0.0, 5.0),
    )
    def submit(self, prompt: list[int], turn_class: TurnClass, patience_s: float | None) -> None:
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
            prompt=tuple(prompt),
            turn_class=turn_class,
            deadline_s=deadline_s,
        )
        self.model.add(key, tuple(prompt))
        self.waits[key] = (turn_class, inf if deadline_s is None else deadline_s)

    def _queued(self) -> list[int]:
        return [key for key in self.model.prompts if key not in self.scheduler.active]

    @precondition(lambda self: self.model.prompts)
    @rule(data=st.data(), keeps_prompt=st.booleans())
    def cancel(self, data: st.DataObject, keeps_prompt: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.prompts)))
        assert self.scheduler.cancel(key, keeps_prompt=keeps_prompt)
        self.model.forget(key)

    @rule(
        passed_s=st.floats(0.0, 2.0),
        prefill_tokens=st.none() | st.integers(0, 4),
        data=st.data(),
    )
    def step(self, passed_s: float, prefill_tokens: int | None, data: st.DataObject) -> None:
        self.now_s += passed_s
        late = {key for key in self._queued() if self.waits[key][1] <= self.now_s} - self.began
        plan = self.scheduler.plan_step(self.now_s, prefill_tokens=prefill_tokens)
        assert late == set(plan.expired)
        candidates = self.model.execute(plan)
        self.began |= {chunk.key for chunk in plan.prefill}
        ended = data.draw(st.sets(st.sampled_from(candidates))) if candidates else set()
        self.scheduler.commit(plan, ended)
        for key in ended:
            self.model.forget(key)

    @invariant()
    def sound(self) -> None:
        self.model.check()
        assert set(self.scheduler._jobs) == set(self.model.prompts)
        queued = [self.waits[key][0] for key in self._queued()]
        for turn_class, backlog in zip(SERVICE_ORDER, self.scheduler.backlog, strict=True):
            live = [key for key in self.model.prompts if self.waits[key][0] is turn_class]
            pending = sum(map(self.model.pending_tokens, live))
            assert backlog == Backlog(queued.count(turn_class), pending)

    def teardown(self) -> None:
        """Whatever happened, the rest can be served: nothing is stuck."""
        for _ in range(300):
            if self.scheduler.is_idle:
                break
            plan = self.scheduler.plan_step(self.now_s)
            ended = self.model.execute(plan)
            self.scheduler.commit(plan, ended)
            for key in ended:
                self.model.forget(key)
        assert self.scheduler.is_idle
        assert self.scheduler.table.num_free == 3


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
