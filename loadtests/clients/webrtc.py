"""A WebRTC caller whose packets come with the kernel's instants of arrival."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.media.worker.ice import Credentials
from loadtests.kernel_time import receive, stamp_arrivals
from loadtests.voice_peer import VoicePeer, attribute

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.media.worker.secure import Identity

_CHECK_EVERY_S: Final = 5.0
_MAX_READS: Final = 64
_RTCP_TYPES: Final = range(192, 224)


class WebRtcCaller:
    """One call. `take` gets its RTP packets, decrypted, with their arrival: CLOCK_REALTIME, ns.

    With `read`, the call has a channel of events, `oai-events`, and gets its messages. It waits
    for the other side's DTLS if it `is_passive`.
    """

    def __init__(
        self,
        identity: Identity,
        take: Callable[[bytes, int], None],
        *,
        read: Callable[[str], None] | None = None,
        is_passive: bool = False,
    ) -> None:
        self._peer = VoicePeer(identity, has_channel=read is not None, is_passive=is_passive)
        self._take = take
        self._read_event = read
        self._checking: asyncio.TimerHandle | None = None

    @property
    def offer(self) -> str:
        """What is offered: Opus both ways, and the channel if there is to be one."""
        return self._peer.offer()

    async def connect(self, answer: str) -> None:
        """Connect to where the answer says; returns when packets can flow."""
        await self._peer.connect(answer)
        self._listen(answer)
        if self._peer.channel is not None:
            self._peer.channel.open("oai-events")

    def move(self) -> None:
        """Be at another address from now on, and want to be found under another name."""
        self._leave()
        self._peer.move()
        self._peer.ice = Credentials.fresh()

    async def come_back(self, answer: str) -> None:
        """Go on with the call after `move`, with the keys it had."""
        await self._peer.come_back(answer)
        self._listen(answer)

    def send(self, packet: bytes) -> None:
        """Send an RTP packet."""
        self._peer.sock.send(self._peer.link.protect(packet))

    def write(self, text: str) -> None:
        """Write on the channel of events, if the call has one."""
        if self._peer.channel is not None:
            self._peer.channel.send(text)

    def close(self) -> None:
        """Leave; the site notices."""
        self._leave()
        self._peer.close()

    def _listen(self, answer: str) -> None:
        host, port = attribute(answer, "candidate").split()[4:6]
        self._peer.sock.connect((host, int(port)))
        stamp_arrivals(self._peer.sock)
        asyncio.get_running_loop().add_reader(self._peer.sock, self._read)
        self._check()

    def _leave(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
        asyncio.get_running_loop().remove_reader(self._peer.sock)

    def _check(self) -> None:
        """Ask for consent, as often as a browser does."""
        self._peer.sock.send(self._peer.check())
        self._checking = asyncio.get_running_loop().call_later(_CHECK_EVERY_S, self._check)

    def _read(self) -> None:
        for _ in range(_MAX_READS):
            try:
                datagram, at_ns, _ = receive(self._peer.sock)
            except BlockingIOError:
                return
            if datagram[0] < 128:
                self._peer.take(datagram)
                self._read_events()
            elif datagram[1] not in _RTCP_TYPES:
                packet = self._peer.link.unprotect(datagram)
                if packet is not None:
                    self._take(packet, at_ns)

    def _read_events(self) -> None:
        messages = tuple(self._peer.messages)
        self._peer.messages.clear()
        if self._read_event is not None:
            for message in messages:
                self._read_event(message)
