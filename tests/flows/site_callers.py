"""Callers of a whole site: lean WebRTC clients, whose calls are placed over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from gateway.media.worker.secure import Identity
from loadtests.clients.talker import Recording, Talker, keep_pace
from loadtests.synthetic_speech import utter
from tests.speech.spoken_sound import require_flite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from loadtests.local_site import SiteProcess

LIMIT_S = 60.0
_IDENTITY = Identity()
_SDP = {"content-type": "application/sdp"}


class Refused(Exception):
    """No call; `error` is what the site said."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error


class SiteCaller(Talker):
    """One caller; `location` is its call's once it has been placed."""

    def __init__(self, site: SiteProcess) -> None:
        super().__init__(_IDENTITY)
        self._site = site
        self.location = ""

    async def dial(self, path: str = "/v1/realtime/calls") -> None:
        """Place the call and connect. Raises Refused, and the caller is gone."""
        answer = await self.place(path)
        async with asyncio.timeout(LIMIT_S):
            await self.connect(answer)

    async def place(self, path: str = "/v1/realtime/calls") -> str:
        """Place the call; the answer to connect with. Raises Refused, and the caller is gone."""
        try:
            return await self._post(path, 201)
        except Refused:
            self.close()
            raise

    async def dial_again(self) -> None:
        """Take the call up again from another address, with another ICE name."""
        self.move()
        async with asyncio.timeout(LIMIT_S):
            await self.come_back(await self._post(self.location, 200))

    async def hang_up(self) -> int:
        """End the call; the status of that."""
        async with self._http() as http:
            return (await http.delete(self.location)).status_code

    async def _post(self, path: str, status: int) -> str:
        async with self._http() as http:
            placed = await http.post(path, content=self.offer, headers=_SDP)
        if placed.status_code != status:
            raise Refused(placed.status_code, placed.json()["error"])
        self.location = placed.headers["location"]
        return placed.text

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._site.http, timeout=LIMIT_S)


@asynccontextmanager
async def pacing(*callers: Talker) -> AsyncIterator[None]:
    """Send the callers' frames meanwhile."""
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(LIMIT_S):
        sending = tasks.create_task(keep_pace(callers))
        yield
        sending.cancel()


def recorded(text: str) -> Recording:
    """A sentence, said by flite."""
    require_flite()
    return Recording.of(utter([text], 0.0, "slt", np.random.default_rng(1)))
