"""What it does to a grid that a burning site takes less work: the shipped code, in virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from gateway.core.budget import TurnClass
from gateway.core.credit_brake import LEAST_RATIO
from loadtests.sim.faults import Freeze
from loadtests.sim.links import Link
from loadtests.sim.shipped import Shipped
from tests.loadtests.simulations import grid, workload

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS, BEGINS_S, STALL_S, EVERY_S = 45.0, 5.0, 0.5, 1.5
SICK = 1


class Run(NamedTuple):
    attained: float
    own_attained: float
    """Of the callers of the sick site."""
    num_taken: int
    """Turns of others that it answered."""
    granted: list[float]
    """The part of its credit, each second."""


def run(rates_hz: Sequence[float], *, brakes: bool, sick: Sequence[int] = (SICK,)) -> Run:
    """Sick sites stand still for half a second again and again, which no estimate knows."""
    rng = np.random.default_rng(5)
    sent = sorted(
        (float(at_s), site)
        for site, rate_hz in enumerate(rates_hz)
        for at_s in rng.uniform(0.0, SECONDS, round(SECONDS * rate_hz))
    )
    stalls = [
        Freeze(site=site, at_s=float(at_s), until_s=float(at_s) + STALL_S)
        for site in sick
        for at_s in np.arange(BEGINS_S, SECONDS, EVERY_S)
    ]
    load = workload(sent)
    made = grid(
        load,
        num_sites=len(rates_hz),
        policy=Shipped(brakes=brakes),
        faults=stalls,
        link=Link(0.005, 0.001),
    )
    granted: list[float] = []

    def look(_: object) -> None:
        now_s = made.events.now_s
        granted.append(made.nodes[SICK].site.brake.ratio(TurnClass.VOICE, now_s))
        made.events.at(now_s + 1.0, look, None)

    made.events.at(0.5, look, None)
    outcome = made.run(SECONDS + 30.0)
    attained = outcome.attained()
    is_own = np.frombuffer(load.home, np.int64) == SICK
    is_taken = (np.frombuffer(outcome.served_by, np.int64) == SICK) & ~is_own
    return Run(float(attained.mean()), float(attained[is_own].mean()), int(is_taken.sum()), granted)


@pytest.fixture(scope="module")
def one_sick() -> tuple[Run, Run]:
    """With brakes and without: a crowd at one of sixteen sites, and another that is sick."""
    rates_hz = (30.0, *(8.0 for _ in range(15)))
    return run(rates_hz, brakes=True), run(rates_hz, brakes=False)


def test_a_burning_site_is_relieved_and_its_own_callers_are_served_better(
    one_sick: tuple[Run, Run],
) -> None:
    braked, free = one_sick
    assert braked.num_taken < 0.7 * free.num_taken
    assert braked.own_attained > free.own_attained + 0.02
    assert braked.attained > free.attained - 0.002


def test_credit_does_not_swing(one_sick: tuple[Run, Run]) -> None:
    granted = one_sick[0].granted
    steps = (after - before for before, after in pairwise(granted))
    moves = [step for step in steps if step]
    turns = sum(one * other < 0 for one, other in pairwise(moves))
    assert min(granted) == LEAST_RATIO
    assert granted[-1] == 1.0  # it was mended
    assert turns <= 3


def test_a_grid_in_which_every_site_burns_is_not_emptied() -> None:
    rates_hz = [12.0] * 6
    everywhere = range(len(rates_hz))
    braked = run(rates_hz, brakes=True, sick=everywhere)
    free = run(rates_hz, brakes=False, sick=everywhere)
    assert min(braked.granted) == LEAST_RATIO
    # A third of the time nobody answers, and still the grid does most of what it did.
    assert braked.attained > 0.93 * free.attained
