"""A site takes requests before it speaks: who wants to be spoken with is made to wait for that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.config.load import load_site
from gateway.core.errors import SetupError
from gateway.edge.realtime.voices import Voices, voices_beside
from gateway.runtime.tasks import first_cause
from tests.edge.fakes import KEY, Site, serve
from tests.edge.realtime.dialler import dial
from tests.edge.realtime.fake_voice import FakeEngines, Lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.flow

_KEY = {"authorization": f"Bearer {KEY}"}


class LateVoices(Voices):
    """Begins when somebody waits for it, and not before."""

    async def begun(self) -> None:
        engines = FakeEngines()
        self.have(Lines(), engines, engines)
        await super().begun()


@pytest.fixture
def late_site() -> Iterator[Site]:
    with serve(voices=LateVoices()) as site:
        yield site


def test_a_call_waits_for_the_voice(late_site: Site) -> None:
    headers = {**_KEY, "content-type": "application/sdp"}
    offer = "v=0\r\na=ice-ufrag:abcd\r\n"
    placed = httpx.post(f"{late_site.v1}/realtime/calls", content=offer, headers=headers)
    assert placed.status_code == 201


def test_an_ephemeral_key_waits_for_the_voice(late_site: Site) -> None:
    made = httpx.post(f"{late_site.v1}/realtime/client_secrets", json={}, headers=_KEY)
    assert made.json()["session"]["output_modalities"] == ["audio"]


def test_a_session_waits_for_the_voice(late_site: Site) -> None:
    async def modalities() -> list[str]:
        async with dial(late_site) as session:
            await session.send("session.update", session={"type": "realtime"})
            return list((await session.the("session.updated"))["session"]["output_modalities"])

    assert asyncio.run(modalities()) == ["audio"]


def test_an_engine_that_is_named_and_not_there_ends_the_start(tmp_path: Path) -> None:
    named = {"speech.recogniser": "sherpa", "speech.recogniser_directory": str(tmp_path)}
    config = load_site(environ={}, overrides=named).site

    async def start() -> None:
        with first_cause():
            async with voices_beside(config):
                pytest.fail("the site goes on starting")

    with pytest.raises(SetupError, match="sherpa"):
        asyncio.run(start())


def test_nobody_waits_for_what_is_not_to_be_had() -> None:
    without = {"speech.recogniser": "none", "speech.voice": "none"}
    config = load_site(environ={}, overrides=without).site

    async def missing() -> str:
        async with asyncio.timeout(20), voices_beside(config) as voices:
            await voices.begun()
            return voices.missing

    assert asyncio.run(missing()) == "speech.recogniser is none; speech.voice is none"
