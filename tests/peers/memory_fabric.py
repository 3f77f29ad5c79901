"""A fabric without a network, for tests of what stands on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.peers.fabric import FabricListener

Incarnation = tuple[str, int]


class MemoryHub:
    """Where the sites of one test meet, while it is up."""

    def __init__(self) -> None:
        self.is_up = True
        self.listeners: dict[Incarnation, FabricListener] = {}

    def enter(self, who: Incarnation, listener: FabricListener) -> None:
        self.listeners[who] = listener
        if self.is_up:
            self._show(who)

    def leave(self, who: Incarnation) -> None:
        listener = self.listeners.pop(who)
        if self.is_up:
            for other in (listener, *self.listeners.values()):
                other.vanished(*who)

    def go_down(self) -> None:
        for listener in self.listeners.values():
            for who in self.listeners:
                listener.vanished(*who)
        self.is_up = False

    def come_up(self) -> None:
        self.is_up = True
        for listener in self.listeners.values():
            for who in self.listeners:
                listener.appeared(*who)

    def say(self, who: Incarnation, payload: bytes, *, but: FabricListener | None) -> None:
        for listener in list(self.listeners.values()) if self.is_up else ():
            if listener is not but:
                listener.said(*who, payload)

    def _show(self, who: Incarnation) -> None:
        for other, listener in self.listeners.items():
            listener.appeared(*who)
            if other != who:
                self.listeners[who].appeared(*other)


class MemoryFabric:
    """A `FabricEngine`."""

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self._who: Incarnation | None = None
        self._listener: FabricListener | None = None

    async def run(self, site: str, epoch: int, listener: FabricListener) -> None:
        self._who, self._listener = (site, epoch), listener
        self._hub.enter(self._who, listener)
        try:
            await asyncio.Event().wait()
        finally:
            self._hub.leave(self._who)
            self._who = None

    def publish(self, payload: bytes) -> None:
        if self._who is not None:
            self._hub.say(self._who, payload, but=self._listener)

    def signal(self, topic: str) -> None:
        for listener in self._hub.listeners.values() if self._hub.is_up else ():
            if listener is not self._listener:
                listener.signalled(topic)
