"""Sites in processes of their own on a Zenoh fabric: they die, stand still, and lose the way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zenoh

from gateway.core.membership import Ignored, Member, SiteCard, SiteReport
from gateway.peers.fabric import Fabric
from gateway.peers.zenoh_fabric import ZenohFabric, ZenohPlace
from gateway.wire.site_report import encode_report
from loadtests.orphan import ending_with_parent
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import free_port, until
from tests.peers.test_fabric_engines import zenoh_bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]
ENDLESS_S = 60.0
"""A lease longer than any test waits: what is noticed was not noticed by it."""


@asynccontextmanager
async def process(
    site: str, endpoint: str, *, way: str = "connect", epoch: int = 1, lease_s: float = ENDLESS_S
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A site that runs `fabric_site`."""
    arguments = (site, str(epoch), str(lease_s), way, endpoint)
    command = [sys.executable, "-m", "tests.peers.fabric_site", *arguments]
    child = await asyncio.create_subprocess_exec(*ending_with_parent(command), cwd=ROOT)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


class Observed:
    """A `FabricObserver` that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def joined(self, member: Member) -> None:
        self.events.append(("joined", member.site))

    def left(self, member: Member) -> None:
        self.events.append(("left", member.site))


@dataclass
class Watcher:
    """This process's place on the fabric."""

    fabric: Fabric
    observed: Observed

    async def sees(self, *sites: str) -> None:
        """Wait until these, and no others, are there and have reported."""
        await until(
            lambda: (
                {
                    member.site
                    for member in self.fabric.membership
                    if member.is_there and member.report is not None
                }
                == set(sites)
            )
        )


