"""Chat completions that belong to a session; the sites' links are in memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from gateway.core.budget import BudgetDefaults, TurnClass
from gateway.core.errors import EngineFault, InvalidRequest
from gateway.core.session_errors import SessionMoved, SessionNotFound
from gateway.core.stages import Outcome
from gateway.core.turn import (
    Message,
    Role,
    ServerToolRun,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    TurnEnd,
    TurnFinish,
    Usage,
)
from gateway.edge.chat_request import decode_chat, messages_of, turn_of
from gateway.edge.chat_session import NEW, ChatSession
from gateway.edge.desk import Desk
from gateway.session.surviving import SurvivingSessions
from tests.edge.grpc_fakes import END, HELLO, MODEL, Gate, Hold, Records, ScriptedRunner, on_uvloop
from tests.edge.test_converse_resume import KEY, Ends, Wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.core.turn import TurnEvent
    from tests.edge.grpc_fakes import Step

BILL = ServerToolRun(ToolCall("b", "get_bill", "{}"), '{"open": 64}')
SAID = [TextDelta("Hel"), TextDelta("lo "), TextDelta("wörld")]


@dataclass
class Site:
    runner: ScriptedRunner
    desk: Desk
    gate: Gate
    records: Records
    sessions: SurvivingSessions
    token: str = ""

    async def ask(
        self,
        text: str,
        wish: str,
        request_id: str = "r1",
        num_events: int = 1_000_000,
        *,
        key: str | None = None,
        user: str = "",
    ) -> list[TurnEvent]:
        """The answer's events; the client leaves after so many."""
        chat = decode_chat(b'{"messages": [{"role": "user", "content": "%s"}]}' % text.encode())
        told: list[TurnEvent] = []
        with self.desk.visit(interface="openai", request_id=request_id) as visit:
            visit.authenticate(None)
            said = messages_of(chat)
            session = await ChatSession.of(wish, self.sessions, visit, said, key, user)
            turn = turn_of(
                chat,
                request_id=request_id,
                budget=visit.budget(TurnClass.AGENT),
                turn_class=TurnClass.AGENT,
                principal=visit.principal,
                server_tools=False,
                history=session.history,
            )
            with session:
                async with aclosing(session.run(turn, visit)) as events:
                    async for event in events:
                        told.append(event)
                        self.token = dict(session.headers(()))[b"x-firsthop-session"].decode()
                        if len(told) == num_events:
                            break
        return told

    def shown(self) -> list[str]:
        """What the model read last."""
        return [message.content for message in self.runner.turns[-1].messages]


@asynccontextmanager
async def sites(*scripts: Sequence[Sequence[Step]]) -> AsyncIterator[tuple[Wires, list[Site]]]:
    """Two sites; each plays its scripts."""
    wires = Wires()
    async with AsyncExitStack() as stack:
        made = []
        for index, name in enumerate(("edge-a", "edge-b")):
            sessions = SurvivingSessions(KEY, name, Ends(name, wires))
            wires.sessions[name] = await stack.enter_async_context(sessions)
            runner, gate = ScriptedRunner(list(scripts[min(index, len(scripts) - 1)])), Gate()
            records = Records()
            desk = Desk(runner=runner, gatekeeper=gate, sink=records, defaults=BudgetDefaults())
            made.append(Site(runner, desk, gate, records, sessions))
        yield wires, made


@on_uvloop
async def test_a_session_goes_on_at_another_site_and_back() -> None:
    async with sites([HELLO]) as (wires, (first, second)):
        assert await first.ask("one", NEW) == list(HELLO)
        wires.cut.add("edge-a")
        await second.ask("two", first.token, "r2")
        assert second.token == first.token
        assert second.shown() == ["one", "Hello wörld", "two"]
        wires.cut.clear()
        await first.ask("three", first.token, "r3")
        assert first.shown() == ["one", "Hello wörld", "two", "Hello wörld", "three"]
        keys = [turn.run_key.partition(".")[2] for turn in first.runner.turns]
        assert (keys, second.runner.turns[0].run_key.partition(".")[2]) == (["1", "3"], "2")


