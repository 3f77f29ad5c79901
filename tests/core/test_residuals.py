import random

import pytest

from gateway.core.residuals import Residuals
from gateway.core.round_trip import RoundTrip


@pytest.mark.parametrize("spread", [0.05, 0.5])
def test_the_margin_covers_about_nineteen_of_twenty(spread: float) -> None:
    rng = random.Random(3)
    residuals = Residuals()
    num_covered = 0
    for number in range(6000):
        actual_s = 0.1 * rng.lognormvariate(0.0, spread)
        if number >= 1000:
            num_covered += actual_s <= 0.1 + residuals.margin_s(1, 0.1)
        residuals.add(1, 0.1, actual_s)
    assert 0.93 <= num_covered / 5000 <= 0.97


def test_classes_learn_apart_and_the_margin_is_never_negative() -> None:
    residuals = Residuals()
    for _ in range(200):
        residuals.add(0, 0.1, 0.01)
        residuals.add(1, 0.1, 0.4)
    assert residuals.margin_s(0, 0.1) == 0.0
    assert residuals.margin_s(1, 0.1) > 0.2
    assert residuals.margin_s(2, 0.1) == 0.0


def test_absurd_times_are_held_in_bounds() -> None:
    residuals = Residuals()
    for _ in range(100):
        residuals.add(0, 0.0, 1e12)
        residuals.add(0, 0.0, -1e12)
    assert 0.0 <= residuals.margin_s(0, 0.1) <= 2.1


def test_the_least_round_trip_stands_against_queues_and_yields_to_a_longer_path() -> None:
    trip = RoundTrip()
    assert not trip.is_known
    trip.add(0.020, 0.0)
    for at_s in range(1, 8):
        trip.add(0.080, float(at_s))
    assert trip.min_s == 0.020
    assert 0.0 < trip.jitter_s <= 0.060
    for at_s in range(8, 40):
        trip.add(0.080, float(at_s))
    assert trip.min_s == 0.080


@pytest.mark.parametrize("absurd_s", [-0.001, float("inf"), float("nan")])
def test_a_forged_round_trip_is_refused(absurd_s: float) -> None:
    with pytest.raises(ValueError, match="cannot take"):
        RoundTrip().add(absurd_s, 0.0)
