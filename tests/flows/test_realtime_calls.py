"""A WebRTC call to a whole site: placed over HTTP, heard, answered aloud, hung up."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from tests.media.webrtc_client import Client, speech

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice

_LIMIT_S = 40.0


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves the loopback address out of the client's candidates."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])


def test_a_caller_is_answered_aloud_and_hangs_up(echo_site: SiteProcess, tmp_path: Path) -> None:
    said = speech("pay my bill", tmp_path)
    quiet = np.zeros(16_000, np.int16)

    async def talk() -> None:
        client = Client(np.concatenate([quiet, said, *[quiet] * 20]))
        location = ""

        async def place(offer: str) -> str:
            nonlocal location
            async with httpx.AsyncClient(base_url=echo_site.http) as http:
                placed = await http.post(
                    "/v1/realtime/calls",
                    content=offer,
                    headers={"content-type": "application/sdp"},
                    timeout=_LIMIT_S,
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
            await client.until(lambda: bool(told("output_audio_buffer.stopped")))
            heard = told("conversation.item.done")[0]["item"]["content"][0]["transcript"]
            answer = told("response.output_audio_transcript.done")[0]["transcript"]
            assert answer == heard  # the model of this site repeats what was said to it
            assert client.loud_s
            await client.until(lambda: bool(told("response.done")))
            answered = told("response.done")[-1]["response"]["id"]
            async with httpx.AsyncClient(base_url=echo_site.http) as http:
                record = (await http.get(f"/v1/requests/{answered}")).json()
                assert (record["outcome"], record["begun_early"]) == ("answered", True)
                assert (await http.delete(location)).status_code == 200
                again = await http.delete(location)
                while again.status_code == 200:  # the line is still closing
                    again = await http.delete(location)
                assert again.json()["error"]["code"] == "call_not_found"
            await client.close()

    asyncio.run(talk())
