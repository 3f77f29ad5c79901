"""Sessions that go on at another site, through real servers; the sites' links are in memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import pytest

from gateway.core.errors import EngineFault
from gateway.core.session_snapshot import GridKey, SealedSnapshot
from gateway.core.turn import Message, Role, ServerToolRun, TextDelta, ToolCall
from gateway.session.surviving import SurvivingSessions
from gateway.wire.pb import agent_pb2 as pb
from tests.edge.grpc_fakes import (
    END,
    HELLO,
    OTHER_KEY,
    Conversation,
    Hold,
    Site,
    Step,
    calling,
    kinds,
    on_uvloop,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

pytestmark = pytest.mark.flow

KEY = GridKey("k" * 32)
PAY = ToolCall("c1", "pay", "{}")
TOOLS = [pb.Tool(name="pay")]


@dataclass
class Wires:
    """What connects the sites; `cut` ones reach nobody and are reached by nobody."""

    sessions: dict[str, SurvivingSessions] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)


@dataclass
class Ends:
    """One site's end of the wires."""

    site: str
    wires: Wires

    def staying(self) -> dict[str, str]:
        if self.site in self.wires.cut:
            return {}
        others = self.wires.sessions.keys() - self.wires.cut - {self.site}
        return {site: f"{site}:8081" for site in others}

    def keep_session(self, site: str, sealed: SealedSnapshot) -> None:
        newer = self.wires.sessions[site].keep(self.site, sealed)
        if newer is not None:
            self.wires.sessions[self.site].taken(newer)

    async def find_session(self, session: str) -> Iterable[SealedSnapshot]:
        found = [self.wires.sessions[site].newest(session) for site in self.staying()]
        return [sealed for sealed in found if sealed is not None]


@asynccontextmanager
async def sites(*scripts: Sequence[Sequence[Step]]) -> AsyncIterator[tuple[Wires, list[Site]]]:
    """Three sites; those after the first two play the last scripts given."""
    wires = Wires()
    async with AsyncExitStack() as stack:
        served = []
        for index, name in enumerate(("edge-a", "edge-b", "edge-c")):
            sessions = SurvivingSessions(KEY, name, Ends(name, wires))
            wires.sessions[name] = await stack.enter_async_context(sessions)
            played = scripts[min(index, len(scripts) - 1)]
            served.append(await stack.enter_async_context(serve(*played, surviving=sessions)))
        yield wires, served


async def begun(site: Site, **fields: object) -> tuple[Conversation, pb.SessionStarted]:
    session = Conversation(site)
    await session.start(**fields)
    return session, await started(session)


async def started(session: Conversation) -> pb.SessionStarted:
    event = await session.next()
    assert event.WhichOneof("event") == "started"
    return event.started


async def resumed(
    site: Site, token: str, turn_id: str = "", received: str = ""
) -> tuple[Conversation, pb.SessionStarted]:
    resume = pb.SessionResume(token=token, turn_id=turn_id, received_text=received)
    return await begun(site, resume=resume)


def text(events: list[pb.ConverseEvent]) -> str:
    return "".join(event.text_delta.text for event in events)


@on_uvloop
async def test_a_session_goes_on_with_its_history_where_nobody_kept_it() -> None:
    async with sites([HELLO]) as (wires, (first, *others)):
        session, told = await begun(first, history=[pb.Message(role=pb.ROLE_SYSTEM, content="s")])
        await session.say("one", turn_id="t1")
        await session.leg()
        assert set(told.alternates) == {"edge-b:8081", "edge-c:8081"}
        assert told.last_turn_id == ""
        wires.cut.add("edge-a")
        last = others[1] if told.alternates[0].startswith("edge-b") else others[0]
        again, retold = await resumed(last, told.token)
        assert (retold.token, retold.last_turn_id) == (told.token, "t1")
        await again.say("two")
        assert kinds(await again.leg())[-1] == "turn_summary"
        assert [message.content for message in last.runner.turns[-1].messages] == [
            "s",
            "one",
            "Hello wörld",
            "two",
        ]


