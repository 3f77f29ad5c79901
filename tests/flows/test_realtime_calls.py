"""A WebRTC call to a whole site: placed over HTTP, heard, answered aloud, hung up."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from gateway.core.caller_check import QUESTION
from gateway.session.phrases import SAY_AGAIN
from loadtests.local_site import running_site
from tests.media.webrtc_client import Client, speech

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice

_LIMIT_S = 60.0
_TIMES = 3
"""How often the caller says it."""
_DETECTION = {"type": "server_vad", "silence_duration_ms": 2000}
_SLOW_TO_ANSWER = {
    "type": "session.update",
    "session": {"type": "realtime", "audio": {"input": {"turn_detection": _DETECTION}}},
}
"""Then a busy machine, too, has understood the words before their turn is over."""
_CODE = (4, 2, 7, 7)
"""The demonstration account's."""


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves the loopback address out of the client's candidates."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])


def test_a_caller_is_answered_aloud_and_hangs_up(echo_site: SiteProcess, tmp_path: Path) -> None:
    said = speech("pay my bill", tmp_path)
    quiet = np.zeros(16_000, np.int16)

    async def talk() -> None:
        client = Client(np.concatenate([quiet, *[said, *[quiet] * 6] * _TIMES]))
        location = ""

        async def place(offer: str) -> str:
            nonlocal location
            async with httpx.AsyncClient(base_url=echo_site.http, timeout=_LIMIT_S) as http:
                placed = await http.post(
                    "/v1/realtime/calls",
                    content=offer,
                    headers={"content-type": "application/sdp"},
                )
            assert placed.status_code == 201, placed.text
            location = placed.headers["location"]
            return placed.text

        def told(kind: str) -> list[dict[str, Any]]:
            events = (json.loads(message) for message in client.messages)
            return [event for event in events if event["type"] == kind]

        async with asyncio.timeout(_LIMIT_S):
            await client.connect(place)
            await client.until(lambda: bool(told("session.created")))
            client.channel.send(json.dumps(_SLOW_TO_ANSWER))
            async with httpx.AsyncClient(base_url=echo_site.http, timeout=_LIMIT_S) as http:
                begun_early = False
                for time in range(1, _TIMES + 1):
                    for kind in ("output_audio_buffer.stopped", "response.done"):
                        await client.until(lambda kind=kind, time=time: len(told(kind)) >= time)  # type: ignore[misc]
                    answered = told("response.done")[-1]["response"]["id"]
                    record = (await http.get(f"/v1/requests/{answered}")).json()
                    assert record["outcome"] == "answered"
                    if begun_early := record["begun_early"]:
                        break  # else the turn was over before that was known
                assert begun_early
                heard = told("conversation.item.done")[0]["item"]["content"][0]["transcript"]
                answer = told("response.output_audio_transcript.done")[0]["transcript"]
                # The model of this site repeats it; of sound in doubt nothing is made.
                assert answer in (heard, SAY_AGAIN)
                assert client.loud_s
                assert (await http.delete(location)).status_code == 200
                again = await http.delete(location)
                while again.status_code == 200:  # the line is still closing
                    again = await http.delete(location)
                assert again.json()["error"]["code"] == "call_not_found"
            await client.close()

    asyncio.run(talk())


def test_a_caller_keys_in_his_code(tmp_path: Path) -> None:
    async def talk(site: SiteProcess) -> None:
        client = Client(np.zeros(16_000, np.int16))

        async def place(offer: str) -> str:
            headers = {"content-type": "application/sdp", "x-firsthop-tools": "server"}
            async with httpx.AsyncClient(base_url=site.http, timeout=_LIMIT_S) as http:
                placed = await http.post("/v1/realtime/calls", content=offer, headers=headers)
            assert placed.status_code == 201, placed.text
            return placed.text

        def told() -> list[str]:
            events = (json.loads(message) for message in client.messages)
            kind = "response.output_audio_transcript.done"
            return [event["transcript"] for event in events if event["type"] == kind]

        def send(event: dict[str, Any]) -> None:
            client.channel.send(json.dumps(event))

        async with asyncio.timeout(_LIMIT_S):
            await client.connect(place)
            await client.until(lambda: bool(client.messages))
            content = [{"type": "input_text", "text": "what is my balance"}]
            item = {"type": "message", "role": "user", "content": content}
            send({"type": "conversation.item.create", "item": item})
            send({"type": "response.create"})
            await client.until(lambda: len(told()) == 1)
            await client.until(lambda: any("rate_limits" in text for text in client.messages))
            for key in _CODE:
                await client.press(key)
            await client.until(lambda: len(told()) == 2)
            await client.close()
        question, answer = told()
        assert question == QUESTION
        assert answer.startswith("Your current bill is")

    with running_site(tmp_path, FIRSTHOP_ACCOUNT_VERIFY_CALLERS="true") as site:
        asyncio.run(talk(site))
