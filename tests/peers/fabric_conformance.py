"""What every engine of the fabric must do. A subclass says how to get one."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from gateway.peers.fabric import FabricEngine


class Bench(Protocol):
    """A fabric and what can be done to it."""

    def engine(self) -> FabricEngine:
        """One more site's."""
        ...

    async def go_down(self) -> None:
        """The fabric itself is gone."""
        ...

    async def come_up(self) -> None:
        """It is back, having forgotten everything."""
        ...


class Heard:
    """A `FabricListener` that keeps what it is told."""

    def __init__(self) -> None:
        self.there: set[tuple[str, int]] = set()
        self.payloads: dict[tuple[str, int], list[bytes]] = {}
        self.topics: list[str] = []
        self.num_unreadable = 0

    def appeared(self, site: str, epoch: int) -> None:
        self.there.add((site, epoch))

    def vanished(self, site: str, epoch: int) -> None:
        self.there.discard((site, epoch))

    def said(self, site: str, epoch: int, payload: bytes) -> None:
        self.payloads.setdefault((site, epoch), []).append(payload)

    def signalled(self, topic: str) -> None:
        self.topics.append(topic)

    def unreadable(self, num: int) -> None:
        self.num_unreadable += num

    def newest_of(self, site: str, epoch: int) -> bytes | None:
        payloads = self.payloads.get((site, epoch))
        return payloads[-1] if payloads else None


class Joined:
    """A site of the test that is there."""

    def __init__(self, engine: FabricEngine, heard: Heard, running: asyncio.Task[None]) -> None:
        self.engine = engine
        self.heard = heard
        self._running = running

    async def sees(self, *there: tuple[str, int]) -> None:
        """Wait until these incarnations, and no others, are there for this site."""
        await until(lambda: self.heard.there == set(there))

    async def leave(self) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])


@asynccontextmanager
async def joined(bench: Bench, site: str, epoch: int) -> AsyncIterator[Joined]:
    engine, heard = bench.engine(), Heard()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(engine.run(site, epoch, heard))
        try:
            yield Joined(engine, heard, running)
        finally:
            running.cancel()


A, B, C = ("edge-a", 1), ("edge-b", 1), ("edge-c", 1)


class FabricConformance(ABC):
    """The suite."""

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[Bench]:
        """A fabric of its own for each test."""

    @on_uvloop
    async def test_sites_see_each_other_and_themselves(self) -> None:
        async with self.bench() as bench, joined(bench, *A) as a:
            await a.sees(A)
            async with joined(bench, *B) as b:
                await a.sees(A, B)
                await b.sees(A, B)  # who comes late sees who was there
                await b.leave()
                await a.sees(A)

    @on_uvloop
    async def test_two_incarnations_of_a_name_are_two(self) -> None:
        async with (
            self.bench() as bench,
            joined(bench, *A) as a,
            joined(bench, "edge-b", 1) as old,
            joined(bench, "edge-b", 2),
        ):
            await a.sees(A, ("edge-b", 1), ("edge-b", 2))
            await old.leave()
            await a.sees(A, ("edge-b", 2))

    @on_uvloop
    async def test_the_newest_of_many_words_arrives_and_ones_own_do_not(self) -> None:
        async with self.bench() as bench, joined(bench, *A) as a, joined(bench, *B) as b:
            await a.sees(A, B)
            await b.sees(A, B)
            for number in range(500):
                a.engine.publish(b"%d" % number)
            b.engine.publish(b"of b")
            await until(lambda: b.heard.newest_of(*A) == b"499")
            await until(lambda: a.heard.newest_of(*B) == b"of b")
            numbers = [int(payload) for payload in b.heard.payloads[A]]
            assert numbers == sorted(numbers)
            assert A not in a.heard.payloads

    @on_uvloop
    async def test_a_signal_reaches_all_others(self) -> None:
        async with (
            self.bench() as bench,
            joined(bench, *A) as a,
            joined(bench, *B) as b,
            joined(bench, *C) as c,
        ):
            for site in (a, b, c):
                await site.sees(A, B, C)
            a.engine.signal("models")
            await until(lambda: b.heard.topics == ["models"] == c.heard.topics)
            assert a.heard.topics == []

    @on_uvloop
    async def test_without_the_fabric_nobody_is_there_and_all_come_back(self) -> None:
        async with self.bench() as bench, joined(bench, *A) as a, joined(bench, *B) as b:
            await a.sees(A, B)
            await b.sees(A, B)
            await bench.go_down()
            await a.sees()
            await b.sees()
            a.engine.publish(b"into the void")
            a.engine.signal("models")
            await bench.come_up()
            await a.sees(A, B)
            await b.sees(A, B)
            a.engine.publish(b"back")
            await until(lambda: b.heard.newest_of(*A) == b"back")

    @on_uvloop
    async def test_a_site_may_come_before_the_fabric(self) -> None:
        async with self.bench() as bench:
            await bench.go_down()
            async with joined(bench, *A) as a, joined(bench, *B) as b:
                a.engine.publish(b"into the void")
                await bench.come_up()
                await a.sees(A, B)
                await b.leave()

    @on_uvloop
    async def test_a_site_may_leave_while_it_still_looks_for_the_fabric(self) -> None:
        async with self.bench() as bench:
            await bench.go_down()
            async with joined(bench, *A) as a:
                await asyncio.sleep(0)
                await a.leave()
            await bench.come_up()
