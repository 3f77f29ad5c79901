"""A Realtime client in tests: every event it gets is held against the types of `openai`."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import connect

from tests.edge.fakes import KEY, WAIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

    from tests.edge.fakes import Site

_server_event: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
TEXT = {"type": "realtime", "output_modalities": ["text"]}


class Session:
    """A session over a WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        text = await asyncio.wait_for(self.socket.recv(), WAIT_S)
        _server_event.validate_json(text)
        event: dict[str, Any] = json.loads(text)
        return event

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """All events up to the first of a kind."""
        events = [await self.next()]
        while events[-1]["type"] != kind:
            events.append(await self.next())
        return events

    async def the(self, kind: str) -> dict[str, Any]:
        """The first event of a kind."""
        return (await self.until(kind))[-1]

    async def error(self) -> dict[str, Any]:
        """What the next error says."""
        error: dict[str, Any] = (await self.the("error"))["error"]
        return error

    async def write(self, text: str) -> dict[str, Any]:
        """Put a user's message into the conversation; the item."""
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await self.send("conversation.item.create", item=item)
        made: dict[str, Any] = (await self.the("conversation.item.done"))["item"]
        return made

    async def answer(self, **response: Any) -> list[dict[str, Any]]:
        """Have a response made; its events."""
        await self.send("response.create", **({"response": response} if response else {}))
        events = await self.until("response.done")
        await self.the("rate_limits.updated")
        return events


@asynccontextmanager
async def dial(
    site: Site, query: str = "model=gpt-4o-realtime", **headers: str
) -> AsyncIterator[Session]:
    """A session that has begun."""
    url = f"ws://127.0.0.1:{site.port}/v1/realtime?{query}"
    sent = {"authorization": f"Bearer {KEY}", **headers}
    async with connect(url, additional_headers=sent) as socket:
        session = Session(socket)
        assert (await session.next())["type"] == "session.created"
        assert (await session.next())["type"] == "conversation.created"
        yield session


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]
