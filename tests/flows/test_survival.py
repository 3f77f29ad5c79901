"""The site that callers are connected to is killed: they go on at another one."""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import grpc

from gateway.wire.pb import agent_pb2 as pb
from gateway.wire.pb.agent_pb2_grpc import AgentServiceStub
from loadtests.local_site import SiteProcess, free_port_base, running_site, wait_until
from tests.edge.grpc_fakes import Conversation, Remote, kinds, on_uvloop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("edge-a", "edge-b", "edge-c")
PATIENT_MS = 20_000.0
NUM_CALLERS = 20


@contextmanager
def running_grid(folder: Path, *arguments: str) -> Iterator[dict[str, SiteProcess]]:
    """Linked sites with one account and one grid key."""
    bases: dict[str, int] = {}
    while len(set(bases.values())) < len(NAMES):
        bases = {name: free_port_base() for name in NAMES}
    with ExitStack() as stack:
        sites = {}
        for name, base in bases.items():
            peers = [f"{one}=127.0.0.1:{bases[one] + 2}" for one in NAMES if one != name]
            sites[name] = stack.enter_context(
                running_site(
                    folder / name,
                    *("up", "--port-base", str(base), *arguments),
                    port_base=base,
                    FIRSTHOP_SITE_ID=name,
                    FIRSTHOP_GRID_PEERS=",".join(peers),
                    FIRSTHOP_GRID_KEY="0123456789abcdef" * 2,
                    FIRSTHOP_ACCOUNT_DATABASE=str(folder / "account.db"),
                    FIRSTHOP_MODEL_THREADS="1",
                )
            )
        for site in sites.values():
            wait_until(lambda site=site: num_usable(site) == 2, "all are linked")  # type: ignore[misc]
        yield sites


def num_usable(site: SiteProcess) -> int:
    return sum(peer["state"] == "usable" for peer in site.admin_json("/v1/grid")["peers"])


class Caller:
    """A client that keeps its token and what it has received."""

    def __init__(self) -> None:
        self.session: Conversation
        self.told = pb.SessionStarted()
        self.received = ""

    async def begin(self, stub: AgentServiceStub, **fields: object) -> None:
        self.session = Conversation(Remote(stub))
        await self.session.start(latency_budget_ms=PATIENT_MS, **fields)
        self.told = (await self.session.next()).started

    async def resume(self, stub: AgentServiceStub, turn_id: str = "") -> None:
        self.session = Conversation(Remote(stub))
        resume = pb.SessionResume(
            token=self.told.token, turn_id=turn_id, received_text=self.received
        )
        await self.session.start(resume=resume)
        self.told = (await self.session.next()).started

    async def read(self) -> list[pb.ConverseEvent]:
        events = await self.session.leg()
        self._note(events)
        return events

    async def read_one(self) -> None:
        self._note([await self.session.next()])

    async def ask(self, text: str, turn_id: str = "") -> list[pb.ConverseEvent]:
        self.received = ""
        await self.session.say(text, turn_id=turn_id)
        return await self.read()

    def _note(self, events: list[pb.ConverseEvent]) -> None:
        for event in events:
            if event.WhichOneof("event") == "turn_restarted":
                self.received = ""
            self.received += event.text_delta.text


def kill(site: SiteProcess) -> None:
    site.process.kill()
    site.process.wait(10)


def agents_of(site: SiteProcess) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(site.grpc)


def test_a_pending_payment_is_paid_once_after_its_site_was_killed(tmp_path: Path) -> None:
    @on_uvloop
    async def talk() -> None:
        async with agents_of(sites["edge-a"]) as first, agents_of(sites["edge-c"]) as last:
            caller = Caller()
            await caller.begin(AgentServiceStub(first), server_tools=True)
            await caller.ask("I would like to pay forty dollars.", "ask")
            assert re.search(r"pay 40 dollars .*\(ref [A-Z0-9]{5}\)", caller.received)
            kill(sites["edge-a"])
            await caller.resume(AgentServiceStub(last))
            assert caller.told.last_turn_id == "ask"
            events = await caller.ask("yes please", "yes")
            (ran,) = (event.tool_run for event in events if event.HasField("tool_run"))
            assert ran.result_json == '{"paid_dollars":40,"open_dollars":24}'
            # The site that went on breaks the call, too: the client has seen nothing of the turn.
            caller.session.hang_up()
            caller.received = ""
            async with agents_of(sites["edge-b"]) as other:
                await caller.resume(AgentServiceStub(other), "yes")
                again = await caller.read()
                assert [e.tool_run for e in again if e.HasField("tool_run")] == [ran]
                await caller.ask("What is my current bill?")
                assert "24 dollars still open" in caller.received

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
            callers = [Caller() for _ in range(NUM_CALLERS)]
            for caller in callers:
                await caller.begin(AgentServiceStub(first), max_tokens=400)
                assert set(caller.told.alternates) == {
                    sites["edge-b"].grpc,
                    sites["edge-c"].grpc,
                }
            async with asyncio.TaskGroup() as asking:
                for number, caller in enumerate(callers):
                    asking.create_task(caller.ask(f"number {number}"))
            answers = [one.received for one in callers]
            assert answers == [f"number {k}" for k in range(NUM_CALLERS)]
            cut = callers[::2]
            for caller in cut:
                caller.received = ""
                await caller.session.say("Tell me more ...", turn_id="cut")
                await caller.read_one()
            kill(sites["edge-a"])
            for index, caller in enumerate(callers):
                await caller.resume(elsewhere[index % 2], "cut" if caller in cut else "")
            for caller in cut:
                events = await caller.read()
                assert kinds(events)[-1] == "turn_summary"
                assert "turn_restarted" not in kinds(events)
                assert caller.received.startswith("Tell me more ...Tell me more ...")
            for caller in callers:
                await caller.ask("and then")
                assert caller.received == "and then"

    with running_grid(tmp_path, "--model", str(echo_bundle)) as sites:
        talk()