@on_uvloop
async def test_a_turn_that_was_cut_off_is_answered_on() -> None:
    cut = (TextDelta("Hello w"), Hold())
    async with sites([cut], [HELLO]) as (wires, (first, second, _)):
        session, told = await begun(first)
        await session.say("one", turn_id="t1", latency_budget_ms=700.0)
        received = text([await session.next()])
        wires.cut.add("edge-a")
        again, _ = await resumed(second, told.token, "t1", received)
        events = await again.leg()
        assert received + text(events) == "Hello wörld"
        assert kinds(events) == ["text_delta", "usage", "turn_summary"]
        was, now = first.runner.turns[0], second.runner.turns[0]
        assert now.sampling == was.sampling
        assert now.budget.first_token_s == 0.7
        assert now.run_key == was.run_key == f"{KEY.session_of(told.token)}.1"


@on_uvloop
async def test_an_answer_that_comes_out_differently_begins_anew() -> None:
    cut = (TextDelta("Help"), Hold())
    async with sites([cut], [HELLO]) as (wires, (first, second, _)):
        session, told = await begun(first)
        await session.say("one", turn_id="t1")
        received = text([await session.next()])
        wires.cut.add("edge-a")
        again, _ = await resumed(second, told.token, "t1", received)
        events = await again.leg()
        assert kinds(events)[0] == "turn_restarted"
        assert text(events) == "Hello wörld"


@on_uvloop
async def test_the_end_of_a_turn_that_was_lost_on_the_way_is_told_again() -> None:
    bill = ServerToolRun(ToolCall("b1", "get_bill", "{}"), "{}")
    script = (TextDelta("Well. "), bill, TextDelta("64 open."), END)
    async with sites([script]) as (wires, (first, second, _)):
        session, told = await begun(first)
        await session.say("one", turn_id="t1")
        await session.leg()
        wires.cut.add("edge-a")
        again, _ = await resumed(second, told.token, "t1", "Well. 64")
        events = await again.leg()
        assert kinds(events) == ["tool_run", "text_delta", "usage", "turn_summary"]
        assert text(events) == " open."
        assert events[-1].turn_summary.finish == pb.FINISH_REASON_STOP
        assert second.runner.turns == []


@on_uvloop
async def test_a_turn_that_had_failed_says_so() -> None:
    async with sites([(EngineFault("x"),)], [HELLO]) as (wires, (first, second, _)):
        session, told = await begun(first)
        await session.say("one", turn_id="t1")
        assert kinds(await session.leg()) == ["turn_error"]
        wires.cut.add("edge-a")
        again, _ = await resumed(second, told.token, "t1")
        (event,) = await again.leg()
        assert (event.turn_error.code, event.turn_error.retryable) == ("turn_failed", True)
        await again.say("one")
        await again.leg()
        assert second.runner.turns[0].messages == (Message(Role.USER, "one"),)


@on_uvloop
async def test_calls_of_the_clients_tools_are_still_waited_for() -> None:
    async with sites([(calling(PAY),)], [HELLO]) as (wires, (first, second, _)):
        session, told = await begun(first, tools=TOOLS)
        await session.say("pay", turn_id="t1")
        await session.leg()
        wires.cut.add("edge-a")
        again, retold = await resumed(second, told.token, "t1")
        assert list(retold.awaited_call_ids) == ["c1"]
        events = await again.leg()
        assert kinds(events) == ["tool_call", "usage", "turn_summary"]
        assert events[-1].turn_summary.finish == pb.FINISH_REASON_TOOL_CALLS
        await again.give_result("c1", '"done"')
        assert text(await again.leg()) == "Hello wörld"
        assert second.runner.turns[0].messages[-1].content == '"done"'
        assert second.runner.turns[0].tools[0].name == "pay"


