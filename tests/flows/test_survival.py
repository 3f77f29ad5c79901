"""The site that callers are connected to is killed: they go on at another one."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import grpc

from gateway.wire.pb.agent_pb2_grpc import AgentServiceStub
from loadtests.agent_session import AgentSession
from loadtests.local_grid import kill, running_grid
from tests.edge.grpc_fakes import kinds, on_uvloop

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.local_site import SiteProcess

PATIENT_MS = 20_000.0
NUM_CALLERS = 20


def agents_of(site: SiteProcess) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(site.grpc)


def test_a_pending_payment_is_paid_once_after_its_site_was_killed(tmp_path: Path) -> None:
    @on_uvloop
    async def talk() -> None:
        async with (
            agents_of(sites["edge-a"]) as first,
            agents_of(sites["edge-b"]) as second,
            agents_of(sites["edge-c"]) as third,
        ):
            caller = AgentSession()
            await caller.begin(
                AgentServiceStub(first), server_tools=True, latency_budget_ms=PATIENT_MS
            )
            await caller.ask("I would like to pay forty dollars.", "ask")
            assert re.search(r"pay 40 dollars .*\(ref [A-Z0-9]{5}\)", caller.text)
            kill(sites["edge-a"])
            await caller.resume(AgentServiceStub(third))
            assert caller.told.last_turn_id == "ask"
            events = await caller.ask("yes please", "yes")
            (ran,) = (event.tool_run for event in events if event.HasField("tool_run"))
            assert ran.result_json == '{"paid_dollars":40,"open_dollars":24}'
            # As if the answer had been lost on its way.
            caller.hang_up()
            caller.turn_id, caller.text = "yes", ""
            await caller.resume(AgentServiceStub(second))
            again = await caller.rest()
            assert [event.tool_run for event in again if event.HasField("tool_run")] == [ran]
            await caller.ask("What is my current bill?", "bill")
            assert "24 dollars still open" in caller.text

    with running_grid(tmp_path) as sites:
        talk()


def test_every_session_of_a_killed_site_goes_on(tmp_path: Path, echo_bundle: Path) -> None:
    @on_uvloop
    async def talk() -> None:
        async with (
            agents_of(sites["edge-a"]) as first,
            agents_of(sites["edge-b"]) as second,
            agents_of(sites["edge-c"]) as third,
        ):
            elsewhere = [AgentServiceStub(second), AgentServiceStub(third)]
            callers = [AgentSession() for _ in range(NUM_CALLERS)]
            for caller in callers:
                await caller.begin(
                    AgentServiceStub(first), max_tokens=400, latency_budget_ms=PATIENT_MS
                )
                assert set(caller.told.alternates) == {
                    sites["edge-b"].grpc,
                    sites["edge-c"].grpc,
                }
            async with asyncio.TaskGroup() as asking:
                for number, caller in enumerate(callers):
                    asking.create_task(caller.ask(f"number {number}", "first"))
            assert [one.text for one in callers] == [f"number {k}" for k in range(NUM_CALLERS)]
            cut = callers[::2]
            for caller in cut:
                await caller.say("Tell me more ...", "cut")
                await caller.next()
            kill(sites["edge-a"])
            for index, caller in enumerate(callers):
                await caller.resume(elsewhere[index % 2])
            for caller in cut:
                events = await caller.rest()
                assert kinds(events)[-1] == "turn_summary"
                assert "turn_restarted" not in kinds(events)
                assert caller.text.startswith("Tell me more ...Tell me more ...")
            for caller in callers:
                await caller.ask("and then", "then")
                assert caller.text == "and then"

    with running_grid(tmp_path, "--model", str(echo_bundle)) as sites:
        talk()