@on_uvloop
async def test_an_answer_that_was_lost_on_its_way_is_told_again_and_nothing_runs() -> None:
    async with sites([(BILL, *SAID, END)]) as (wires, (first, second)):
        await first.ask("one", NEW)
        wires.cut.add("edge-a")
        again = await second.ask("one", first.token)
        assert again == [BILL, TextDelta("Hello wörld"), TurnEnd(TurnFinish.STOP, Usage())]
        assert second.runner.turns == []
        assert (await second.records.next()).outcome is Outcome.ANSWERED
        assert second.gate.charged_tokens == [0], "its key's limits hold for it too"
        await second.ask("one", first.token, "r2")
        assert second.shown() == ["one", "", BILL.result, "Hello wörld", "one"]


@on_uvloop
async def test_an_answer_that_is_told_again_is_a_turn_like_any_other() -> None:
    async with sites([HELLO]) as (_, (first, second)):
        await first.ask("one", NEW)
        await second.ask("one", first.token)
        record = await second.records.next()
        assert (record.outcome, record.finish) == (Outcome.ANSWERED, "stop")
        assert (record.model, record.budget_s) == (MODEL.full_name, 2.0)
        assert (second.gate.charged_tokens, second.gate.num_held) == ([0], 0)


@on_uvloop
async def test_a_request_that_says_nothing_is_refused_and_its_session_goes_on() -> None:
    async with sites([HELLO]) as (_, (site, _)):
        await site.ask("one", NEW)
        with site.desk.visit(interface="openai") as visit:
            visit.authenticate(None)
            with pytest.raises(InvalidRequest, match="empty"):
                await ChatSession.of(site.token, site.sessions, visit, ())
        await site.ask("two", site.token, "r2")
        assert site.shown() == ["one", "Hello wörld", "two"]


@on_uvloop
async def test_calls_of_the_clients_tools_are_told_again_and_answered() -> None:
    call = ToolCall("c1", "pay", "{}")
    end = TurnEnd(TurnFinish.TOOL_CALLS, Usage(), (call,))
    script = (ToolCallDelta(0, "{}", "c1", "pay"), end)
    async with sites([script], [HELLO]) as (_, (first, second)):
        await first.ask("pay", NEW)
        assert await second.ask("pay", first.token) == list(script)


@on_uvloop
async def test_a_first_answer_whose_token_was_lost_is_told_again_at_another_site() -> None:
    async with sites([(BILL, *SAID, END)], [HELLO]) as (wires, (first, second)):
        await first.ask("one", NEW, "r1", key="k")
        wires.cut.add("edge-a")
        again = await second.ask("one", NEW, "r2", key="k")
        assert again == [BILL, TextDelta("Hello wörld"), TurnEnd(TurnFinish.STOP, Usage())]
        assert (second.token, second.runner.turns) == (first.token, [])
        await second.ask("two", second.token, "r3", key="k2")
        assert second.shown()[-2:] == ["Hello wörld", "two"]


@on_uvloop
async def test_a_first_answer_that_was_broken_off_is_the_same_turn_again() -> None:
    async with sites([(BILL, TextDelta("Hel"), Hold())], [HELLO]) as (_, (first, second)):
        await first.ask("one", NEW, "r1", num_events=2, key="k")
        await second.ask("one", NEW, "r2", key="k")
        (before,), (after,) = first.runner.turns, second.runner.turns
        assert (before.run_key, before.sampling.seed) == (after.run_key, after.sampling.seed)


@pytest.mark.parametrize(
    "other", [{"key": "k", "user": "bob"}, {"key": "other"}, {}, {"key": "k", "text": "two"}]
)
@on_uvloop
async def test_who_says_something_else_begins_another_session(other: dict[str, str]) -> None:
    async with sites([HELLO]) as (_, (site, _)):
        await site.ask("one", NEW, key="k")
        token = site.token
        await site.ask(**{"text": "one", "wish": NEW, "request_id": "r1", **other})  # type: ignore[arg-type]
        assert site.token != token
        assert len(site.runner.turns) == 2


