"""What carries a session's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.wire.realtime.server_events import AnyServerEvent


class Channel(Protocol):
    """One JSON text each, both ways."""

    async def send(self, event: AnyServerEvent) -> None:
        """Waits while the client does not read. Raises ClientStalled; nothing once it is gone."""
        ...

    async def receive(self) -> str | None:
        """The client's next event; None once it is gone. Raises InvalidRequest for no text."""
        ...
