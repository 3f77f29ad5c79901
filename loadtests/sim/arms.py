"""Every policy a scenario can name: the shipped one, baselines and references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtests.sim.policy import (
    ExactGreedy,
    Local,
    RankedList,
    RoundRobin,
    TwoChoices,
    TwoRandom,
)
from loadtests.sim.shipped import Shipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtests.sim.policy import Policy

POLICIES: dict[str, Callable[[], Policy]] = {
    "local": Local,
    "round_robin": RoundRobin,
    "ranked_list": RankedList,
    "two_random": TwoRandom,
    "two_choices": TwoChoices,
    "exact_greedy": ExactGreedy,
    "shipped": Shipped,
}
