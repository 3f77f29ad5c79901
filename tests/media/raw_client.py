"""The client of a port under test, what its call tells, and scenarios that must end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from aiortc import RTCDataChannel, RTCDataChannelParameters

from gateway.media.worker.secure import Identity
from loadtests.voice_peer import VoicePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_T = TypeVar("_T")
MAX_WAIT_S = 60.0
_IDENTITY = Identity()


class Heard:
    """What a call told: `PeerEvents` that remembers, and can be waited on."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.reports: list[bytes] = []
        self.messages: list[str] = []
        self.states: list[str] = []
        self._news = asyncio.Event()

    def rtp(self, packet: bytes, arrived_s: float) -> None:
        self._note(self.packets, packet)

    def rtcp(self, packet: bytes) -> None:
        self._note(self.reports, packet)

    def message(self, text: str) -> None:
        self._note(self.messages, text)

    def connected(self) -> None:
        self._note(self.states, "connected")

    def lost(self) -> None:
        self._note(self.states, "lost")

    def closed(self, reason: str) -> None:
        self._note(self.states, f"closed: {reason}")

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._news.clear()
            await self._news.wait()

    def _note(self, where: list[_T], what: _T) -> None:
        where.append(what)
        self._news.set()


class RawClient(VoicePeer):
    """A client whose every datagram is the test's to choose."""

    def __init__(
        self, *, has_channel: bool = False, is_passive: bool = False, host: str = "127.0.0.1"
    ) -> None:
        super().__init__(_IDENTITY, has_channel=has_channel, is_passive=is_passive, host=host)

    def open_channel(self, label: str, *, ordered: bool = True) -> RTCDataChannel:
        """Open a data channel; what comes on it goes to `messages`."""
        assert self.channel is not None
        terms = RTCDataChannelParameters(label=label, ordered=ordered)
        channel = RTCDataChannel(self.channel._sctp, terms)
        channel.on("message", self.messages.append)
        return channel


def run(main: Coroutine[object, object, None]) -> None:
    """Run a test's scenario, which must come to its end."""

    async def bounded() -> None:
        async with asyncio.timeout(MAX_WAIT_S):
            await main

    asyncio.run(bounded())
