from __future__ import annotations

import pytest

from gateway.core.admission import AdmissionReason
from gateway.core.upstream_pace import UpstreamPace, admit_upstream


def estimate_s(
    pace: UpstreamPace,
    now_s: float,
    *,
    has_place: bool = True,
    num_ahead: int = 0,
    sent_s: tuple[float, ...] = (),
) -> float:
    return pace.estimate_s(now_s, limit=2, has_place=has_place, num_ahead=num_ahead, sent_s=sent_s)


def test_the_first_content_is_expected_when_it_came_before() -> None:
    pace = UpstreamPace()
    assert estimate_s(pace, 0.0) == 0.0
    pace.first_content(0.5, 10.0)
    assert estimate_s(pace, 10.0) == 0.5
    for _ in range(40):
        pace.first_content(1.5, 11.0)
    assert estimate_s(pace, 11.0) == pytest.approx(1.5, rel=1e-3)


def test_an_estimate_that_nothing_confirms_fades() -> None:
    pace = UpstreamPace()
    pace.first_content(4.0, 10.0)
    assert estimate_s(pace, 20.0) == pytest.approx(2.0)
    assert estimate_s(pace, 70.0) < 0.1


def test_an_answer_that_is_overdue_tells_before_it_comes() -> None:
    pace = UpstreamPace()
    pace.first_content(0.2, 10.0)
    assert estimate_s(pace, 13.0, sent_s=(10.0, 12.9)) == pytest.approx(3.0)


def test_who_waits_for_a_place_waits_for_answers_to_end() -> None:
    pace = UpstreamPace()
    pace.first_content(0.5, 10.0)
    pace.ended(took_s=2.0, decode_s=1.5, num_tokens=16)
    assert estimate_s(pace, 10.0, has_place=False, num_ahead=1) == pytest.approx(2.5)
    assert (pace.token_s, pace.answer_tokens) == pytest.approx((0.1, 16.0))


def test_a_failing_server_is_left_alone_longer_each_time_until_it_answers() -> None:
    pace = UpstreamPace()
    now_s, pauses_s = 100.0, []
    for _ in range(10):
        pace.failed(now_s)
        pauses_s.append(pace.closed_for_s(now_s))
        now_s += pauses_s[-1]
        assert pace.closed_for_s(now_s) == 0.0
    assert pauses_s[:3] == [0.25, 0.5, 1.0]
    assert pauses_s[-1] == 30.0
    was_failing = pace.is_failing
    pace.first_content(0.1, now_s)
    assert (was_failing, pace.is_failing) == (True, False)
    pace.failed(now_s)
    assert pace.closed_for_s(now_s) == pytest.approx(0.25)
    assert estimate_s(pace, now_s) == pytest.approx(0.35)


@pytest.mark.parametrize(("asked_s", "kept_s"), [(5.0, 5.0), (9e9, 30.0), (-1.0, 0.0)])
def test_a_server_is_left_alone_as_long_as_it_asks_for_within_reason(
    asked_s: float, kept_s: float
) -> None:
    pace = UpstreamPace()
    pace.refused_for(asked_s, 0.0)
    assert pace.closed_for_s(0.0) == kept_s
    assert not pace.is_failing


@pytest.mark.parametrize(
    ("remaining_s", "has_place", "num_ahead", "reason"),
    [
        (1.0, True, 0, AdmissionReason.FITS),
        (None, True, 0, AdmissionReason.NO_BUDGET),
        (0.0, True, 0, AdmissionReason.BUDGET_SPENT),
        (0.4, True, 0, AdmissionReason.ESTIMATE_OVER_BUDGET),
        (1.0, False, 3, AdmissionReason.QUEUE_FULL),
        (1.0, False, 2, AdmissionReason.FITS),
    ],
)
def test_a_turn_is_admitted_within_its_budget(
    remaining_s: float | None, has_place: bool, num_ahead: int, reason: AdmissionReason
) -> None:
    decision = admit_upstream(
        0.5, remaining_s, has_place=has_place, num_ahead=num_ahead, max_num_queued=3
    )
    assert decision.reason is reason
    assert decision.admitted is (reason in (AdmissionReason.FITS, AdmissionReason.NO_BUDGET))
