"""Every engine of the fabric, held to the same suite; and what only Zenoh can do wrong."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import zenoh

from gateway.core.errors import SetupError
from gateway.peers.zenoh_fabric import ZenohFabric, ZenohPlace
from gateway.wire.site_report import MAX_PAYLOAD_BYTES
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.fabric_conformance import A, B, FabricConformance, Heard, joined
from tests.peers.grid import free_port, until
from tests.peers.memory_fabric import MemoryFabric, MemoryHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.peers.fabric import FabricEngine


class MemoryBench:
    def __init__(self) -> None:
        self._hub = MemoryHub()

    def engine(self) -> FabricEngine:
        return MemoryFabric(self._hub)

    async def go_down(self) -> None:
        self._hub.go_down()

    async def come_up(self) -> None:
        self._hub.come_up()


class ZenohBench:
    """A router of its own, to which every site connects."""

    def __init__(self) -> None:
        self.endpoint = f"tcp/127.0.0.1:{free_port()}"
        self._router = self._open()

    def engine(self, grid: str = "test") -> FabricEngine:
        return ZenohFabric(ZenohPlace(grid=grid, connect=(self.endpoint,), lease_s=0.5))

    async def go_down(self) -> None:
        await asyncio.to_thread(self.close)

    async def come_up(self) -> None:
        self._router = await asyncio.to_thread(self._open)

    def close(self) -> None:
        self._router.close()  # type: ignore[no-untyped-call]

    def stranger(self) -> zenoh.Session:
        """Somebody on the fabric who keeps to no rules."""
        return zenoh.open(_quiet("client", connect=self.endpoint))

    def _open(self) -> zenoh.Session:
        return zenoh.open(_quiet("router", listen=self.endpoint))


def _quiet(mode: str, **endpoints: str) -> zenoh.Config:
    config = zenoh.Config()
    config.insert_json5("mode", json.dumps(mode))
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("transport/shared_memory/enabled", "false")
    for kind, endpoint in endpoints.items():
        config.insert_json5(f"{kind}/endpoints", json.dumps([endpoint]))
    return config


class TestMemory(FabricConformance):
    @asynccontextmanager
    async def bench(self) -> AsyncIterator[MemoryBench]:  # type: ignore[override]
        yield MemoryBench()


@asynccontextmanager
async def zenoh_bench() -> AsyncIterator[ZenohBench]:
    bench = await asyncio.to_thread(ZenohBench)
    try:
        yield bench
    finally:
        await bench.go_down()


@pytest.mark.flow
class TestZenoh(FabricConformance):
    def bench(self):  # type: ignore[no-untyped-def]
        return zenoh_bench()


@pytest.mark.flow
@on_uvloop
async def test_grids_of_other_names_are_not_seen() -> None:
    async with zenoh_bench() as bench:
        heard = Heard()
        async with joined(bench, *A) as a, asyncio.TaskGroup() as tasks:
            other = tasks.create_task(bench.engine("other").run("edge-z", 1, heard))
            await until(lambda: bool(heard.there))
            await a.sees(A)
            assert heard.there == {("edge-z", 1)}
            other.cancel()


@pytest.mark.flow
@on_uvloop
async def test_what_strangers_put_on_the_fabric_is_counted_and_bounded() -> None:
    async with zenoh_bench() as bench, joined(bench, *A) as a, joined(bench, *B) as b:
        await a.sees(A, B)
        await b.sees(A, B)
        stranger = await asyncio.to_thread(bench.stranger)
        sites = "firsthop/v1/test/sites"
        stranger.put(f"{sites}/EDGE B/1/report", b"x")
        stranger.put(f"{sites}/edge-b/one/report", b"x")
        stranger.put(f"{sites}/**", b"x")
        stranger.put("firsthop/v1/test/signals/a b", b"")
        token = stranger.liveliness().declare_token(f"{sites}/edge-q/-1/there")
        await until(lambda: a.heard.num_unreadable == 5)
        stranger.put(f"{sites}/edge-b/1/report", b"x" * (MAX_PAYLOAD_BYTES + 1))
        await until(lambda: a.heard.newest_of(*B) == b"")
        stranger.put(f"{sites}/edge-b/1/report", b"x" * (1 << 20))  # does not even come in
        b.engine.publish(b"of b")
        await until(lambda: a.heard.newest_of(*B) == b"of b")
        assert a.heard.payloads[B] == [b"", b"of b"]
        assert a.heard.there == {A, B}
        del token
        await asyncio.to_thread(stranger.close)


@pytest.mark.flow
@on_uvloop
async def test_a_router_that_cannot_listen_says_so() -> None:
    async with zenoh_bench() as bench:
        fabric = ZenohFabric(ZenohPlace(grid="test", listen=(bench.endpoint,)))
        with pytest.raises(SetupError, match=r"fabric\.listen: .*in use"):
            await fabric.run(*A, Heard())
