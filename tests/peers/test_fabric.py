"""A site's place on a fabric, whatever carries it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.latency_histogram import NUM_BUCKETS, LatencyHistogram
from gateway.core.load_report import Credits, report_load
from gateway.core.membership import Ignored, SiteCard, SiteReport
from gateway.core.service_report import ClassService, ServiceReport, Tally
from gateway.peers.fabric import Fabric
from gateway.wire.site_report import (
    MAX_PAYLOAD_BYTES,
    PayloadError,
    decode_report,
    encode_report,
)
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import IDLE, MODEL, SERVICE, until
from tests.peers.memory_fabric import MemoryFabric, MemoryHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.core.membership import Member

LOAD = report_load(IDLE, now_s=0.0, epoch=1, seq=1, max_num_queued=1, credits=Credits())


class Place:
    """A site on the memory's fabric, and what it was told."""

    def __init__(self, hub: MemoryHub, site: str) -> None:
        self.load = None if site == "edge-a" else LOAD
        self.told: list[str] = []
        card = SiteCard(site, 1, "127.0.0.1:1", models=(MODEL,), region="lab")
        self.fabric = Fabric(
            MemoryFabric(hub),
            card,
            lambda: self.load,
            observer=self,
            report_interval_s=0.2,
            service=lambda: SERVICE,
            on_signal={"models": lambda: self.told.append("models")},
        )

    def joined(self, member: Member) -> None:
        self.told.append(f"joined {member.site}")

    def left(self, member: Member) -> None:
        self.told.append(f"left {member.site}")

    def report_of(self, site: str) -> SiteReport | None:
        member = self.fabric.membership.get(site)
        return None if member is None else member.report


@asynccontextmanager
async def two_places() -> AsyncIterator[tuple[Place, Place, MemoryHub]]:
    hub = MemoryHub()
    a, b = Place(hub, "edge-a"), Place(hub, "edge-b")
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(place.fabric.run()) for place in (a, b)]
        yield a, b, hub
        for one in running:
            one.cancel()


@on_uvloop
async def test_a_site_says_what_it_is_and_how_busy() -> None:
    async with two_places() as (a, b, _):
        await until(lambda: a.report_of("edge-b") is not None and b.report_of("edge-a") is not None)
        member = a.fabric.figures().members[0]
        assert (member.site, member.is_there, member.load) == ("edge-b", True, LOAD)
        assert member.service == SERVICE
        assert member.card
        assert (member.card.models, member.card.region) == ((MODEL,), "lab")
        assert a.fabric.figures().is_joined
        said = b.report_of("edge-a")
        assert said
        assert said.load is None


@on_uvloop
async def test_what_changes_is_told_at_once() -> None:
    async with two_places() as (a, b, _):
        await until(lambda: a.report_of("edge-b") is not None)
        b.load = msgspec.structs.replace(LOAD, num_free=0)
        b.fabric.tell()
        await until(lambda: a.fabric.figures().members[0].load == b.load)
        a.fabric.signal("models")
        a.fabric.signal("of no matter here")
        assert b.told[-1] == "models"


@on_uvloop
async def test_the_observer_is_told_who_comes_and_goes() -> None:
    async with two_places() as (a, _, hub):
        await until(lambda: a.told == ["joined edge-b"])
        hub.go_down()
        assert a.told[1:] == ["left edge-b"]
        assert not a.fabric.figures().is_joined
        hub.come_up()
        assert a.told[2:] == ["joined edge-b"]
        a.fabric.appeared("edge-b", 2)
        a.fabric.vanished("edge-b", 1)  # its successor was waiting
        assert a.told[3:] == ["left edge-b", "joined edge-b"]
        a.fabric.said("edge-b", 2, b"nonsense")
        a.fabric.unreadable(3)
        assert a.fabric.figures().num_ignored == {Ignored.NAME_TAKEN: 1, Ignored.UNREADABLE: 4}


def test_the_largest_report_fits_a_message() -> None:
    card = SiteCard(
        "e" * 63,
        (1 << 53) - 1,
        f"{'h' * 250}:65535",
        models=(MODEL,) * 8,
        region="中" * 64,
        addresses=("h" * 256,) * 8,
    )
    most = Tally(10**9, 10**9)
    one = ClassService(0.99, most, most, LatencyHistogram((0, 10**9) * NUM_BUCKETS))
    report = SiteReport(card, (1 << 53) - 1, LOAD, ServiceReport((one, one, one), 1e9))
    assert decode_report(encode_report(report)) == report


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        b"x" * (MAX_PAYLOAD_BYTES + 1),
        *(
            encode_report(SiteReport(card, 1))
            for card in (
                SiteCard("EDGE", 1, "h:1"),
                SiteCard("edge-b", -1, "h:1"),
                SiteCard("edge-b", 1, "unix:/tmp/socket:1"),
                SiteCard("edge-b", 1, "h"),
                SiteCard("edge-b", 1, "h:1", models=(MODEL,) * 9),
                SiteCard("edge-b", 1, "h:1", addresses=("h",) * 9),
                SiteCard("edge-b", 1, "h:1", addresses=("h\n",)),
            )
        ),
    ],
)
def test_what_is_no_report_is_not_read(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_report(payload)
