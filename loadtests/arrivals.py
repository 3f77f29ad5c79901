"""When requests are sent: seeded arrival processes.

Every function returns sorted instants in [0, duration_s), seconds as float64. All are open loop:
nothing about an answer moves a later arrival.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Instants = NDArray[np.float64]


def poisson(rate_hz: float, duration_s: float, rng: Generator) -> Instants:
    """Memoryless arrivals of mean rate `rate_hz`. Raises ValueError out of range."""
    _check(rate_hz, duration_s)
    return np.sort(rng.uniform(0.0, duration_s, rng.poisson(rate_hz * duration_s)))


def gamma(rate_hz: float, cv: float, duration_s: float, rng: Generator) -> Instants:
    """Independent gaps of mean 1/`rate_hz` and coefficient of variation `cv`, Gamma distributed.

    CV 1 is Poisson, above it bursts, 0 an even beat. The process is stationary: the first gap is
    seen from a random instant, so that the first second has the same rate as any other. Raises
    ValueError out of range.
    """
    _check(rate_hz, duration_s)
    if not 0.0 <= cv <= 100.0:
        raise ValueError(f"`cv` must be in 0..100, not {cv:g}")
    if cv == 0.0:
        return _within(np.arange(rng.random(), rate_hz * duration_s) / rate_hz, duration_s)
    shape = 1.0 / (cv * cv)
    scale_s = 1.0 / (rate_hz * shape)
    # The gap that covers a random instant is length-biased (Gamma of shape + 1), and the instant
    # lies anywhere in it (the inspection paradox; Cox, Renewal Theory, 1962).
    instants = [np.array([rng.gamma(shape + 1.0, scale_s) * rng.random()])]
    while instants[-1][-1] < duration_s:
        left_s = duration_s - instants[-1][-1]
        gaps = rng.gamma(shape, scale_s, max(16, int(1.1 * rate_hz * left_s)))
        instants.append(instants[-1][-1] + np.cumsum(gaps))
    return _within(np.concatenate(instants), duration_s)


@dataclass(frozen=True, slots=True)
class Bursts:
    """The two states of a Markov-modulated process. Raises ValueError out of range.

    In a burst the rate is `factor` times that of calm; bursts last `mean_s` on average and take
    `time_ratio` of all time.
    """

    factor: float = 4.0
    mean_s: float = 3.0
    time_ratio: float = 0.1

    def __post_init__(self) -> None:
        """Hold every field to its range."""
        if not 1.0 <= self.factor <= 1000.0 or not 0.0 < self.mean_s < 86_400.0:
            raise ValueError("`factor` must be in 1..1000, `mean_s` above 0 and below a day")
        if not 0.0 < self.time_ratio < 1.0:
            raise ValueError("`time_ratio` must be between 0 and 1")

    def calm_rate_hz(self, mean_rate_hz: float) -> float:
        """The rate outside bursts that gives the mean asked for."""
        return mean_rate_hz / (1.0 + (self.factor - 1.0) * self.time_ratio)


@dataclass(frozen=True, slots=True)
class BurstPath:
    """One history of a two-state process: it changes state at each of `changes_s`."""

    changes_s: NDArray[np.float64]
    begins_in_burst: bool
    duration_s: float

    @classmethod
    def draw(cls, bursts: Bursts, duration_s: float, rng: Generator) -> BurstPath:
        """A stationary history: exponential sojourns, the first state by its share of time."""
        calm_s = bursts.mean_s * (1.0 - bursts.time_ratio) / bursts.time_ratio
        begins_in_burst = bool(rng.random() < bursts.time_ratio)
        changes: list[float] = []
        now_s, in_burst = 0.0, begins_in_burst
        while True:
            now_s += rng.exponential(bursts.mean_s if in_burst else calm_s)
            if now_s >= duration_s:
                return cls(np.array(changes), begins_in_burst, duration_s)
            changes.append(now_s)
            in_burst = not in_burst

    def burst_s(self) -> float:
        """Seconds spent in bursts."""
        edges = np.concatenate(([0.0], self.changes_s, [self.duration_s]))
        return float(np.diff(edges)[0 if self.begins_in_burst else 1 :: 2].sum())


def modulated(rate_hz: float, bursts: Bursts, path: BurstPath, rng: Generator) -> Instants:
    """Poisson arrivals whose rate follows `path`; over many paths the mean rate is `rate_hz`."""
    _check(rate_hz, path.duration_s)
    edges = np.concatenate(([0.0], path.changes_s, [path.duration_s]))
    in_burst = (np.arange(len(edges) - 1) % 2 == 0) == path.begins_in_burst
    calm_hz = bursts.calm_rate_hz(rate_hz)
    rates_hz = np.where(in_burst, calm_hz * bursts.factor, calm_hz)
    # Unit-rate arrivals on the axis of expected counts, mapped back to time.
    expected = np.concatenate(([0.0], np.cumsum(rates_hz * np.diff(edges))))
    counts = np.sort(rng.uniform(0.0, expected[-1], rng.poisson(expected[-1])))
    return _within(np.interp(counts, expected, edges), path.duration_s)


def mmpp_local(
    num_sites: int, rate_hz: float, bursts: Bursts, duration_s: float, rng: Generator
) -> list[Instants]:
    """Per site, bursts of its own."""
    return mmpp_correlated(list(range(num_sites)), rate_hz, bursts, duration_s, rng)


def mmpp_correlated(
    region_of_site: list[int], rate_hz: float, bursts: Bursts, duration_s: float, rng: Generator
) -> list[Instants]:
    """Per site, the bursts of its region: a storm or a match hits neighbours at once.

    Each site has mean rate `rate_hz`. Histories depend on the region's number only through the
    order of first mention, so one region per site is the same as local bursts.
    """
    _check(rate_hz, duration_s)
    paths: dict[int, BurstPath] = {}
    for region in region_of_site:
        if region not in paths:
            paths[region] = BurstPath.draw(bursts, duration_s, rng)
    return [modulated(rate_hz, bursts, paths[region], rng) for region in region_of_site]


@dataclass(frozen=True, slots=True)
class RateProfile:
    """How much more than on average is sent: `factors[i]` from `edges_s[i]` to `edges_s[i + 1]`.

    A process drawn over `mean_s()` seconds and `bent` to the profile keeps its character: bursts
    come where the rate is high, and pass as quickly as they come.
    """

    edges_s: NDArray[np.float64]
    factors: NDArray[np.float64]

    def mean_s(self) -> float:
        """How long the average rate takes to send as much."""
        return float((np.diff(self.edges_s) * self.factors).sum())

    def bent(self, instants: Instants) -> Instants:
        """Instants within `mean_s()`, at the times of the profile at which as much was sent."""
        sent_s = np.concatenate(([0.0], np.cumsum(np.diff(self.edges_s) * self.factors)))
        return np.interp(instants, sent_s, self.edges_s)


def spread_batches(at_s: Instants, quantum_s: float, rng: Generator) -> Instants:
    """Instants that were rounded down to multiples of `quantum_s`, spread over their quantum.

    A trace with coarse timestamps, replayed as it is, is a train of batches. Whoever spreads it
    says so beside the result. Raises ValueError for a quantum that is not positive.
    """
    if not 0.0 < quantum_s < 3600.0:
        raise ValueError(f"`quantum_s` must be above 0 and below an hour, not {quantum_s:g}")
    return np.sort(at_s + rng.uniform(0.0, quantum_s, len(at_s)))


def _within(instants: Instants, duration_s: float) -> Instants:
    return instants[instants < duration_s]


def _check(rate_hz: float, duration_s: float) -> None:
    if not 0.0 < rate_hz < math.inf:
        raise ValueError(f"a rate must be above 0 and finite, not {rate_hz:g} per second")
    if not 0.0 < duration_s < math.inf:
        raise ValueError(f"a duration must be above 0 and finite, not {duration_s:g} s")
