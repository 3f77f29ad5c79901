"""Arrival processes: seeds, rates, burstiness. Bounds are five standard errors or more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.arrivals import (
    BurstPath,
    Bursts,
    gamma,
    mmpp_correlated,
    mmpp_local,
    modulated,
    poisson,
    spread_batches,
)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


rates = st.sampled_from([0.5, 20.0, 400.0])
seeds = st.integers(0, 2**32 - 1)


@given(rate_hz=rates, seed=seeds)
@settings(max_examples=30, deadline=None)
def test_poisson_has_its_rate_and_is_sorted_and_seeded(rate_hz: float, seed: int) -> None:
    duration_s = 4000.0 / rate_hz
    times = poisson(rate_hz, duration_s, rng(seed))
    assert len(times) == pytest.approx(4000, abs=6 * 4000**0.5)
    assert np.all(np.diff(times) >= 0.0)
    assert times[0] >= 0.0
    assert times[-1] < duration_s
    assert np.array_equal(times, poisson(rate_hz, duration_s, rng(seed)))


@given(rate_hz=rates, cv=st.sampled_from([0.0, 0.3, 1.0, 2.0, 4.0]), seed=seeds)
@settings(max_examples=40, deadline=None)
def test_gamma_has_its_rate_and_cv(rate_hz: float, cv: float, seed: int) -> None:
    count = 20_000
    times = gamma(rate_hz, cv, count / rate_hz, rng(seed))
    assert len(times) == pytest.approx(count, abs=7 * max(cv, 0.05) * count**0.5 + 2)
    gaps = np.diff(times)
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(cv, rel=0.25, abs=1e-6)
    assert np.array_equal(times, gamma(rate_hz, cv, count / rate_hz, rng(seed)))


def test_gamma_is_stationary_from_the_first_second() -> None:
    """A renewal process begun with a whole gap would have a burst or a hole at its beginning."""
    source = rng()
    runs = [gamma(1.0, 3.0, 10.0, source) for _ in range(6000)]
    first = sum(int(np.sum(run < 1.0)) for run in runs)
    last = sum(int(np.sum(run >= 9.0)) for run in runs)
    assert first == pytest.approx(6000, abs=1200)
    assert last == pytest.approx(6000, abs=1200)


@given(
    factor=st.sampled_from([1.0, 4.0, 10.0]),
    time_ratio=st.sampled_from([0.05, 0.1, 0.5]),
    seed=seeds,
)
@settings(max_examples=30, deadline=None)
def test_a_modulated_process_has_its_rates(factor: float, time_ratio: float, seed: int) -> None:
    bursts = Bursts(factor, 3.0, time_ratio)
    path = BurstPath.draw(bursts, 600.0, rng(seed))
    times = modulated(40.0, bursts, path, rng(seed + 1))
    edges = np.concatenate(([0.0], path.changes_s, [600.0]))
    state = np.searchsorted(edges, times, "right") - 1
    in_burst = (state % 2 == 0) == path.begins_in_burst
    calm_hz = bursts.calm_rate_hz(40.0)
    for burst, spent_s, rate_hz in (
        (True, path.burst_s(), calm_hz * factor),
        (False, 600.0 - path.burst_s(), calm_hz),
    ):
        expected = rate_hz * spent_s
        assert int(np.sum(in_burst == burst)) == pytest.approx(expected, abs=6 * expected**0.5 + 6)


def test_bursts_take_their_share_of_time_and_last_their_mean() -> None:
    bursts = Bursts(4.0, 3.0, 0.1)
    path = BurstPath.draw(bursts, 200_000.0, rng())
    assert path.burst_s() / 200_000.0 == pytest.approx(0.1, rel=0.1)
    assert path.burst_s() / (len(path.changes_s) / 2) == pytest.approx(3.0, rel=0.1)


def test_the_mean_rate_holds_over_many_bursts() -> None:
    times = mmpp_local(1, 5.0, Bursts(), 50_000.0, rng())[0]
    assert len(times) / 50_000.0 == pytest.approx(5.0, rel=0.05)


def counts(times: np.ndarray, duration_s: float) -> np.ndarray:
    return np.histogram(times, np.arange(0.0, duration_s + 1.0))[0]


def test_regional_bursts_hit_neighbours_at_once_and_local_ones_do_not() -> None:
    duration_s = 2000.0
    regional = mmpp_correlated([7, 7, 9], 20.0, Bursts(), duration_s, rng())
    local = mmpp_local(2, 20.0, Bursts(), duration_s, rng())

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(counts(a, duration_s), counts(b, duration_s))[0, 1])

    assert correlation(regional[0], regional[1]) > 0.6
    assert abs(correlation(regional[0], regional[2])) < 0.2
    assert abs(correlation(local[0], local[1])) < 0.2


def test_batches_are_spread_within_their_quantum() -> None:
    batches = np.repeat(np.arange(10) * 3.0, 20)
    spread = spread_batches(batches, 3.0, rng())
    assert np.all(np.diff(spread) >= 0.0)
    assert np.array_equal(np.sort(spread // 3.0 * 3.0), batches)
    assert len(np.unique(spread)) == len(spread)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(rate_hz: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        poisson(rate_hz, 1.0, rng())


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="cv"):
        gamma(1.0, -0.5, 1.0, rng())
    with pytest.raises(ValueError, match="duration"):
        poisson(1.0, 0.0, rng())
    with pytest.raises(ValueError, match="time_ratio"):
        Bursts(4.0, 3.0, 1.0)
    with pytest.raises(ValueError, match="quantum_s"):
        spread_batches(np.zeros(1), 0.0, rng())
