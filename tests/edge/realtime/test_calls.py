"""Calls over HTTP and their sessions: OpenAI's form, WHIP's form, sidebands, coming back."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import connect

from gateway.core.turn import TextDelta
from gateway.edge.realtime.session import RealtimeSession
from gateway.session import phrases
from gateway.wire.realtime.items import session_of_call
from tests.edge.fakes import KEY, WAIT_S, Hold
from tests.edge.realtime.dialler import Session

if TYPE_CHECKING:
    from tests.edge.fakes import Site
    from tests.edge.realtime.fake_voice import FakeVoices, Worker

OFFER = "v=0\r\na=ice-ufrag:abcd\r\n"
SDP = {"content-type": "application/sdp", "authorization": f"Bearer {KEY}"}
_server_event: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def place(site: Site, path: str = "/v1/realtime/calls", **params: str) -> httpx.Response:
    return httpx.post(f"{site.url}{path}", content=OFFER, headers=SDP, params=params)


def until(worker: Worker, kind: str) -> dict[str, Any]:
    """The first event of a kind on the call's data channel."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        for text in tuple(worker.written):
            event: dict[str, Any] = json.loads(text)
            if event["type"] == kind:
                return event
        time.sleep(0.005)
    raise TimeoutError(kind, [json.loads(text)["type"] for text in worker.written])


def write(site: Site, worker: Worker, event: dict[str, Any]) -> None:
    """What the client writes on its data channel."""
    site.loop.result().call_soon_threadsafe(worker.wrote, json.dumps(event))


def ask(site: Site, worker: Worker) -> None:
    content = [{"type": "input_text", "text": "hi"}]
    item = {"type": "message", "role": "user", "content": content}
    write(site, worker, {"type": "conversation.item.create", "item": item})
    write(site, worker, {"type": "response.create"})


def test_a_call_is_a_session_on_its_data_channel(voice_site: Site, voices: FakeVoices) -> None:
    placed = place(voice_site)
    assert (placed.status_code, placed.text) == (201, "v=0\r\nanswer\r\n")
    assert placed.headers["content-type"].startswith("application/sdp")
    location = placed.headers["location"]
    assert location.startswith("/v1/realtime/calls/rtc_")
    worker = voices.fake_lines.workers[0]
    until(worker, "conversation.created")
    ask(voice_site, worker)
    until(worker, "output_audio_buffer.stopped")
    kinds = [json.loads(text)["type"] for text in worker.written]
    for text in worker.written:
        _server_event.validate_json(text)
    assert kinds.index("output_audio_buffer.started") < kinds.index("output_audio_buffer.stopped")
    assert "response.output_audio.delta" not in kinds  # its sound goes by RTP
    assert voices.engines.spoken == ["Hello wörld"]
    call_id = location.rpartition("/")[2]
    assert voice_site.records.next().session == session_of_call(call_id) != call_id
    ended = httpx.delete(f"{voice_site.url}{location}", headers=SDP)
    assert ended.status_code == 200
    assert worker.closed == "hung up"
    gone = httpx.delete(f"{voice_site.url}{location}", headers=SDP)
    assert gone.json()["error"]["code"] == "call_not_found"


def test_offer_and_session_come_in_one_form(voice_site: Site, voices: FakeVoices) -> None:
    session = {"type": "realtime", "model": "gpt-4o-realtime", "instructions": "Be kind."}
    form = {
        "sdp": (None, OFFER, "application/sdp"),
        "session": (None, json.dumps(session), "application/json"),
    }
    placed = httpx.post(
        f"{voice_site.v1}/realtime/calls",
        files=form,
        headers={"authorization": SDP["authorization"]},
    )
    assert placed.status_code == 201
    assert voices.fake_lines.offers == [OFFER]
    told = until(voices.fake_lines.workers[0], "session.created")["session"]
    assert told["instructions"] == "Be kind."


