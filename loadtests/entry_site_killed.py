"""The site that agents are connected to is killed: how many sessions go on, and how soon.

Sessions of the shipped assistant run at one of three sites. Each has asked to pay one dollar and is
to confirm it; half of them have said yes, and their turn is under way or its answer on the way when
the site gets a SIGKILL. All reconnect at once to the other sites and go on. Every dollar must have
been paid once. The first answered turn is timed from the moment of reconnecting.

    python -m loadtests.entry_site_killed
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

from gateway.wire.pb import agent_pb2 as pb
from gateway.wire.pb.agent_pb2_grpc import AgentServiceStub
from loadtests.agent_session import AgentSession, SessionEnded
from loadtests.facts import save, summary_ms, verdict
from loadtests.host import HostGuard
from loadtests.local_grid import kill, running_grid

if TYPE_CHECKING:
    from loadtests.local_site import SiteProcess

NUM_SESSIONS = 100
NUM_PAYING = 60
"""The account has 64 dollars open; the other sessions ask for the bill."""
BUDGET_MS = 30_000.0
NUM_AT_ONCE = 10
"""While the sessions are prepared."""
TARGET_RATIO, TARGET_S = 0.99, 2.0
SEED = 1


async def prepare(session: AgentSession, stub: AgentServiceStub, *, pays: bool) -> None:
    """A session with a history and, where it pays, a question to be answered."""
    greedy = pb.Sampling(temperature=0.0)
    await session.begin(stub, server_tools=True, latency_budget_ms=BUDGET_MS, sampling=greedy)
    await session.ask("I would like to pay one dollar." if pays else "What is my bill?", "first")


async def go_on(session: AgentSession, stub: AgentServiceStub, *, pays: bool) -> float:
    """Seconds from reconnecting to the end of the first turn that is answered."""
    began_s = time.monotonic()
    await session.resume(stub)
    if session.turn_id and session.told.last_turn_id == session.turn_id:
        await session.rest()
    else:
        await session.ask("yes" if pays else "What is my bill?", "second")
    return time.monotonic() - began_s


async def try_to(session: AgentSession, stub: AgentServiceStub, *, pays: bool) -> float | None:
    """As `go_on`; None when the session does not go on."""
    try:
        return await go_on(session, stub, pays=pays)
    except (SessionEnded, TimeoutError, grpc.aio.AioRpcError) as error:
        print(f"lost: {error!r}")
        return None


async def run(sites: list[SiteProcess], guard: HostGuard) -> dict[str, Any]:
    """Kill the first site under its sessions."""
    channels = [grpc.aio.insecure_channel(site.grpc) for site in sites]
    first, *others = (AgentServiceStub(channel) for channel in channels)
    sessions = [(AgentSession(), number < NUM_PAYING) for number in range(NUM_SESSIONS)]
    async with guard.watching_loop("loop of the clients"):
        for begin in range(0, NUM_SESSIONS, NUM_AT_ONCE):
            async with asyncio.TaskGroup() as preparing:
                for session, pays in sessions[begin : begin + NUM_AT_ONCE]:
                    preparing.create_task(prepare(session, first, pays=pays))
        for session, _ in sessions[: NUM_PAYING // 2]:
            await session.say("yes", "second")
        kill(sites[0])
        async with asyncio.TaskGroup() as going:
            tasks = [
                going.create_task(try_to(session, others[index % 2], pays=pays))
                for index, (session, pays) in enumerate(sessions)
            ]
        last = AgentSession()
        await last.begin(others[0], server_tools=True, latency_budget_ms=BUDGET_MS)
        await last.ask("What is my bill?", "bill")
    for channel in channels:
        await channel.close(None)
    times_s = [task.result() for task in tasks]
    return figures([one for one in times_s if one is not None], last.text)


def figures(times_s: list[float], bill: str) -> dict[str, Any]:
    """What became of the sessions and of their dollars."""
    still_open = re.search(r"(\d+) dollars still open", bill)
    paid = 64 - int(still_open[1]) if still_open else None
    ratio = len(times_s) / NUM_SESSIONS
    answered = summary_ms(times_s, SEED)
    return {
        "sessions": NUM_SESSIONS,
        "resumed_ratio": ratio,
        "first_answer_ms": answered,
        "dollars": {"due": NUM_PAYING, "paid": paid},
        "targets": {"resumed_ratio": TARGET_RATIO, "first_answer_ms": TARGET_S * 1e3},
        "met": ratio >= TARGET_RATIO
        and paid == NUM_PAYING
        and max(times_s, default=TARGET_S) <= TARGET_S,
    }


def main() -> None:
    """Run it and save the result."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_grid(Path(folder)) as sites,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        own = list(sites.values())
        guard = HostGuard(sites={site: sites[site].metrics for site in list(sites)[1:]})
        result = runner.run(run(own, guard))
        guard.stop()
    save("entry_site_killed", SEED, {**result, "host": guard.row(), **verdict(guard.faults())})


if __name__ == "__main__":
    main()
