"""Every engine of the fabric, held to the same suite; and what only Zenoh can do wrong."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
import zenoh

from gateway.core.errors import SetupError
from gateway.peers.zenoh_fabric import ZenohFabric, ZenohPlace, ZenohTls
from gateway.wire.site_report import MAX_PAYLOAD_BYTES
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.certificates import write_certificates
from tests.peers.fabric_conformance import A, B, FabricConformance, Heard, joined
from tests.peers.grid import free_port, until
from tests.peers.memory_fabric import MemoryFabric, MemoryHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

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


@asynccontextmanager
async def memory_bench() -> AsyncIterator[MemoryBench]:
    yield MemoryBench()


class TestMemory(FabricConformance):
    def bench(self) -> AbstractAsyncContextManager[MemoryBench]:
        return memory_bench()


@asynccontextmanager
async def zenoh_bench() -> AsyncIterator[ZenohBench]:
    bench = await asyncio.to_thread(ZenohBench)
    try:
        yield bench
    finally:
        await bench.go_down()


@pytest.mark.flow
class TestZenoh(FabricConformance):
    def bench(self) -> AbstractAsyncContextManager[ZenohBench]:
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


@pytest.mark.flow
@on_uvloop
async def test_nobody_joins_without_a_certificate_of_the_grid(tmp_path: Path) -> None:
    endpoint = f"tls/localhost:{free_port()}"
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        write_certificates(folder, "edge-a", "edge-b")

    async with asyncio.TaskGroup() as tasks:
        heard = {name: Heard() for name in ("hub", "friend", "stranger", "plain")}
        a = ZenohPlace(grid="test", listen=(endpoint,), tls=tls_of(ours, "edge-a"))
        b = ZenohPlace(grid="test", connect=(endpoint,), tls=tls_of(ours, "edge-b"))
        forged = msgspec.structs.replace(tls_of(theirs, "edge-b"), authority=str(ours / "ca.pem"))
        x = ZenohPlace(grid="test", connect=(endpoint,), tls=forged)
        y = ZenohPlace(grid="test", connect=(endpoint.replace("tls/", "tcp/"),))
        running = [tasks.create_task(ZenohFabric(a).run("edge-a", 1, heard["hub"]))]
        await until(lambda: heard["hub"].there == {A})
        running += [
            tasks.create_task(ZenohFabric(x).run("edge-x", 1, heard["stranger"])),
            tasks.create_task(ZenohFabric(y).run("edge-y", 1, heard["plain"])),
            tasks.create_task(ZenohFabric(b).run("edge-b", 1, heard["friend"])),
        ]
        await until(lambda: heard["hub"].there == heard["friend"].there == {A, B})
        assert not heard["stranger"].there
        assert not heard["plain"].there
        for one in running:
            one.cancel()


def tls_of(folder: Path, site: str) -> ZenohTls:
    names = (f"{site}.pem", f"{site}.key", "ca.pem")
    return ZenohTls(*(str(folder / name) for name in names))
