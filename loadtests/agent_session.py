"""An agent client that goes on with its session at another site."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.wire.pb import agent_pb2 as pb

if TYPE_CHECKING:
    from gateway.wire.pb.agent_pb2_grpc import AgentServiceStub

_EVENT_LIMIT_S = 30.0


class SessionEnded(Exception):
    """The call ended where an event was due."""


class AgentSession:
    """Keeps what a client must keep: the token, and what it has received of the turn under way."""

    def __init__(self) -> None:
        self._call: Any = None
        self.told = pb.SessionStarted()
        self.turn_id = ""
        """The turn whose end is not seen; empty: there is none."""
        self.text = ""
        """Of the last turn."""

    async def begin(self, stub: AgentServiceStub, **start: Any) -> None:
        """A new session; `start` has fields of SessionStart."""
        await self._open(stub, pb.SessionStart(**start))

    async def resume(self, stub: AgentServiceStub) -> None:
        """Go on there."""
        resume = pb.SessionResume(
            token=self.told.token, turn_id=self.turn_id, received_text=self.text
        )
        await self._open(stub, pb.SessionStart(resume=resume))

    async def ask(self, text: str, turn_id: str) -> list[pb.ConverseEvent]:
        """One turn; its events."""
        await self.say(text, turn_id)
        return await self.rest()

    async def say(self, text: str, turn_id: str) -> None:
        """Begin a turn."""
        self.turn_id, self.text = turn_id, ""
        message = pb.UserMessage(text=text, turn_id=turn_id)
        await self._call.write(pb.ConverseRequest(user_message=message))

    async def next(self) -> pb.ConverseEvent:
        """The next event. Raises SessionEnded, AioRpcError."""
        event = await asyncio.wait_for(self._call.read(), _EVENT_LIMIT_S)
        if not isinstance(event, pb.ConverseEvent):
            raise SessionEnded
        match event.WhichOneof("event"):
            case "turn_restarted":
                self.text = ""
            case "text_delta":
                self.text += event.text_delta.text
            case "turn_summary" | "turn_error":
                self.turn_id = ""
        return event

    async def rest(self) -> list[pb.ConverseEvent]:
        """Events up to the end of the turn under way."""
        events: list[pb.ConverseEvent] = []
        while self.turn_id:
            events.append(await self.next())
        return events

    def hang_up(self) -> None:
        """Leave the call without a word."""
        self._call.cancel()

    async def _open(self, stub: AgentServiceStub, start: pb.SessionStart) -> None:
        untyped: Any = stub  # the stub's type asks for all requests beforehand
        self._call = untyped.Converse()
        await self._call.write(pb.ConverseRequest(start=start))
        self.told = (await self.next()).started
