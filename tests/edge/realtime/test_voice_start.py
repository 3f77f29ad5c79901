"""A site takes requests before it speaks: who wants to be spoken with is made to wait for that."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from gateway.config.load import load_site
from gateway.core.errors import SetupError
from gateway.edge.realtime.voices import Voices, voices_beside
from gateway.runtime.tasks import first_cause
from gateway.speech.client import SpeechService
from tests.edge.fakes import KEY, WAIT_S, Site, serve
from tests.edge.realtime.dialler import dial
from tests.edge.realtime.fake_voice import FakeEngines, Lines
from tests.speech.spoken_sound import require_flite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.config.site import SiteConfig
    from gateway.config.speech import Speech

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


def test_who_waits_for_a_voice_when_the_site_ends_is_sent_away() -> None:
    class Waited(Voices):
        """It never begins."""

        def __init__(self) -> None:
            super().__init__()
            self.num_waiting = Semaphore(0)

        async def begun(self) -> None:
            self.num_waiting.release()
            await super().begun()

    def placed() -> httpx.Response:
        headers = {**_KEY, "content-type": "application/sdp"}
        return httpx.post(f"{site.v1}/realtime/calls", content="v=0\r\n", headers=headers)

    async def refused() -> str:
        with pytest.raises(InvalidStatus) as error:
            async with dial(site):
                pass
        return error.value.response.body.decode()

    voices = Waited()
    with serve(voices=voices) as site, ThreadPoolExecutor(2) as callers:
        call, session = callers.submit(placed), callers.submit(asyncio.run, refused())
        for _ in range(2):
            assert voices.num_waiting.acquire(timeout=WAIT_S)
        site.drain()
        assert call.result(WAIT_S).status_code == 503
        assert "site_draining" in call.result().text
        assert "site_draining" in session.result(WAIT_S)


def test_an_engine_that_is_named_and_not_there_ends_the_start(tmp_path: Path) -> None:
    named = {"speech.recogniser": "sherpa", "speech.recogniser_directory": str(tmp_path)}
    config = load_site(environ={}, overrides=named).site

    with pytest.raises(SetupError, match="sherpa"):
        asyncio.run(_start(config))


def test_an_engine_that_dies_at_its_start_costs_the_voice_and_not_the_site(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.speech.process._MODULE", "this")  # it ends without a frame

    async def missing() -> str:
        async with asyncio.timeout(20), voices_beside(load_site(environ={}).site) as voices:
            await voices.begun()
            return voices.missing

    assert "the recogniser does not start" in asyncio.run(missing())


def test_a_named_engine_that_dies_at_its_start_ends_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.speech.process._MODULE", "this")
    config = load_site(environ={}, overrides={"speech.recogniser": "pocketsphinx"}).site

    with pytest.raises(SetupError, match="the recogniser does not start"):
        asyncio.run(_start(config))


def test_endings_that_cannot_be_read_end_the_start(tmp_path: Path) -> None:
    (tmp_path / "endings.json").write_text("{")
    config = load_site(environ={}, overrides={"speech.recogniser_directory": str(tmp_path)}).site

    with pytest.raises(SetupError, match=r"endings\.json"):
        asyncio.run(_start(config))


def test_half_a_voice_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a line, engines would hear and speak to nobody for as long as the site runs."""
    require_flite()
    services: list[SpeechService] = []

    def service_of(config: Speech) -> SpeechService:
        services.append(SpeechService(config))
        return services[-1]

    async def missing(port: int) -> str:
        config = load_site(environ={}, overrides={"voice.port": port}).site
        async with asyncio.timeout(20), voices_beside(config) as voices:
            await voices.begun()
            (voice,) = [service.synthesiser for service in services]
            assert voice is not None
            assert not voice.pids
            return voices.missing

    monkeypatch.setattr("gateway.edge.realtime.voices.SpeechService", service_of)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        said = asyncio.run(missing(taken.getsockname()[1]))
    assert said.count("is in use") == 1


def test_nobody_waits_for_what_is_not_to_be_had() -> None:
    without = {"speech.recogniser": "none", "speech.voice": "none"}
    config = load_site(environ={}, overrides=without).site

    async def missing() -> str:
        async with asyncio.timeout(20), voices_beside(config) as voices:
            await voices.begun()
            return voices.missing

    assert asyncio.run(missing()) == "speech.recogniser is none; speech.voice is none"


async def _start(config: SiteConfig) -> None:
    with first_cause():
        async with voices_beside(config):
            pytest.fail("the site goes on starting")