def test_clearing_the_output_stops_it_at_once(voice_site: Site, voices: FakeVoices) -> None:
    voices.fake_lines.plays = False
    voice_site.runner.script = (TextDelta("One. Two. Three. "), Hold())
    place(voice_site)
    worker = voices.fake_lines.workers[0]
    until(worker, "conversation.created")
    ask(voice_site, worker)
    until(worker, "output_audio_buffer.started")
    write(voice_site, worker, {"type": "response.cancel"})
    write(voice_site, worker, {"type": "output_audio_buffer.clear"})
    truncated = until(worker, "conversation.item.truncated")
    cleared = until(worker, "output_audio_buffer.cleared")
    done = until(worker, "response.done")["response"]
    assert (done["status"], cleared["response_id"]) == ("cancelled", done["id"])
    assert done["output"][0]["id"] == truncated["item_id"]
    assert truncated["audio_end_ms"] == 100  # half a clause


def test_a_notice_is_said_first_where_it_is_asked_for(voice_site: Site, voices: FakeVoices) -> None:
    place(voice_site, notice="true")
    done = until(voices.fake_lines.workers[0], "response.done")["response"]
    assert done["output"][0]["content"][0]["transcript"] == phrases.AI_NOTICE
    assert " ".join(voices.engines.spoken) == phrases.AI_NOTICE


def test_a_whip_client_is_told_that_an_ai_speaks_and_may_come_back(
    voice_site: Site, voices: FakeVoices
) -> None:
    placed = place(voice_site, "/whip")
    assert placed.status_code == 201
    location, tag = placed.headers["location"], placed.headers["etag"]
    assert location.startswith("/whip/rtc_")
    until(voices.fake_lines.workers[0], "response.done")
    url = f"{voice_site.url}{location}"

    def patch(content: str, kind: str) -> httpx.Response:
        return httpx.patch(url, content=content, headers={**SDP, "content-type": kind})

    fragment = "application/trickle-ice-sdpfrag"
    candidate = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
    assert patch(f"a=ice-ufrag:abcd\r\n{candidate}", fragment).status_code == 204
    assert patch(f"a=ice-ufrag:other\r\n{candidate}", fragment).status_code == 501
    assert patch("x", "text/plain").status_code == 415
    back = patch("v=0\r\na=ice-ufrag:efgh\r\n", "application/sdp")
    assert (back.status_code, back.text) == (200, "v=0\r\nanother answer\r\n")
    assert back.headers["etag"] != tag
    assert httpx.delete(url, headers=SDP).status_code == 200


def test_posting_another_offer_takes_the_call_up_again(
    voice_site: Site, voices: FakeVoices
) -> None:
    location = place(voice_site).headers["location"]
    again = httpx.post(f"{voice_site.url}{location}", content=OFFER, headers=SDP)
    assert (again.status_code, again.headers["location"]) == (200, location)
    assert len(voices.fake_lines.workers) == 1


def test_a_sideband_sees_the_call_and_steers_it(voice_site: Site, voices: FakeVoices) -> None:
    location = place(voice_site).headers["location"]
    call_id = location.rpartition("/")[2]
    worker = voices.fake_lines.workers[0]
    until(worker, "conversation.created")

    async def talk() -> None:
        url = f"ws://127.0.0.1:{voice_site.port}/v1/realtime?call_id={call_id}"
        bearer = {"authorization": f"Bearer {KEY}"}
        async with connect(url, additional_headers=bearer) as socket:
            session = Session(socket)
            await session.send("session.update", session={"instructions": "Be brief."})
            told = (await session.the("session.updated"))["session"]
            assert told["instructions"] == "Be brief."
            async with asyncio.timeout(WAIT_S):
                write(voice_site, worker, {"type": "no such event"})
                assert "no such event" in (await session.error())["message"]
                assert worker.line is not None
                voice_site.loop.result().call_soon_threadsafe(worker.line.close, "gone")
                await socket.wait_closed()
            assert socket.close_code == 1000

    asyncio.run(talk())
    assert until(worker, "session.updated")["session"]["instructions"] == "Be brief."