@on_uvloop
async def test_a_session_that_has_gone_on_is_not_begun_again() -> None:
    async with sites([HELLO]) as (_, (site, _)):
        await site.ask("one", NEW, key="k")
        token = site.token
        await site.ask("two", token, key="k2")
        await site.ask("one", NEW, key="k")
        assert site.token != token
        assert site.shown() == ["one"]
        with pytest.raises(InvalidRequest, match="255"):
            await site.ask("one", NEW, key="k" * 256)


@pytest.mark.parametrize("how", ["killed", "left"])
@on_uvloop
async def test_an_answer_that_was_broken_off_is_given_again_as_the_same_turn(how: str) -> None:
    script = (BILL, TextDelta("Hel"), Hold())
    async with (
        sites([script], [HELLO]) as (wires, (first, second)),
        asyncio.TaskGroup() as asking,
    ):
        asked = asking.create_task(
            first.ask("one", NEW, num_events=2 if how == "left" else 1_000_000)
        )
        if how == "left":
            await asked
        while not first.token:  # noqa: ASYNC110 - set between two events
            await asyncio.sleep(0)
        wires.cut.add("edge-a" if how == "killed" else "")
        assert await second.ask("one", first.token) == list(HELLO)
        assert second.shown() == ["one"]
        was, now = first.runner.turns[0], second.runner.turns[0]
        assert (now.run_key, now.sampling) == (was.run_key, was.sampling)
        asked.cancel()


@on_uvloop
async def test_what_was_said_before_the_client_left_stays_said() -> None:
    async with sites([(BILL, TextDelta("Hel"), Hold())], [HELLO]) as (_, (first, second)):
        await first.ask("one", NEW, num_events=2)
        await second.ask("two", first.token, "r2")
        assert second.shown() == ["one", "", BILL.result, "Hel", "two"]


@on_uvloop
async def test_a_turn_that_failed_leaves_no_words() -> None:
    async with sites([HELLO, (EngineFault("x"),)], [HELLO]) as (_, (first, second)):
        await first.ask("one", NEW)
        with pytest.raises(EngineFault):
            await first.ask("two", first.token, "r2")
        await second.ask("two", first.token, "r2")
        assert second.shown() == ["one", "Hello wörld", "two"]


@pytest.mark.parametrize("at", [0, 1])
@on_uvloop
async def test_a_request_whose_session_goes_on_in_another_ends(at: int) -> None:
    async def overtaken(site: Site) -> None:
        with pytest.raises(SessionMoved):
            await site.ask("two", site.token, "r2")

    async with (
        sites([HELLO, (TextDelta("Hel"), Hold()), HELLO], [HELLO]) as (_, found),
        asyncio.TaskGroup() as asking,
    ):
        await found[0].ask("one", NEW)
        asking.create_task(overtaken(found[0]))
        await found[0].runner.next_started()
        await found[0].runner.next_started()
        await found[at].ask("three", found[0].token, "r3")


@on_uvloop
async def test_no_stranger_goes_on_with_a_session() -> None:
    async with sites([HELLO]) as (_, (first, second)):
        await first.ask("one", NEW)
        for token in ("", "fhs_", first.token[:-1], KEY.token("0" * 32)):
            with pytest.raises(SessionNotFound):
                await second.ask("two", token)


@on_uvloop
async def test_a_site_that_keeps_no_sessions_says_so() -> None:
    async with sites([HELLO]) as (_, (first, _)):
        with first.desk.visit(interface="openai") as visit, pytest.raises(InvalidRequest) as no:
            await ChatSession.of(NEW, None, visit, (Message(Role.USER, "x"),))
        assert no.value.param == "x-firsthop-session"
