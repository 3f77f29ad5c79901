"""How soon a site is missed on the fabric: killed, and frozen.

python -m loadtests.fabric_detection [--kills N] [--freezes N]

This process is the fabric's router, each site a process of its own that connects to it. Frozen
sites, SIGSTOP, stand for all that goes silent without breaking a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import socket
import sys
import time
from typing import Any

import uvloop

from gateway.peers.zenoh_fabric import ZenohFabric, ZenohPlace
from loadtests.facts import save, summary_ms
from loadtests.local_site import ROOT
from loadtests.orphan import ending_with_parent

SEED = 7
GRID, SITE = "benchmark", "edge-b"
LEASE_S = 1.0
KILLED_TARGET_S, FROZEN_TARGET_S = 0.1, 1.2
_WAIT_S = 20.0
_SITE = "--site"


class Deaf:
    """A `FabricListener` that keeps nothing."""

    def appeared(self, site: str, epoch: int) -> None:
        """Nothing is kept."""

    def vanished(self, site: str, epoch: int) -> None:
        """Nothing is kept."""

    def said(self, site: str, epoch: int, payload: bytes) -> None:
        """Nothing is kept."""

    def signalled(self, topic: str) -> None:
        """Nothing is kept."""

    def unreadable(self, num: int) -> None:
        """Nothing is kept."""


class Watch(Deaf):
    """Notes when the one incarnation that is expected comes and goes."""

    def expect(self, epoch: int) -> tuple[asyncio.Future[float], asyncio.Future[float]]:
        """When it appears, and vanishes, on the monotonic clock."""
        loop = asyncio.get_running_loop()
        self._epoch, self._changes = epoch, (loop.create_future(), loop.create_future())
        return self._changes

    def appeared(self, site: str, epoch: int) -> None:
        """Note it."""
        self._note(site, epoch, 0)

    def vanished(self, site: str, epoch: int) -> None:
        """Note it."""
        self._note(site, epoch, 1)

    def _note(self, site: str, epoch: int, which: int) -> None:
        if site == SITE and epoch == self._epoch and not self._changes[which].done():
            self._changes[which].set_result(time.monotonic())


async def missed_after_s(
    watch: Watch, endpoint: str, epoch: int, number: signal.Signals, pause_s: float
) -> float:
    """From the signal until the site is gone for this process."""
    appeared, vanished = watch.expect(epoch)
    command = [sys.executable, "-m", "loadtests.fabric_detection", _SITE, endpoint, str(epoch)]
    child = await asyncio.create_subprocess_exec(*ending_with_parent(command), cwd=ROOT)
    try:
        async with asyncio.timeout(_WAIT_S):
            await appeared
            await asyncio.sleep(pause_s)  # anywhere between two signs of life
            sent_s = time.monotonic()
            child.send_signal(number)
            return await vanished - sent_s
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def measure(num_kills: int, num_freezes: int) -> dict[signal.Signals, list[float]]:
    """Every time it took, by signal; kills and freezes interleaved."""
    rng, watch = random.Random(SEED), Watch()
    endpoint = f"tcp/127.0.0.1:{_free_port()}"
    hub = ZenohFabric(ZenohPlace(grid=GRID, listen=(endpoint,), lease_s=LEASE_S))
    numbers = [signal.SIGKILL] * num_kills + [signal.SIGSTOP] * num_freezes
    rng.shuffle(numbers)
    taken_s: dict[signal.Signals, list[float]] = {number: [] for number in numbers}
    async with asyncio.TaskGroup() as tasks:
        watch.expect(0)
        serving = tasks.create_task(hub.run("edge-a", 1, watch))
        for epoch, number in enumerate(numbers, 1):
            pause_s = rng.uniform(0.0, LEASE_S)
            taken_s[number].append(await missed_after_s(watch, endpoint, epoch, number, pause_s))
        serving.cancel()
    return taken_s


def be_a_site(endpoint: str, epoch: int) -> None:
    """Until killed."""
    place = ZenohPlace(grid=GRID, connect=(endpoint,), lease_s=LEASE_S)
    uvloop.run(ZenohFabric(place).run(SITE, epoch, Deaf()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Run it and save the result."""
    if sys.argv[1:2] == [_SITE]:
        be_a_site(sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--freezes", type=int, default=50)
    given = parser.parse_args()
    taken_s = uvloop.run(measure(given.kills, given.freezes))
    body: dict[str, Any] = {"lease_s": LEASE_S}
    for name, number, target_s in (
        ("killed", signal.SIGKILL, KILLED_TARGET_S),
        ("frozen", signal.SIGSTOP, FROZEN_TARGET_S),
    ):
        longest_s = max(taken_s[number])
        body[name] = {
            "missed_after_ms": summary_ms(taken_s[number], SEED),
            "max_ms": round(longest_s * 1e3, 3),
            "target_ms": target_s * 1e3,
            "met": longest_s <= target_s,
        }
    save("fabric_detection", SEED, body)


if __name__ == "__main__":
    main()
