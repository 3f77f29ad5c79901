"""Links to sites that nobody configured: which, and until when."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from gateway.core.hops import Hops
from gateway.core.membership import REMEMBERED_S, Membership, SiteCard, SiteReport
from gateway.core.stages import StageClock, TurnTrail
from gateway.peers.links import PeerLinks
from gateway.peers.neighbourhood import Neighbourhood, connect_time_s
from gateway.peers.port import HandedTurn
from gateway.peers.views import PeerViews
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import MODEL, VOCAB_SIZE, free_port, grid, hello_of, request_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.wire.peer_frames import Hello
    from tests.peers.grid import Site

pytestmark = pytest.mark.flow


class Observed(PeerViews):
    """Keeps which links came and went."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def linked(self, site: str, hello: Hello) -> None:
        super().linked(site, hello)
        self.told.append(f"linked {site}")

    def lost(self, site: str, reason: str) -> None:
        super().lost(site, reason)
        self.told.append(f"lost {site}")

    def forget(self, site: str) -> None:
        super().forget(site)
        self.told.append(f"forgotten {site}")


@dataclass
class Newcomer:
    """A site that knows others from the fabric only."""

    sites: dict[str, Site]
    links: PeerLinks
    membership: Membership
    neighbourhood: Neighbourhood
    distances_s: dict[str, float | None]
    """By address of the peer port."""
    told: list[str]
    """What the observer of the links was told."""

    def see(
        self, site: str, rtt_s: float, *, port: int = 0, epoch: int = 1, model: bytes = MODEL
    ) -> None:
        """The fabric shows a site, that many seconds away."""
        address = f"127.0.0.1:{port or self.sites[site].port}"
        self.distances_s[address] = rtt_s
        now_s = time.monotonic()
        if (known := self.membership.get(site)) and known.epoch != epoch:
            self.membership.vanished(site, known.epoch, now_s)
        self.membership.appeared(site, epoch, now_s)
        report = SiteReport(SiteCard(site, epoch, address, models=(model,)), 1)
        assert self.membership.reported(site, epoch, report, now_s)

    async def links_to(self, *sites: str) -> None:
        """Wait until turns can be offered to these, and nobody else has a link."""
        await until(lambda: self.links.usable() == set(sites))
        await until(lambda: {link.site for link in self.links.figures()} == set(sites))


@asynccontextmanager
async def newcomer(
    *names: str, max_num: int, configured: tuple[str, ...] = ()
) -> AsyncIterator[Newcomer]:
    distances_s: dict[str, float | None] = {}

    async def measure(address: str) -> float | None:
        return distances_s[address]

    observed = Observed()
    links = PeerLinks((), hello_of("edge-z"), vocab_size=VOCAB_SIZE, views=observed)
    neighbourhood = Neighbourhood(
        links,
        SiteCard("edge-z", 1, "127.0.0.1:1", models=(MODEL,)),
        configured=configured,
        max_num_neighbours=max_num,
        measure=measure,
    )
    async with grid(*names) as sites, links, asyncio.TaskGroup() as tasks:
        membership = Membership("edge-z", 1)
        running = tasks.create_task(neighbourhood.run(membership))
        yield Newcomer(sites, links, membership, neighbourhood, distances_s, observed.told)
        running.cancel()


@on_uvloop
async def test_the_nearest_sites_are_linked_to() -> None:
    async with newcomer("edge-a", "edge-b", "edge-c", max_num=2) as new:
        new.see("edge-a", 0.030)
        await new.links_to("edge-a")
        new.see("edge-b", 0.020)
        await new.links_to("edge-a", "edge-b")
        new.see("edge-c", 0.010)
        await new.links_to("edge-b", "edge-c")
        assert new.neighbourhood.rtt_s("edge-a") == 0.030
        assert new.told == ["linked edge-a", "linked edge-b", "forgotten edge-a", "linked edge-c"]


@on_uvloop
async def test_configured_sites_and_those_of_other_models_are_left_alone() -> None:
    async with newcomer("edge-a", "edge-b", "edge-c", max_num=2, configured=("edge-a",)) as new:
        new.see("edge-a", 0.001)
        new.see("edge-b", 0.001, model=b"\x02" * 8)
        new.see("edge-c", 0.001)
        await new.links_to("edge-c")


@on_uvloop
async def test_a_link_stays_while_the_fabric_is_gone_and_the_peer_answers() -> None:
    async with newcomer("edge-a", "edge-b", max_num=2) as new:
        new.see("edge-a", 0.001)
        await new.links_to("edge-a")
        gone = new.membership.vanished("edge-a", 1, time.monotonic())
        assert gone
        new.neighbourhood.left(gone)
        assert new.links.usable() == set()
        await new.links_to("edge-a")
        assert new.told == ["linked edge-a", "lost edge-a", "linked edge-a"]


@on_uvloop
async def test_a_site_that_the_fabric_forgot_keeps_its_link_while_it_answers() -> None:
    async with newcomer("edge-a", "edge-b", max_num=2) as new:
        new.see("edge-a", 0.001)
        await new.links_to("edge-a")
        now_s = time.monotonic()
        new.membership.vanished("edge-a", 1, now_s)
        new.membership.forget(now_s + REMEMBERED_S + 1.0)
        new.see("edge-b", 0.001)
        await new.links_to("edge-a", "edge-b")
        await new.sites["edge-a"].server.stop(grace_s=0.0)
        await new.links_to("edge-b")


@on_uvloop
async def test_a_site_that_started_again_elsewhere_is_linked_to_there() -> None:
    async with newcomer("edge-a", max_num=2) as new:
        new.see("edge-a", 0.001, port=free_port())
        await until(lambda: bool(new.links.figures()))
        new.see("edge-a", 0.001, epoch=2)
        await new.links_to("edge-a")


@on_uvloop
async def test_a_link_with_a_turn_under_way_is_ended_after_it() -> None:
    async with newcomer("edge-a", "edge-b", max_num=1) as new:
        new.see("edge-a", 0.030)
        await new.links_to("edge-a")
        new.sites["edge-a"].engine.hold_at = 4
        trail = TurnTrail("r", StageClock(time.monotonic()))
        turn = new.links.generate("edge-a", HandedTurn(request_of(32), Hops(("edge-z",), 1), trail))
        async with aclosing(turn):
            await anext(turn)
            new.see("edge-b", 0.010)
            await until(lambda: new.links.usable() == {"edge-a", "edge-b"})
            new.sites["edge-a"].engine.go.set()
            assert [event async for event in turn]
        await new.links_to("edge-b")


@on_uvloop
async def test_how_near_a_port_is_and_that_none_is_there() -> None:
    async with grid("edge-a") as sites:
        rtt_s = await connect_time_s(f"127.0.0.1:{sites['edge-a'].port}")
        assert rtt_s is not None
        assert 0.0 < rtt_s < 1.0
    assert await connect_time_s(f"127.0.0.1:{free_port()}") is None
    for address in ("127.0.0.1:99999", "no.such.host.invalid:1", f"{'a' * 70}.b:1", "..:1"):
        assert await connect_time_s(address) is None
