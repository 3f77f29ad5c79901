"""Sessions that are gone on with: the conversation, settings and what was owed; one site's part."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.core.session_snapshot import GridKey
from gateway.core.turn import Role, ServerToolRun, TextDelta, ToolCall
from gateway.session import phrases
from gateway.session.surviving import SurvivingSessions
from tests.edge.fakes import END, HELLO, KEY, WAIT_S, Hold, Site, serve
from tests.edge.realtime.dialler import Session, dial
from tests.edge.realtime.fake_voice import FakeVoices
from tests.edge.realtime.test_calls import OFFER, SDP, ask, place, until
from tests.edge.realtime.test_cut_off_calls import lose_worker, take_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.core.session_snapshot import SealedSnapshot

pytestmark = pytest.mark.flow

PAID = ServerToolRun(ToolCall("c1", "pay", "{}"), '{"paid":true}')


class Nobody:
    """No other sites: what a session was is known where it was."""

    def staying(self) -> dict[str, str]:
        return {}

    def keep_session(self, site: str, sealed: SealedSnapshot) -> None:
        raise AssertionError(site)

    async def find_session(self, session: str) -> Iterable[SealedSnapshot]:
        return []


@pytest.fixture
def voices() -> FakeVoices:
    return FakeVoices()


@pytest.fixture
def site(voices: FakeVoices) -> Iterator[Site]:
    sessions = SurvivingSessions(GridKey("k" * 32), "edge-a", Nobody())
    with serve(voices=voices, surviving=sessions) as opened:
        yield opened


async def token_of(session: Session) -> str:
    """As a client that sees no headers learns it."""
    await session.send("session.update", session={"output_modalities": ["text"]})
    told = (await session.the("session.updated"))["session"]["firsthop"]["session"]
    assert told["alternates"] == []
    return str(told["token"])


def test_a_session_goes_on_with_what_was_said_and_set(site: Site) -> None:
    async def talk() -> None:
        async with dial(site, **{"x-firsthop-tools": "server"}) as session:
            token = await token_of(session)
            await session.send("session.update", session={"instructions": "Be brief."})
            await session.write("hi")
            await session.answer()
        async with dial(site, f"model=gpt-4o&x-firsthop-session={token}") as session:
            told = [await session.the("conversation.item.done") for _ in range(2)]
            assert [event["item"]["role"] for event in told] == ["user", "assistant"]
            assert told[1]["previous_item_id"] == told[0]["item"]["id"]
            await session.send("session.update", session={})
            settings = (await session.the("session.updated"))["session"]
            assert settings["output_modalities"] == ["text"]
            assert settings["firsthop"]["tools"] == "server"
            assert settings["firsthop"]["session"]["token"] == token
            await session.write("and now?")
            await session.answer()

    asyncio.run(talk())
    first, second = site.runner.turns
    assert [(m.role, m.content) for m in second.messages] == [
        (Role.SYSTEM, "Be brief."),
        (Role.USER, "hi"),
        (Role.ASSISTANT, "Hello wörld"),
        (Role.USER, "and now?"),
    ]
    assert first.run_key.removesuffix(".1") == second.run_key.removesuffix(".2")


def test_an_answer_that_was_cut_off_is_made_again_and_its_tools_are_not_run_again(
    site: Site,
) -> None:
    site.runner.script = (TextDelta("One moment. "), PAID, TextDelta("It is"), Hold())

    async def talk() -> None:
        async with dial(site) as session:
            token = await token_of(session)
            await session.write("pay it")
            await session.send("response.create", response={"metadata": {"leg": "a"}})
            await session.until("response.output_item.done")
        await asyncio.to_thread(site.runner.left.get, timeout=WAIT_S)
        site.runner.script = (PAID, TextDelta("It is paid"), END)
        async with dial(site, f"x-firsthop-session={token}") as session:
            (item,) = [await session.the("conversation.item.done")]
            assert item["item"]["role"] == "user"
            response = (await session.the("response.done"))["response"]
            assert response["metadata"] == {"leg": "a"}
            assert response["output"][-1]["content"][0]["text"] == "It is paid"

    asyncio.run(talk())
    first, again = site.runner.turns
    assert first.run_key == again.run_key != ""
    assert first.sampling.seed == again.sampling.seed
    assert first.messages == again.messages


def test_whoever_goes_on_with_a_session_ends_it_where_it_was(site: Site) -> None:
    site.runner.script = (*HELLO[:1], Hold())

    async def talk() -> None:
        async with dial(site) as old:
            token = await token_of(old)
            await old.write("hi")
            await old.send("response.create")
            await old.the("response.output_text.delta")
            async with dial(site, f"x-firsthop-session={token}") as new:
                assert (await old.error())["code"] == "session_moved"
                with suppress(ConnectionClosed):
                    while True:
                        await old.next()
                await new.the("response.output_text.delta")

    asyncio.run(talk())


@pytest.mark.parametrize("headers", [{}, {"x-firsthop-user": "bob"}])
def test_a_session_is_found_with_its_token_by_its_own_user_only(
    site: Site, headers: dict[str, str]
) -> None:
    async def talk() -> None:
        async with dial(site, **{"x-firsthop-user": "ann"}) as session:
            token = await token_of(session)
        token = token if headers else token[:-1] + ("0" if token[-1] != "0" else "1")
        url = f"ws://127.0.0.1:{site.port}/v1/realtime?x-firsthop-session={token}"
        sent = {"authorization": f"Bearer {KEY}", **headers}
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers=sent)
        assert refused.value.response.status_code == 404
        assert json.loads(refused.value.response.body)["error"]["code"] == "session_not_found"

    asyncio.run(talk())


def test_a_site_that_keeps_no_sessions_says_so(http_site: Site) -> None:
    refused = httpx.post(f"{http_site.url}/v1/realtime/calls", content=OFFER, headers=SDP)
    assert "x-firsthop-session" not in refused.headers

    async def talk() -> None:
        url = f"ws://127.0.0.1:{http_site.port}/v1/realtime?x-firsthop-session=fhs_x"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"authorization": f"Bearer {KEY}"})
        assert "grid.key" in json.loads(refused.value.response.body)["error"]["message"]

    asyncio.run(talk())


def go_on(site: Site, placed: httpx.Response) -> httpx.Response:
    """Another call with the session of this one, by a page of another origin."""
    own = {"x-firsthop-session": placed.headers["x-firsthop-session"], "origin": "http://a.test"}
    url = f"{site.url}/v1/realtime/calls?notice=true"
    return httpx.post(url, content=OFFER, headers={**SDP, **own})


def test_a_call_that_goes_on_is_told_once_that_an_ai_speaks(site: Site, voices: FakeVoices) -> None:
    placed = place(site, notice="true")
    until(voices.fake_lines.workers[0], "output_audio_buffer.stopped")
    moved = go_on(site, placed)
    assert moved.status_code == 201
    assert "x-firsthop-session" in moved.headers["access-control-expose-headers"]
    assert moved.headers["location"] != placed.headers["location"]
    assert moved.headers["x-firsthop-session"] == placed.headers["x-firsthop-session"]
    first, second = voices.fake_lines.workers
    item: dict[str, Any] = until(second, "conversation.item.done")["item"]
    assert item["content"][0]["transcript"] == phrases.AI_NOTICE
    assert until(first, "error")["error"]["code"] == "session_moved"
    until(second, "output_audio_buffer.stopped")
    again = f"{phrases.CUT_OFF} {phrases.ONCE_MORE}"
    assert " ".join(voices.engines.spoken) == f"{phrases.AI_NOTICE} {again}"


def test_what_a_caller_has_not_heard_to_its_end_is_said_again(
    site: Site, voices: FakeVoices
) -> None:
    voices.fake_lines.plays = False
    placed = place(site)
    ask(site, voices.fake_lines.workers[0])
    until(voices.fake_lines.workers[0], "response.done")
    voices.fake_lines.plays = True
    go_on(site, placed)
    second = voices.fake_lines.workers[1]
    said = until(second, "response.output_audio_transcript.done")["transcript"]
    assert said == "Hello wörld"
    until(second, "output_audio_buffer.stopped")
    assert len(site.runner.turns) == 1  # no model was asked
    ask(site, second)
    site.runner.started.get(timeout=WAIT_S)
    site.runner.started.get(timeout=WAIT_S)
    spoken = [m.content for m in site.runner.turns[-1].messages if m.role is Role.ASSISTANT]
    assert spoken == ["Hello wörld"]


def test_what_was_said_aloud_and_is_unanswered_is_answered(site: Site, voices: FakeVoices) -> None:
    site.runner.script = (Hold(),)
    voices.engines.heard = ["what is my balance"]
    placed = place(site)
    worker = voices.fake_lines.workers[0]
    until(worker, "conversation.created")
    loop = site.loop.result()
    loop.call_soon_threadsafe(worker.hear, 30, 1.0)
    loop.call_soon_threadsafe(worker.hear, 80, 0.0)
    until(worker, "response.created")
    site.runner.script = HELLO
    go_on(site, placed)
    second = voices.fake_lines.workers[1]
    until(second, "output_audio_buffer.stopped")
    asked = site.runner.turns[-1].messages
    assert [(m.role, m.content) for m in asked] == [(Role.USER, "what is my balance")]


def test_a_call_that_came_back_to_its_place_still_outlives_its_site(
    site: Site, voices: FakeVoices
) -> None:
    placed = place(site)
    first = voices.fake_lines.workers[0]
    ask(site, first)
    until(first, "output_audio_buffer.stopped")
    lose_worker(site, first)
    back = take_up(site, placed.headers["location"])
    assert back.headers["x-firsthop-session"] == placed.headers["x-firsthop-session"]
    second = voices.fake_lines.workers[1]
    until(second, "output_audio_buffer.stopped")
    go_on(site, back)
    assert until(second, "error")["error"]["code"] == "session_moved"
    third = voices.fake_lines.workers[2]
    told = [json.loads(text)["item"]["id"] for text in second.written if "item.done" in text]
    assert until(third, "conversation.item.done")["item"]["id"] == told[0]
    assert take_up(site, placed.headers["location"]).status_code == 404


def test_a_lost_call_whose_session_goes_on_elsewhere_has_no_place_any_more(
    site: Site, voices: FakeVoices
) -> None:
    placed = place(site)
    until(voices.fake_lines.workers[0], "conversation.created")
    lose_worker(site, voices.fake_lines.workers[0])
    assert go_on(site, placed).status_code == 201
    assert take_up(site, placed.headers["location"]).json()["error"]["code"] == "call_not_found"
