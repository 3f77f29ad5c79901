from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.step_time import Curve, StepTimes

_CURVE = Curve((1, 4, 16), (0.010, 0.013, 0.037))
_TIMES = StepTimes("x", _CURVE, 1e-6, _CURVE, 2e-9, is_measured=False)


@pytest.mark.parametrize(
    ("count", "expected_s"),
    [(0, 0.010), (1, 0.010), (2, 0.011), (4, 0.013), (10, 0.025), (16, 0.037), (26, 0.057)],
)
def test_a_curve_is_linear_between_its_points_and_beyond(count: int, expected_s: float) -> None:
    assert _CURVE.at(count) == pytest.approx(expected_s)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_work_never_takes_less_time(one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert _CURVE.at(fewer) <= _CURVE.at(more)
    assert _TIMES.decode_s(4, fewer) <= _TIMES.decode_s(4, more)
    assert _TIMES.prefill_s(8, fewer) <= _TIMES.prefill_s(8, more)


def test_context_and_past_cost_what_the_slopes_say() -> None:
    assert _TIMES.decode_s(4, 1000) == pytest.approx(0.013 + 1000 * 1e-6)
    assert _TIMES.prefill_s(4, 500) == pytest.approx(0.013 + 4 * 500 * 2e-9)


@pytest.mark.parametrize(
    ("counts", "times_s", "complaint"),
    [
        ((1,), (1.0,), "two or more"),
        ((1, 2), (1.0,), "2 counts and 1 times"),
        ((2, 3), (1.0, 2.0), "begin at 1"),
        ((1, 1), (1.0, 2.0), "grow"),
        ((1, 2), (0.0, 2.0), "above 0"),
        ((1, 2), (1.0, float("nan")), "above 0"),
        ((1, 2), (2.0, 1.0), "less time"),
    ],
)
def test_points_that_make_no_curve_are_refused(
    counts: tuple[int, ...], times_s: tuple[float, ...], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Curve(counts, times_s)


def test_a_negative_slope_is_refused() -> None:
    with pytest.raises(ValueError, match="slope"):
        StepTimes("x", _CURVE, -1e-6, _CURVE, 0.0, is_measured=False)
