"""The sum rule: a turn's stages add up to what the client saw, whatever is marked when."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import TurnClass
from gateway.core.stages import Outcome, Stage, StageClock, TurnRecord, TurnTrail

Step = tuple[Any, ...]
STARTED_S = 86_400.0
TOLERANCE_S = 1e-8

stages = st.sampled_from(Stage)
steps_s = st.floats(-0.01, 2.0)
claims_s = st.one_of(st.floats(-1.0, 3.0), st.sampled_from([math.inf, -math.inf, math.nan]))
marks = st.tuples(st.just("mark"), stages, steps_s)
parts = st.tuples(
    st.just("parts"),
    st.lists(st.tuples(stages, claims_s), max_size=3).map(tuple),
    stages,
    steps_s,
)
contents = st.tuples(st.just("content"), steps_s)


def run(script: list[Step]) -> tuple[StageClock, float]:
    """Play a script; answers the clock and the latest instant it was told."""
    clock = StageClock(STARTED_S)
    now_s = latest_s = STARTED_S
    for step in script:
        now_s += step[-1]
        latest_s = max(latest_s, now_s)
        match step:
            case ("mark", stage, _):
                clock.mark(stage, now_s)
            case ("parts", claimed, rest, _):
                clock.mark_parts(claimed, rest, now_s)
            case ("content", _):
                clock.mark_first_content(now_s)
    return clock, latest_s


@given(st.lists(st.one_of(marks, parts, contents), max_size=40))
def test_stages_sum_to_the_duration_and_those_before_content_to_the_ttft(
    script: list[Step],
) -> None:
    clock, latest_s = run(script)

    assert clock.elapsed_s == latest_s - STARTED_S
    assert sum(clock.durations_s().values()) == pytest.approx(clock.elapsed_s, abs=TOLERANCE_S)
    assert all(span.duration_s > 0.0 for span in clock.spans)
    if clock.spans:
        assert clock.spans[0].offset_s == 0.0
    for before, after in pairwise(clock.spans):
        assert before.end_s == pytest.approx(after.offset_s, abs=TOLERANCE_S)
    if clock.ttft_s is not None:
        until_content_s = sum(
            span.duration_s for span in clock.spans if span.end_s <= clock.ttft_s + TOLERANCE_S
        )
        assert until_content_s == pytest.approx(clock.ttft_s, abs=TOLERANCE_S * 10)


@given(st.lists(st.tuples(stages, st.floats(0.0, 1.0)), max_size=3).map(tuple), st.floats(0.0, 3.0))
def test_parts_keep_their_claims_when_they_fit_and_their_proportions_when_not(
    claimed: tuple[tuple[Stage, float], ...], passed_s: float
) -> None:
    clock = StageClock(STARTED_S)
    before_s = clock.durations_s()
    assert before_s == {}

    clock.mark_parts(claimed, Stage.LINK, STARTED_S + passed_s)

    passed_s = clock.elapsed_s
    bounded = [(stage, min(claim_s, passed_s)) for stage, claim_s in claimed]
    total_s = sum(claim_s for _, claim_s in bounded)
    scale = min(1.0, passed_s / total_s) if total_s else 0.0
    expected: dict[Stage, float] = {Stage.LINK: passed_s - total_s * scale}
    for stage, claim_s in bounded:
        expected[stage] = expected.get(stage, 0.0) + claim_s * scale
    got = clock.durations_s()
    for stage, duration_s in expected.items():
        assert got.get(stage, 0.0) == pytest.approx(duration_s, abs=TOLERANCE_S)


def test_what_the_parts_leave_comes_first_and_they_follow_in_order() -> None:
    clock = StageClock(0.0)
    clock.mark(Stage.INGRESS, 0.25)

    clock.mark_parts(((Stage.QUEUE, 0.5), (Stage.PREFILL, 0.25)), Stage.LINK, 1.25)

    assert [(span.stage, span.offset_s, span.duration_s) for span in clock.spans] == [
        (Stage.INGRESS, 0.0, 0.25),
        (Stage.LINK, 0.25, 0.25),
        (Stage.QUEUE, 0.5, 0.5),
        (Stage.PREFILL, 1.0, 0.25),
    ]


def test_a_streamed_answer_leaves_as_many_spans_as_it_has_stages_not_frames() -> None:
    clock = StageClock(0.0)
    clock.mark(Stage.PREFILL, 0.5)
    clock.mark_first_content(1.0)
    for frame in range(1000):
        clock.mark(Stage.DECODE, 1.0 + frame + 0.75)
        clock.mark_first_content(2.0 + frame)

    assert clock.ttft_s == 1.0
    assert [(span.stage, span.offset_s, span.duration_s) for span in clock.spans] == [
        (Stage.PREFILL, 0.0, 0.5),
        (Stage.EGRESS, 0.5, 0.5),
        (Stage.DECODE, 1.0, 750.0),
        (Stage.EGRESS, 751.0, 250.0),
    ]


def test_streams_before_and_after_a_tool_stay_apart() -> None:
    clock = StageClock(0.0)
    clock.mark_first_content(1.0)
    clock.mark(Stage.DECODE, 2.0)
    clock.mark(Stage.TOOL, 3.0)
    clock.mark(Stage.QUEUE, 4.0)
    clock.mark(Stage.DECODE, 5.0)
    clock.mark(Stage.EGRESS, 6.0)
    clock.mark(Stage.DECODE, 7.0)
    clock.mark(Stage.QUEUE, 8.0)

    assert [(span.stage, span.duration_s) for span in clock.spans] == [
        (Stage.EGRESS, 1.0),
        (Stage.DECODE, 1.0),
        (Stage.TOOL, 1.0),
        (Stage.QUEUE, 1.0),
        (Stage.DECODE, 2.0),
        (Stage.EGRESS, 1.0),
        (Stage.QUEUE, 1.0),
    ]


def test_egress_after_the_first_content_is_not_counted_into_the_ttft() -> None:
    clock = StageClock(0.0)
    clock.mark_first_content(0.5)
    clock.mark(Stage.EGRESS, 2.0)

    assert [(span.offset_s, span.duration_s) for span in clock.spans] == [(0.0, 0.5), (0.5, 1.5)]


def closed(
    outcome: Outcome,
    *,
    budget_s: float | None = 0.5,
    content_s: float | None = None,
    end_s: float = 1.0,
) -> TurnRecord:
    trail = TurnTrail("r", StageClock(100.0), turn_class=TurnClass.VOICE, budget_s=budget_s)
    if content_s is not None:
        trail.clock.mark_first_content(100.0 + content_s)
    return trail.close(outcome, "stop", 100.0 + end_s)


def test_what_came_before_the_first_content_sums_to_the_ttft() -> None:
    clock = StageClock(10.0)
    clock.mark(Stage.PREFILL, 10.1)
    clock.mark_first_content(10.15)
    clock.mark(Stage.DECODE, 10.5)
    clock.mark(Stage.EGRESS, 10.7)
    assert clock.ttft_durations_s() == pytest.approx({Stage.PREFILL: 0.1, Stage.EGRESS: 0.05})
    assert StageClock(10.0).ttft_durations_s() == {}


def test_closing_gives_the_rest_of_the_time_to_egress_and_the_duration_to_the_record() -> None:
    record = closed(Outcome.ANSWERED, content_s=0.25)

    assert record.duration_s == 1.0
    assert [(span.stage, span.duration_s) for span in record.spans] == [
        (Stage.EGRESS, 0.25),
        (Stage.EGRESS, 0.75),
    ]


def test_a_mark_later_than_the_end_keeps_the_sum_rule() -> None:
    trail = TurnTrail("r", StageClock(100.0))
    trail.clock.mark(Stage.DECODE, 102.0)

    record = trail.close(Outcome.ANSWERED, "stop", 101.0)

    assert record.duration_s == sum(span.duration_s for span in record.spans) == 2.0


@pytest.mark.parametrize(
    ("record", "met"),
    [
        (closed(Outcome.ANSWERED, content_s=0.5), True),
        (closed(Outcome.ANSWERED, content_s=0.75), False),
        (closed(Outcome.ANSWERED, content_s=0.75, budget_s=None), None),
        (closed(Outcome.ANSWERED, end_s=0.25), True),
        (closed(Outcome.ANSWERED, end_s=1.0), False),
        (closed(Outcome.SHED, end_s=0.001), False),
        (closed(Outcome.FAILED, content_s=0.25), False),
        (closed(Outcome.REJECTED), None),
        (closed(Outcome.ABANDONED, end_s=0.25), None),
        (closed(Outcome.ABANDONED, end_s=0.75), False),
        (closed(Outcome.ABANDONED, content_s=0.25, end_s=9.0), True),
        (closed(Outcome.ABANDONED, content_s=0.75), False),
    ],
)
def test_which_turns_met_their_budget(record: TurnRecord, met: bool | None) -> None:
    assert record.within_budget is met
