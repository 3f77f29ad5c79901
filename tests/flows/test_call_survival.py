"""Calls whose entry site is killed: another offer, at any site, goes on with the session."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from gateway.session import phrases
from loadtests.local_grid import kill, running_grid
from loadtests.local_site import TEXT_ONLY
from tests.clients.chromium import drive, sentences
from tests.media.webrtc_client import Client

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice

_LIMIT_S = 60.0
AGAIN = f"{phrases.CUT_OFF} {phrases.ONCE_MORE}"


def voice_sites(folder: Path, bundle: Path) -> AbstractContextManager[dict[str, SiteProcess]]:
    """Sites that repeat what they are told; the third has no voice."""
    return running_grid(folder, "--model", str(bundle), own={"edge-c": TEXT_ONLY})


def test_a_call_goes_on_at_another_site(
    tmp_path: Path, echo_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what was said; the caller is told why, but not again that an AI speaks."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])

    async def place(client: Client, site: SiteProcess, **headers: str) -> httpx.Response:
        placed: list[httpx.Response] = []

        async def post(offer: str) -> str:
            async with httpx.AsyncClient(base_url=site.http, timeout=_LIMIT_S) as http:
                kind = {"content-type": "application/sdp"}
                path = "/v1/realtime/calls?notice=true"
                placed.append(await http.post(path, content=offer, headers={**kind, **headers}))
            assert placed[0].status_code == 201, placed[0].text
            return placed[0].text

        await client.connect(post)
        return placed[0]

    def told(client: Client, kind: str) -> list[dict[str, Any]]:
        events = (json.loads(message) for message in client.messages)
        return [event for event in events if event["type"] == kind]

    def transcripts(client: Client) -> list[str]:
        items = (event["item"] for event in told(client, "conversation.item.done"))
        return [part.get("transcript") or part["text"] for i in items for part in i["content"]]

    def ask(client: Client, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        client.channel.send(json.dumps({"type": "conversation.item.create", "item": item}))
        client.channel.send(json.dumps({"type": "response.create"}))

    async def talk() -> None:
        first, second = Client(np.zeros(1, np.int16)), Client(np.zeros(1, np.int16))
        placed = await place(first, sites["edge-a"])
        await first.until(lambda: bool(told(first, "output_audio_buffer.stopped")))
        ask(first, "pay my bill")
        await first.until(lambda: len(told(first, "output_audio_buffer.stopped")) == 2)
        token = placed.headers["x-firsthop-session"]
        assert sites["edge-b"].http in placed.headers["x-firsthop-alternates"]
        kill(sites["edge-a"])
        await place(second, sites["edge-b"], **{"x-firsthop-session": token})
        await second.until(lambda: bool(told(second, "output_audio_buffer.stopped")))
        said = [phrases.AI_NOTICE, "pay my bill", "pay my bill", AGAIN]
        assert transcripts(second) == said
        ask(second, "and then")
        await second.until(lambda: len(told(second, "output_audio_buffer.stopped")) == 2)
        assert transcripts(second) == [*said, "and then", "and then"]
        assert second.loud_s
        await first.close()
        await second.close()

    with voice_sites(tmp_path, echo_bundle) as sites:
        asyncio.run(asyncio.wait_for(talk(), _LIMIT_S))


def test_the_talk_page_goes_on_by_itself(
    tmp_path: Path, echo_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with voice_sites(tmp_path, echo_bundle) as sites:
        monkeypatch.setenv("VICTIM", str(sites["edge-a"].process.pid))
        said = sentences(tmp_path / "said", "hello")
        found = drive("talk.mjs", [sites["edge-a"].http, "goesOn", str(said)])
    assert found["states"][0] == "connecting again"
    words = [line["words"] for line in found["said"]]
    assert words == [phrases.AI_NOTICE, *["what is my balance"] * 2, AGAIN, *["and last month"] * 2]
