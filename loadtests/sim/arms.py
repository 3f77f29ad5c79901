"""What a scenario can compare: a policy and the place where the accelerators stand.

The four arms of a comparison hold as many accelerators each, run the same engines with the same
admission before them, and see the same requests:

- `central`: all of them at one remote place, every engine a hop of no time from every other
- `central_regional`: the same, nearer
- `grid`: an accelerator at every site, each for itself
- `grid_forwarding`: the same, and sites offer each other what does not fit

`central_edge_media` is `central` for calls whose media end at the edge: the model alone is far
away. `pool` is the grid's own reference, a pool that no round trip parts from its clients. The
others are policies of a grid that the shipped one was held against.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

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
"""Of a grid."""


class Place(StrEnum):
    """Where the accelerators of an arm stand."""

    SITES = "sites"
    """One at every site."""
    CENTRAL = "central"
    REGIONAL = "regional"
    EDGE_MEDIA = "edge_media"
    """As CENTRAL, with the media of calls at the sites."""
    POOL = "pool"
    """All together, and yet no further from any client than its own site."""


class Arm(NamedTuple):
    """One side of a comparison."""

    place: Place
    policy: Callable[[], Policy]

    @property
    def is_pooled(self) -> bool:
        """Whether all accelerators stand together, at the price of the core."""
        return self.place is not Place.SITES


def _alone() -> Policy:
    return Shipped(knows_peers=False)


ARMS: dict[str, Arm] = {name: Arm(Place.SITES, policy) for name, policy in POLICIES.items()} | {
    "central": Arm(Place.CENTRAL, ExactGreedy),
    "central_regional": Arm(Place.REGIONAL, ExactGreedy),
    "central_edge_media": Arm(Place.EDGE_MEDIA, ExactGreedy),
    "pool": Arm(Place.POOL, ExactGreedy),
    "grid": Arm(Place.SITES, _alone),
    "grid_forwarding": Arm(Place.SITES, Shipped),
}
"""A pool's router knows the true state of every engine, as one process in front of them can: the
best a pool can be given. See `loadtests/arm_search.py`."""
