"""A call: its line, and its events on the data channel and on the WebSockets of who watches it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.errors import ClientStalled
from gateway.runtime.inbox import Inbox
from gateway.runtime.tasks import first_cause
from gateway.wire.realtime.server_events import encode_event

if TYPE_CHECKING:
    from gateway.edge.realtime.channel import Channel
    from gateway.edge.realtime.lasting import LastingSession
    from gateway.edge.realtime.session_terms import SessionTerms
    from gateway.media.lines import CallLine
    from gateway.wire.realtime.server_events import AnyServerEvent

_MAX_UNREAD: Final = 256
"""Events of the client's that the session has not come to; with more the call ends."""
_ICE_NAME: Final = re.compile(r"^a=ice-ufrag:(\S+)", re.MULTILINE)
_FINGERPRINT: Final = re.compile(r"^a=fingerprint:(\S+ \S+)", re.MULTILINE)


class CallChannel:
    """What a call's client and its watchers say is one stream, and all of them get every event."""

    def __init__(self, line: CallLine) -> None:
        self._line = line
        self._texts: Inbox[str | None] = Inbox()
        self._num_unread = 0
        self._watchers: set[Channel] = set()
        self._over = asyncio.Event()

    async def send(self, event: AnyServerEvent) -> None:
        """See `Channel`. A watcher that does not read is left behind."""
        self._line.write(encode_event(event))
        for watcher in tuple(self._watchers):
            try:
                await watcher.send(event)
            except ClientStalled:
                self._watchers.discard(watcher)

    async def receive(self) -> str | None:
        """See `Channel`."""
        text = await self._texts.next()
        self._num_unread -= 1
        return text

    def wrote(self, text: str) -> None:
        """An event of the client's, or of a watcher's."""
        self._num_unread += 1
        if self._num_unread == _MAX_UNREAD:
            self._line.close("too many events at once")
        self._texts.put(text)

    def closed(self) -> None:
        """The line is closed."""
        self._texts.put(None)

    def over(self) -> None:
        """Nothing more is said: watchers are let go."""
        self._over.set()

    async def ended(self) -> None:
        """Return once nothing more is said."""
        await self._over.wait()

    async def watch(self, watcher: Channel) -> None:
        """Pass on what a watcher says, and everything to it, until it leaves or the call ends.

        Raises InvalidRequest for what is no text.
        """
        self._watchers.add(watcher)
        try:
            with first_cause():
                async with asyncio.TaskGroup() as tasks:
                    hearing = tasks.create_task(self._hear(watcher))
                    over = tasks.create_task(self._over.wait())
                    await asyncio.wait((hearing, over), return_when=asyncio.FIRST_COMPLETED)
                    hearing.cancel()
                    over.cancel()
        finally:
            self._watchers.discard(watcher)

    async def _hear(self, watcher: Channel) -> None:
        while (text := await watcher.receive()) is not None:
            self.wrote(text)


@dataclass(slots=True, eq=False)
class OngoingCall:
    """A call, as its HTTP resource knows it."""

    call_id: str
    tenant: str
    line: CallLine
    channel: CallChannel
    terms: SessionTerms
    offered: OfferedPeer
    """The client, by its last offer."""
    answer: str
    notice: bool
    """Whether the caller is told first that an AI speaks."""
    lasting: LastingSession | None = None
    """None: a caller who is turned away."""
    moves: bool = False
    """Its client comes back over another connection: this line's end is not the call's."""

    @property
    def tag(self) -> str:
        """The entity tag of its ICE session (RFC 9725, 4.3.1)."""
        return f'"{hashlib.sha256(self.offered.ice_name.encode()).hexdigest()[:16]}"'


class OfferedPeer(NamedTuple):
    """What an offer says of the connection that it is for."""

    ice_name: str
    """Another one restarts ICE."""
    certificate: str
    """Its fingerprint. Another one is another connection."""

    @classmethod
    def of(cls, offer: str) -> OfferedPeer:
        """Read an offer; what it lacks is empty."""
        found = (_ICE_NAME.search(offer), _FINGERPRINT.search(offer))
        return cls(*("" if one is None else one[1] for one in found))