def test_the_end_of_the_line_is_the_end_of_the_session(
    voice_site: Site, voices: FakeVoices
) -> None:
    voice_site.runner.script = (TextDelta("One"), Hold())
    place(voice_site)
    worker = voices.fake_lines.workers[0]
    until(worker, "conversation.created")
    ask(voice_site, worker)
    until(worker, "response.output_audio_transcript.delta")
    assert worker.line is not None
    voice_site.loop.result().call_soon_threadsafe(worker.line.close, "gone")
    assert voice_site.runner.left.get(timeout=WAIT_S) is False


def test_a_session_that_is_over_does_not_wait_for_the_garbage_collector(
    voice_site: Site, voices: FakeVoices
) -> None:
    def sessions() -> list[weakref.ref[RealtimeSession]]:
        return [weakref.ref(one) for one in gc.get_objects() if type(one) is RealtimeSession]

    gc.collect()
    gc.disable()
    try:
        others = sessions()
        location = place(voice_site).headers["location"]
        until(voices.fake_lines.workers[0], "conversation.created")
        (session,) = [one for one in sessions() if one not in others]
        httpx.delete(f"{voice_site.url}{location}", headers=SDP)
        deadline_s = time.monotonic() + WAIT_S
        while session() is not None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert session() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"content-type": "text/plain"}, b"v=0", 415),
        ({"content-type": "application/sdp"}, b"\xff\xfe", 400),
        ({"content-type": "application/sdp"}, b"x" * 200_000, 413),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b--", 400),
        ({"content-type": "multipart/form-data"}, b"", 400),
    ],
)
def test_what_is_no_offer_is_refused(
    voice_site: Site, headers: dict[str, str], content: bytes, status: int
) -> None:
    refused = httpx.post(f"{voice_site.v1}/realtime/calls", content=content, headers=headers)
    assert refused.status_code == status
    assert refused.json()["error"]["message"]


def test_a_caller_who_only_hears_is_told_aloud_that_all_lines_are_busy(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.fake_lines.num_free = 0
    told = place(voice_site)
    assert (told.status_code, told.json()["error"]["code"]) == (503, "lines_busy")
    placed = place(voice_site, "/whip")
    assert placed.status_code == 201
    worker = voices.fake_lines.workers[0]
    error = until(worker, "error")["error"]
    assert (error["code"], error["message"]) == ("lines_busy", told.json()["error"]["message"])
    deadline_s = time.monotonic() + WAIT_S
    while not worker.closed and time.monotonic() < deadline_s:
        time.sleep(0.005)
    assert "busy" in worker.closed
    assert " ".join(voices.engines.spoken) == phrases.LINES_BUSY
    gone = httpx.delete(f"{voice_site.url}{placed.headers['location']}", headers=SDP)
    assert gone.json()["error"]["code"] == "call_not_found"
    assert place(voice_site, "/whip", says_busy="false").status_code == 503
    assert place(voice_site, says_busy="true").status_code == 201


def test_a_page_of_another_origin_may_call(voice_site: Site) -> None:
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-openai-agents-sdk",
    }
    allowed = httpx.options(f"{voice_site.v1}/realtime/calls", headers=asked)
    assert allowed.status_code == 200
    assert "x-openai-agents-sdk" in allowed.headers["access-control-allow-headers"]
    placed = httpx.post(
        f"{voice_site.v1}/realtime/calls",
        content=OFFER,
        headers={**SDP, "origin": "https://app.example"},
    )
    assert placed.headers["access-control-allow-origin"] == "*"
    assert "location" in placed.headers["access-control-expose-headers"]


def test_a_site_without_a_voice_takes_no_calls(http_site: Site) -> None:
    refused = place(http_site)
    assert (refused.status_code, refused.json()["error"]["code"]) == (501, "voice_missing")
