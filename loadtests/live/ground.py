"""Where the sites and the clients of an arm stand, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from loadtests.links.matrix import Link as WideLink
from loadtests.links.matrix import LinkMatrix
from loadtests.sim.arms import ARMS, Place
from loadtests.sim.links import Link, Links

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.sim.prepared import Prepared
    from loadtests.sim.scenario import Scenario

LIVE_ARMS = (
    "central",
    "central_regional",
    "central_edge_media",
    "grid",
    "grid_forwarding",
    "pool",
)
"""The arms that run the shipped router; the others are policies of the simulator alone."""
CENTRAL = "central"
_FIRST_PORT_BASE = 20_000
_PORTS_OF_SITE = 10


@dataclass(frozen=True, slots=True)
class Spot:
    """A site: its name, the namespace it stands in, and its ports."""

    name: str
    place: str
    host: str
    port_base: int

    @property
    def http(self) -> str:
        """Where clients call it."""
        return f"{self.host}:{self.port_base}"

    @property
    def peer(self) -> str:
        """Where other sites call it."""
        return f"{self.host}:{self.port_base + 2}"


@dataclass(frozen=True, slots=True)
class Ground:
    """One arm's sites and clients; clients of the same number live nearest to each other."""

    matrix: LinkMatrix
    sites: tuple[Spot, ...]
    homes: tuple[str, ...]
    """The namespace of each home's clients."""
    rtt_s: float
    """Between a client and the site it calls, without jitter."""
    is_linked: bool
    """Whether the sites hand turns to each other."""
    is_pooled: bool

    def targets(self, home: int) -> tuple[str, ...]:
        """Whom the clients of a home call, and then whom, while one is gone: the nearest next."""
        if self.is_pooled:
            return tuple(site.http for site in self.sites)
        links = {(one, other): link.rtt_s for one, other, link in self.matrix.links}
        own = self.homes[home]
        nearest = sorted(self.sites, key=lambda site: links[site.place, own])
        return tuple(site.http for site in nearest)

    def within(self, sites: Sequence[int]) -> tuple[str, ...]:
        """The namespaces on the far side of a partition around these sites, clients included."""
        clients = [self.homes[site] for site in sites]
        return tuple(
            clients if self.is_pooled else [*(self.sites[s].place for s in sites), *clients]
        )


def ground(prepared: Prepared, name: str) -> Ground:
    """The ground of one of LIVE_ARMS."""
    scenario, arm = prepared.scenario, ARMS[name]
    homes = tuple(f"clients-{home + 1}" for home in range(scenario.sites.count))
    access = prepared.path(arm.place)
    if arm.place is Place.SITES:
        matrix = _scattered(scenario, homes)
        places = matrix.sites[: len(homes)]
    else:
        matrix = _pooled(access, homes)
        places = (CENTRAL,) * len(homes)
    return Ground(
        matrix,
        tuple(_spot(matrix, place, number) for number, place in enumerate(places)),
        homes,
        2.0 * sum(link.delay_s for link in access),
        is_linked=name != "grid",
        is_pooled=arm.is_pooled,
    )


def wide(path: Sequence[Link]) -> WideLink:
    """Links of the simulator, one after the other, as one that packets can be sent over.

    A message there is late by an exponential jitter of mean j; here a packet by anything from 0 to
    2 j, which is j on average too.
    """
    jitter_s = sum(link.jitter_s for link in path)
    rates = [link.rate_bit_per_s for link in path if link.rate_bit_per_s]
    return WideLink(
        2.0 * (sum(link.delay_s for link in path) + jitter_s),
        jitter_s,
        1.0 - prod(1.0 - link.loss_ratio for link in path),
        min(rates, default=0.0),
    )


def _spot(matrix: LinkMatrix, place: str, number: int) -> Spot:
    name = f"edge-{number + 1}" if place != CENTRAL else f"core-{number + 1}"
    port_base = _FIRST_PORT_BASE + _PORTS_OF_SITE * number
    return Spot(name, place, matrix.address(place), port_base)


def _pooled(access: list[Link], homes: tuple[str, ...]) -> LinkMatrix:
    """Everybody as far from the one place as from each other."""
    return LinkMatrix.of((CENTRAL, *homes), {}, wide(access))


def _scattered(scenario: Scenario, homes: tuple[str, ...]) -> LinkMatrix:
    edges = tuple(f"edge-{number + 1}" for number in range(len(homes)))
    nearest, access = scenario.network.nearest, scenario.clients.access
    links = Links.scattered(
        len(edges),
        nearest=nearest,
        farthest_s=scenario.network.farthest_s,
        seed=scenario.seed,
    )
    found = {}
    for i, edge in enumerate(edges):
        for j, other in enumerate(edges):
            way = Link(
                links.delay_s(i, j), nearest.jitter_s, nearest.loss_ratio, nearest.rate_bit_per_s
            )
            if i != j:
                found[edge, other] = wide([way])
            found[edge, homes[j]] = wide([access, way] if i != j else [access])
    return LinkMatrix.of((*edges, *homes), found, wide([access, access]))
