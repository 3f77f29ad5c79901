"""What the client of one Converse session is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.turn import TextDelta, Usage, is_content
from gateway.edge.grpc_turn import summarise
from gateway.wire import agent_convert as convert
from gateway.wire.pb import agent_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.errors import GatewayError
    from gateway.core.redelivery import Redelivery
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import ServerToolRun, ToolCall, TurnFinish
    from gateway.edge.desk import Desk, Visit
    from gateway.edge.grpc_call import InboundCall
    from gateway.session.surviving import SurvivingSession


class ConverseEvents:
    """Writes a session's events. All of it raises ClientStalled."""

    def __init__(
        self,
        desk: Desk,
        call: InboundCall[pb.ConverseRequest, pb.ConverseEvent],
        session_id: str,
    ) -> None:
        self._desk = desk
        self._call = call
        self._session_id = session_id

    async def started(
        self, survivor: SurvivingSession, turn_id: str, awaited: Iterable[ToolCall]
    ) -> None:
        """How the session can go on elsewhere; `turn_id` is the last turn's, if there is one."""
        started = pb.SessionStarted(
            token=survivor.token,
            alternates=survivor.alternates,
            last_turn_id=turn_id,
            awaited_call_ids=[call.call_id for call in awaited],
        )
        await self._write(pb.ConverseEvent(started=started), None)

    async def answer(
        self,
        turn_id: str,
        event: TextDelta | ServerToolRun,
        visit: Visit,
        redelivery: Redelivery,
    ) -> None:
        """Part of the answer, as far as the client has not received it."""
        if isinstance(event, TextDelta):
            passage = redelivery.feed(event.text)
            if passage.is_restart:
                await self._restart(turn_id, visit)
            if passage.text != event.text:
                event = TextDelta(passage.text)
                if not event.text:
                    return
        on_way = visit.content_out if is_content(event) else None
        await self._write(convert.converse_event(turn_id, event), visit.trail, on_way)

    async def answer_end(self, turn_id: str, visit: Visit, redelivery: Redelivery) -> None:
        """The answer is over; what the client has of it may be more, and void."""
        passage = redelivery.end()
        if passage.is_restart:
            await self._restart(turn_id, visit)
            if passage.text:
                await self.answer(turn_id, TextDelta(passage.text), visit, redelivery)

    async def calls(self, turn_id: str, calls: Iterable[ToolCall], visit: Visit) -> None:
        """What the client is to run."""
        for call in calls:
            event = convert.converse_event(turn_id, call)
            await self._write(event, visit.trail, visit.content_out)

    async def error(self, turn_id: str, error: GatewayError, trail: TurnTrail | None) -> None:
        """A turn that failed; None: it was refused before it began."""
        failed = convert.turn_error(error, "" if trail is None else trail.request_id)
        await self._write(pb.ConverseEvent(turn_id=turn_id, turn_error=failed), trail)

    async def summary(
        self, turn_id: str, trail: TurnTrail, finish: TurnFinish | None, usage: Usage
    ) -> None:
        """How a turn, or a leg of it, went; `finish` None: it was cancelled."""
        counts = convert.usage_message(usage)
        await self._write(pb.ConverseEvent(turn_id=turn_id, usage=counts), trail)
        summary = summarise(self._desk, trail, finish, usage)
        await self._write(pb.ConverseEvent(turn_id=turn_id, turn_summary=summary), trail)

    async def _restart(self, turn_id: str, visit: Visit) -> None:
        restarted = pb.ConverseEvent(turn_id=turn_id, turn_restarted=pb.TurnRestarted())
        await self._write(restarted, visit.trail)

    async def _write(
        self,
        event: pb.ConverseEvent,
        trail: TurnTrail | None,
        on_way: Callable[[], None] | None = None,
    ) -> None:
        await self._call.write(event, request_id=self._session_id, trail=trail, on_way=on_way)
