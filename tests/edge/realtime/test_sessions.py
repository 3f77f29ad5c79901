"""Sessions: opening, settings, items, errors, keys, limits, drain."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from openai.types.realtime.client_secret_create_response import ClientSecretCreateResponse
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.core.errors import UnsupportedTools
from gateway.core.turn import Role, TextDelta
from tests.edge.fakes import END, KEY, WAIT_S, Until, serve
from tests.edge.realtime.dialler import Session, dial, kinds

if TYPE_CHECKING:
    from gateway.core.turn import Turn
    from tests.edge.fakes import Site


def test_updates_change_what_they_name_and_nothing_else(http_site: Site) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            audio = {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}}
            await session.send("session.update", session={"type": "realtime", "audio": audio})
            await session.the("session.updated")
            await session.send(
                "session.update", session={"instructions": "Be brief.", "tracing": "auto"}
            )
            told = (await session.the("session.updated"))["session"]
            assert told["audio"]["input"]["turn_detection"]["eagerness"] == "low"
            assert (told["instructions"], told["tracing"]) == ("Be brief.", "auto")
            assert told["model"] == "tiny"
            await session.send("session.update", session={"audio": {"input": None}})
            told = (await session.the("session.updated"))["session"]
            assert told["audio"]["input"]["turn_detection"]["eagerness"] == "low"
            await session.write("hi")
            await session.answer()

    asyncio.run(talk())
    messages = http_site.runner.turns[-1].messages
    assert [(m.role, m.content) for m in messages] == [
        (Role.SYSTEM, "Be brief."),
        (Role.USER, "hi"),
    ]


@pytest.mark.parametrize(
    ("session_given", "param"),
    [
        ({"type": "transcription"}, "session.type"),
        ({"type": "translation"}, "session.type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "session.tools[0].type"),
        ({"model": "other"}, "model"),
        ({"prompt": {"id": "pmpt_1"}}, "session.prompt"),
        ({"max_output_tokens": 0}, "session.max_output_tokens"),
        ({"audio": {"output": {"speed": 9}}}, "session.audio.output.speed"),
    ],
)
def test_settings_that_cannot_be_served_change_nothing(
    http_site: Site, session_given: dict[str, Any], param: str
) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            await session.send(
                "session.update", session={"instructions": "x", **session_given}, event_id="u"
            )
            error = await session.error()
            assert (error["param"], error["event_id"]) == (param, "u")
            await session.send("session.update", session={})
            assert (await session.the("session.updated"))["session"]["instructions"] == ""

    asyncio.run(talk())


def test_instructions_that_the_model_cannot_follow_are_left_out_and_told(http_site: Site) -> None:
    async def refuse_instructions(turn: Turn) -> None:
        if turn.messages[0].role is Role.SYSTEM:
            raise UnsupportedTools("this model follows none", param="messages")
        if turn.tools:
            raise UnsupportedTools("this model cannot call that")

    http_site.runner.check = refuse_instructions  # type: ignore[method-assign]
    tool = {"type": "function", "name": "other", "parameters": {"type": "object"}}

    async def talk() -> None:
        async with dial(http_site) as session:
            await session.send("session.update", session={"instructions": "Be brief."})
            told = (await session.the("session.updated"))["session"]
            assert told["instructions"] == ""
            unserved = [(wish["param"], wish["code"]) for wish in told["firsthop"]["unserved"]]
            assert unserved == [("session.instructions", "unsupported_tools")]
            await session.send("session.update", session={"tools": [tool]}, event_id="t")
            assert (await session.error())["code"] == "unsupported_tools"
            await session.write("hi")
            await session.send("response.create", response={"instructions": "Greet."})
            assert (await session.error())["code"] == "unsupported_tools"

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ('{"type": "no.such.event", "event_id": "e"}', "type"),
        ('{"event_id": "e"}', "type"),
        ('{"type": "conversation.item.create", "event_id": "e"}', "item"),
        (
            '{"type": "conversation.item.create", "event_id": "e", "item": {"type": "message",'
            ' "role": "user", "content": [{"type": "input_image"}]}}',
            "item.content[0].type",
        ),
        ('{"type": "input_audio_buffer.append", "event_id": "e", "audio": "???"}', "audio"),
        ('{"type": "conversation.item.delete", "event_id": "e", "item_id": "none"}', "item_id"),
        ('{"type": "response.create", "event_id": "e"}', "response"),
    ],
)
def test_bad_events_are_named_and_break_nothing(http_site: Site, text: str, param: str) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            await session.socket.send(text)
            error = await session.error()
            assert (error["param"], error["event_id"]) == (param, "e")
            await session.write("hi")
            assert (await session.answer())[-1]["response"]["status"] == "completed"

    asyncio.run(talk())


@pytest.mark.parametrize("message", ["not json", "[]", b"\x00\x01", '{"type": 5}', "[" * 5000])
def test_what_is_no_event_is_an_error_too(http_site: Site, message: str | bytes) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            await session.socket.send(message)
            assert (await session.error())["type"] == "invalid_request_error"
            await session.write("hi")

    asyncio.run(talk())


def test_a_message_too_large_ends_the_session(http_site: Site) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            # Sending it may already meet the end.
            with suppress(ConnectionClosed):
                await session.send("input_audio_buffer.append", audio="A" * (1 << 21))
            with pytest.raises(ConnectionClosed) as closed:
                await session.until("response.done")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009

    asyncio.run(talk())


def test_items_are_put_where_they_belong(http_site: Site) -> None:
    def message(item_id: str, text: str) -> dict[str, Any]:
        content = [{"type": "input_text", "text": text}]
        return {"id": item_id, "type": "message", "role": "user", "content": content}

    async def talk() -> None:
        async with dial(http_site) as session:

            async def put(item: dict[str, Any], **where: str) -> str | None:
                await session.send("conversation.item.create", item=item, **where)
                before: str | None = (await session.the("conversation.item.done"))[
                    "previous_item_id"
                ]
                return before

            assert await put(message("b", "two")) is None
            assert await put(message("d", "four")) == "b"
            assert await put(message("a", "one"), previous_item_id="root") is None
            assert await put(message("c", "three"), previous_item_id="b") == "b"
            await session.send("conversation.item.create", item=message("b", "again"))
            assert (await session.error())["param"] == "item.id"
            await session.send(
                "conversation.item.create", item=message("e", "x"), previous_item_id="nobody"
            )
            assert (await session.error())["param"] == "previous_item_id"
            await session.send("conversation.item.delete", item_id="b")
            await session.the("conversation.item.deleted")
            await session.answer()

    asyncio.run(talk())
    said = [m.content for m in http_site.runner.turns[-1].messages]
    assert said == ["one", "three", "four"]


def test_an_output_without_its_call_is_refused(http_site: Site) -> None:
    async def talk() -> None:
        async with dial(http_site) as session:
            item = {"type": "function_call_output", "call_id": "call_x", "output": "{}"}
            await session.send("conversation.item.create", item=item)
            assert (await session.error())["param"] == "item.call_id"
            half = {"type": "function_call", "name": "pay", "arguments": '{"a":'}
            await session.send("conversation.item.create", item=half)
            assert (await session.error())["param"] == "item.arguments"

    asyncio.run(talk())


def test_unknown_models_and_keys_are_refused_as_http(http_site: Site) -> None:
    async def refusal(query: str, **headers: str) -> tuple[int, str]:
        url = f"ws://127.0.0.1:{http_site.port}/v1/realtime{query}"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers=headers):
                pass
        body = json.loads(refused.value.response.body or b"{}")
        return refused.value.response.status_code, body["error"]["code"]

    async def talk() -> None:
        assert await refusal("?model=other") == (404, "model_not_found")
        http_site.gate.keys_needed = True
        assert await refusal("") == (401, "invalid_api_key")
        http_site.gate.keys_needed = False
        wrong = {"x-firsthop-tools": "mine"}
        assert await refusal("", **wrong) == (400, "invalid_request")
        assert await refusal("?call_id=rtc_none") == (404, "call_not_found")

    asyncio.run(talk())


def test_a_browser_shows_its_key_as_a_subprotocol_and_reads_its_refusal(http_site: Site) -> None:
    http_site.gate.keys_needed = True
    url = f"ws://127.0.0.1:{http_site.port}/v1/realtime"

    async def talk() -> None:
        key = f"openai-insecure-api-key.{KEY}"
        async with connect(url, subprotocols=["realtime", key, "openai-agents-sdk.0.20"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "realtime"
            assert (await Session(socket).next())["type"] == "session.created"
        async with connect(url, subprotocols=["realtime"]) as socket:  # type: ignore[list-item]
            assert (await Session(socket).error())["code"] == "invalid_api_key"
            with pytest.raises(ConnectionClosed):
                await socket.recv()

    asyncio.run(talk())


def test_an_ephemeral_key_stands_for_the_one_that_made_it(http_site: Site) -> None:
    http_site.gate.keys_needed = True
    secrets = f"{http_site.v1}/realtime/client_secrets"
    bearer = {"authorization": f"Bearer {KEY}"}
    asked = {
        "expires_after": {"anchor": "created_at", "seconds": 20},
        "session": {"type": "realtime", "instructions": "Be kind."},
    }
    assert httpx.post(secrets, json=asked).status_code == 401
    made = httpx.post(secrets, json=asked, headers=bearer)
    assert made.status_code == 200
    ClientSecretCreateResponse.model_validate(made.json())
    key = made.json()["value"]
    assert key.startswith("ek_")
    longer = httpx.post(secrets, json=asked, headers={"authorization": f"Bearer {key}"})
    assert (longer.status_code, longer.json()["error"]["code"]) == (403, "forbidden")

    http_site.desk.pseudonym = lambda tenant, user: f"{tenant}'s {user}, hashed"

    async def talk() -> None:
        url = f"ws://127.0.0.1:{http_site.port}/v1/realtime?model=gpt-4o-realtime"
        headers = {"authorization": f"Bearer {key}", "openai-safety-identifier": "anna"}
        async with connect(url, additional_headers=headers) as socket:
            session = Session(socket)
            told = (await session.the("session.created"))["session"]
            assert told["instructions"] == "Be kind."
            await session.write("hi")
            await session.answer()
        with pytest.raises(InvalidStatus):
            async with connect(url, additional_headers={"authorization": "Bearer ek_other"}):
                pass

    asyncio.run(talk())
    record = http_site.records.next()
    assert (record.tenant, record.caller) == ("acme", "acme's anna, hashed")
    bad = {"expires_after": {"seconds": 5}}
    refused = httpx.post(secrets, json=bad, headers=bearer)
    assert refused.json()["error"]["param"] == "expires_after.seconds"


def test_more_sessions_than_lines_are_told_that_they_are_busy() -> None:
    async def talk(site: Site) -> None:
        async with dial(site), dial(site):
            with pytest.raises(InvalidStatus) as refused:
                async with dial(site):
                    pass
            assert refused.value.response.status_code == 503
            assert json.loads(refused.value.response.body)["error"]["code"] == "lines_busy"
        async with dial(site):
            pass

    with serve(max_sessions=2) as site:
        asyncio.run(talk(site))


def test_a_session_in_which_nobody_says_anything_ends_with_a_word() -> None:
    async def talk(site: Site) -> None:
        async with dial(site) as session:
            assert (await session.error())["code"] == "client_stalled"
            with pytest.raises(ConnectionClosed) as closed:
                await session.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001

    with serve(session_idle_s=0.1) as site:
        asyncio.run(talk(site))


def test_a_drain_lets_the_answer_end_and_then_says_goodbye() -> None:
    go_on = Until()

    async def talk(site: Site) -> None:
        async with dial(site) as session:
            await session.write("hi")
            await session.send("response.create")
            await session.the("response.output_text.delta")
            await asyncio.to_thread(site.drain)
            go_on.event.set()
            events = await session.until("error")
            assert "response.done" in kinds(events)
            assert events[-1]["error"]["code"] == "site_draining"
            with pytest.raises(ConnectionClosed) as closed:
                await session.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012

    with serve() as site:
        site.runner.script = (TextDelta("One"), go_on, END)
        asyncio.run(talk(site))
        assert site.runner.left.get(timeout=WAIT_S) is True