@on_uvloop
async def test_what_no_site_has_is_not_found() -> None:
    async with sites([HELLO]) as (_, (first, second, _)):
        session, told = await begun(first)
        keyed = (("authorization", f"Bearer {OTHER_KEY}"),)
        for token, call in (
            ("", {}),
            (told.token[:-1] + ("0" if told.token[-1] != "0" else "1"), {}),
            (KEY.token("0" * 32), {}),
            (told.token, {"metadata": keyed}),
        ):
            stranger = Conversation(second, **call)
            await stranger.start(resume=pb.SessionResume(token=token))
            code, _, trailing = await stranger.status()
            assert code is grpc.StatusCode.NOT_FOUND
            assert trailing["firsthop-code"] == "session_not_found"
        await session.say()
        assert kinds(await session.leg())[-1] == "turn_summary"


@on_uvloop
async def test_a_session_that_goes_on_takes_no_new_terms() -> None:
    async with sites([HELLO]) as (_, (first, *_)):
        _, told = await begun(first)
        other = Conversation(first)
        await other.start(resume=pb.SessionResume(token=told.token), max_tokens=3)
        code, _, trailing = await other.status()
        assert (code, trailing["firsthop-param"]) == (grpc.StatusCode.INVALID_ARGUMENT, "start")


@pytest.mark.parametrize("at", [0, 1])
@on_uvloop
async def test_a_session_that_is_resumed_ends_where_it_ran(at: int) -> None:
    async with sites([(TextDelta("Hel"), Hold())], [HELLO]) as (_, found):
        session, told = await begun(found[0])
        await session.say("one", turn_id="t1")
        await session.next()
        await resumed(found[at], told.token, "t1", "Hel")
        while await session.read_on():
            pass
        code, _, trailing = await session.status()
        assert (code, trailing["firsthop-code"]) == (grpc.StatusCode.ABORTED, "session_moved")
        assert await found[0].runner.next_left() is False


@on_uvloop
async def test_an_owner_that_was_cut_off_learns_that_it_is_none() -> None:
    async with sites([HELLO]) as (wires, (first, second, _)):
        session, told = await begun(first)
        wires.cut.add("edge-a")
        again, _ = await resumed(second, told.token)
        await again.say("mine")
        await again.leg()
        wires.cut.clear()
        await session.say("old")
        while await session.read_on():
            pass
        assert (await session.status())[2]["firsthop-code"] == "session_moved"
        await again.say("still mine")
        await again.leg()
        contents = [message.content for message in second.runner.turns[-1].messages]
        assert "old" not in contents


@on_uvloop
async def test_a_broken_call_goes_on_at_the_same_site_without_any_other() -> None:
    async with sites([HELLO]) as (wires, (first, *_)):
        wires.cut |= {"edge-b", "edge-c"}
        session, told = await begun(first)
        assert list(told.alternates) == []
        await session.say("one")
        await session.leg()
        session.hang_up()
        again, _ = await resumed(first, told.token)
        await again.say("two")
        await again.leg()
        assert len(first.runner.turns[-1].messages) == 3


@on_uvloop
async def test_a_lost_buddy_is_replaced() -> None:
    async with sites([HELLO]) as (wires, found):
        _, told = await begun(found[0])
        buddy = told.alternates[0].partition(":")[0]
        other = told.alternates[1].partition(":")[0]
        session = KEY.session_of(told.token)
        assert wires.sessions[buddy].newest(session) is not None
        assert wires.sessions[other].newest(session) is None
        wires.cut.add(buddy)
        async with asyncio.timeout(30.0):
            while wires.sessions[other].newest(session) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@on_uvloop
async def test_a_cancelled_turn_is_told_again_as_cancelled() -> None:
    async with sites([(TextDelta("Hel"), Hold())]) as (wires, (first, second, _)):
        session, told = await begun(first)
        await session.say("one", turn_id="t1")
        await session.next()
        await session.cancel()
        await session.leg()
        wires.cut.add("edge-a")
        again, _ = await resumed(second, told.token, "t1", "H")
        events = await again.leg()
        assert text(events) == "el"
        assert events[-1].turn_summary.finish == pb.FINISH_REASON_CANCELLED