@asynccontextmanager
async def watcher(place: ZenohPlace) -> AsyncIterator[Watcher]:
    observed, card = Observed(), SiteCard("edge-a", 1, "127.0.0.1:1")
    fabric = Fabric(
        ZenohFabric(place), card, lambda: None, observer=observed, report_interval_s=0.2
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(fabric.run())
        await until(lambda: fabric.membership.is_joined or bool(place.connect))
        yield Watcher(fabric, observed)
        running.cancel()


def at_hub(lease_s: float = ENDLESS_S) -> ZenohPlace:
    return ZenohPlace(grid="test", listen=(f"tcp/127.0.0.1:{free_port()}",), lease_s=lease_s)


@on_uvloop
async def test_a_killed_site_is_gone_without_waiting_for_its_lease() -> None:
    async with watcher(place := at_hub()) as here:
        async with process("edge-b", place.listen[0]) as b:
            await here.sees("edge-b")
            b.kill()
            await here.sees()
        async with process("edge-b", place.listen[0], epoch=2):
            await here.sees("edge-b")
        known = here.fabric.membership.get("edge-b")
        assert known
        assert known.epoch == 2
        assert not here.fabric.membership.ignored


@on_uvloop
async def test_a_frozen_site_is_gone_after_its_lease_and_comes_back_as_it_was() -> None:
    place = at_hub(lease_s=ENDLESS_S)
    async with watcher(place) as here, process("edge-b", place.listen[0], lease_s=1.0) as b:
        await here.sees("edge-b")
        b.send_signal(signal.SIGSTOP)
        await here.sees()
        b.send_signal(signal.SIGCONT)
        await here.sees("edge-b")
        assert [kind for kind, _ in here.observed.events] == ["joined", "left", "joined"]


@on_uvloop
async def test_a_killed_router_comes_back_and_all_meet_again() -> None:
    endpoint = f"tcp/127.0.0.1:{free_port()}"
    place = ZenohPlace(grid="test", connect=(endpoint,))
    async with watcher(place) as here, process("edge-b", endpoint):
        async with process("hub", endpoint, way="listen") as hub:
            await here.sees("edge-b", "hub")
            hub.kill()
            await here.sees()
            assert not here.fabric.membership.is_joined
        async with process("hub", endpoint, way="listen", epoch=2):
            await here.sees("edge-b", "hub")


@on_uvloop
async def test_a_partition_that_breaks_no_connection_is_noticed_and_heals() -> None:
    """The router stands still: nobody is reset, nothing arrives."""
    endpoint = f"tcp/127.0.0.1:{free_port()}"
    place = ZenohPlace(grid="test", connect=(endpoint,), lease_s=1.0)
    async with (
        watcher(place) as here,
        process("edge-b", endpoint, lease_s=1.0),
        process("hub", endpoint, way="listen", lease_s=1.0) as hub,
    ):
        await here.sees("edge-b", "hub")
        hub.send_signal(signal.SIGSTOP)
        await here.sees()
        hub.send_signal(signal.SIGCONT)
        await here.sees("edge-b", "hub")
        assert not here.fabric.membership.ignored.keys() - {Ignored.STALE, Ignored.NOT_THERE}


@on_uvloop
async def test_who_claims_anothers_name_or_says_nonsense_is_ignored_and_counted() -> None:
    async with zenoh_bench() as bench:
        place = ZenohPlace(grid="test", connect=(bench.endpoint,))
        async with watcher(place) as here, process("edge-b", bench.endpoint):
            await here.sees("edge-b")
            membership = here.fabric.membership
            stranger = await asyncio.to_thread(bench.stranger)
            sites = "firsthop/v1/test/sites"
            tokens = [
                stranger.liveliness().declare_token(f"{sites}/{place}/there")
                for place in ("edge-b/2", "edge-a/2")
            ]
            await until(lambda: {Ignored.NAME_TAKEN, Ignored.OWN_NAME} <= membership.ignored.keys())

            def put(at: str, card: SiteCard) -> None:
                stranger.put(f"{sites}/{at}/report", encode_report(SiteReport(card, 1 << 40)))

            lie = SiteCard("edge-b", 2, "127.0.0.1:666")
            put("edge-b/2", lie)
            await until(lambda: membership.ignored[Ignored.NAME_TAKEN] == 2)
            put("edge-b/1", lie)
            await until(lambda: membership.ignored[Ignored.WRONG_NAME] == 1)
            put("edge-x/1", SiteCard("edge-x", 1, "127.0.0.1:666"))
            await until(lambda: membership.ignored[Ignored.NOT_THERE] == 1)
            put("edge-a/1", SiteCard("edge-a", 1, "127.0.0.1:666"))
            await until(lambda: membership.ignored[Ignored.OWN_NAME] == 2)
            stranger.put(f"{sites}/edge-b/1/report", os.urandom(200))
            await until(lambda: membership.ignored[Ignored.UNREADABLE] == 1)
            known = membership.get("edge-b")
            assert known
            assert known.report
            assert known.report.card.peer_address == "127.0.0.1:1"
            assert here.observed.events == [("joined", "edge-b")]
            del tokens
            await asyncio.to_thread(stranger.close)


@on_uvloop
async def test_the_reports_of_fifty_sites_take_no_more_memory_the_longer_they_come() -> None:
    async with zenoh_bench() as bench:
        place = ZenohPlace(grid="test", connect=(bench.endpoint,))
        async with watcher(place) as here:
            membership = here.fabric.membership
            stranger = await asyncio.to_thread(bench.stranger)
            sites = "firsthop/v1/test/sites"
            names = [f"edge-{number}" for number in range(50)]
            tokens = [
                stranger.liveliness().declare_token(f"{sites}/{name}/1/there") for name in names
            ]
            await until(lambda: len(list(membership)) == len(names))
            seq = 0

            async def rounds(num: int) -> None:
                nonlocal seq
                for seq in range(seq + 1, seq + num + 1):  # noqa: B020
                    for name in names:
                        card = SiteCard(name, 1, "127.0.0.1:1", addresses=("x" * 200,) * 8)
                        stranger.put(
                            f"{sites}/{name}/1/report",
                            encode_report(SiteReport(card, seq)),
                            congestion_control=zenoh.CongestionControl.BLOCK,
                        )
                    await asyncio.sleep(0)
                await until(
                    lambda: all(
                        member.report is not None and member.report.seq == seq
                        for member in membership
                    )
                )

            await rounds(50)
            before_bytes = rss_bytes()
            await rounds(300)  # 30 MB, were any of it kept
            assert rss_bytes() - before_bytes < 8 << 20
            del tokens
            await asyncio.to_thread(stranger.close)


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
