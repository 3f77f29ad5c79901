"""The turns of one Converse session: what the client sends in, what the model answers out.

Each leg of a turn (see `core.dialogue`) runs in a task of its own, at most one at a time. What a
turn does wrong ends as its `turn_error`; only a client that stops reading ends the session.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.core.dialogue import Phase
from gateway.core.errors import ClientStalled, GatewayError, InvalidRequest
from gateway.core.turn import ServerToolRun, TextDelta, TurnEnd, Usage, is_content
from gateway.edge.grpc_turn import summarise, turn_on
from gateway.wire import agent_convert as convert
from gateway.wire.pb import agent_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.dialogue import Dialogue
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import Message, Turn, TurnEvent, TurnFinish
    from gateway.edge.desk import Desk, Visit
    from gateway.edge.grpc_call import InboundCall

_logger = logging.getLogger(__name__)

_MAX_TURN_ID_CHARS: Final = 128


class _Cancelled(Exception):
    """The client cancelled the leg."""


@dataclass(slots=True, eq=False)
class _Leg:
    """A leg of a turn while its task lives."""

    turn_id: str
    visit: Visit
    waiting: asyncio.Timeout | None = None
    """Set while the task waits for the turn's next event. It is interrupted nowhere else: an
    abandoned write would leave the stream unusable."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def interrupt(self) -> None:
        """Have it wait no longer for what the model says next."""
        if self.waiting is not None:
            self.waiting.reschedule(asyncio.get_running_loop().time())

    async def next_event(self, events: AsyncGenerator[TurnEvent, None]) -> TurnEvent:
        """The turn's next event. Raises _Cancelled when it was interrupted."""
        try:
            async with asyncio.timeout(None) as waiting:
                self.waiting = waiting
                event = await anext(events, None)
        except TimeoutError:
            if waiting.expired():
                raise _Cancelled from None
            raise
        finally:
            self.waiting = None
        if event is None:
            raise RuntimeError("the runner ended a turn without a TurnEnd")
        return event


class ConverseTurns:
    """Takes what the client sends after `start`."""

    def __init__(
        self,
        *,
        desk: Desk,
        call: InboundCall[pb.ConverseRequest, pb.ConverseEvent],
        session_id: str,
        terms: convert.TurnTerms,
        dialogue: Dialogue,
        legs: asyncio.TaskGroup,
        on_leg_end: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._call = call
        self._session_id = session_id
        self._terms = terms
        self._dialogue = dialogue
        self._legs = legs
        self._on_leg_end = on_leg_end
        self._leg: _Leg | None = None
        self._turn_id = ""
        self._num_turns = 0
        self._num_visits = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return self._leg is None

    async def take(self, request: pb.ConverseRequest) -> None:
        """What the client sent. Raises InvalidRequest for what no session may contain."""
        match request.WhichOneof("request"):
            case "user_message":
                await self._take_user_message(request.user_message)
            case "tool_result":
                await self._take_tool_result(request.tool_result)
            case "cancel":
                await self._take_cancel(request.cancel)
            case "start":
                raise InvalidRequest("a session has one start", param="start")
            case _:
                raise InvalidRequest("a request of no kind that this site knows")

    def visit(self) -> Visit:
        """A visit for the next leg, whose time counts from here. Raises InvalidRequest."""
        self._num_visits += 1
        return self._desk.visit(
            interface="grpc",
            request_id=f"{self._session_id}.{self._num_visits}",
            traceparent=self._call.traceparent,
        )

    def turn(
        self, visit: Visit, messages: tuple[Message, ...], latency_budget_s: float | None
    ) -> Turn:
        """A leg's turn; its budget is the message's, else the session's.

        Raises InvalidRequest, RegionNotAllowed.
        """
        visit.keep_to_regions(self._call.residency)
        return turn_on(
            self._terms,
            messages,
            visit,
            latency_budget_s=latency_budget_s,
            call_deadline_s=self._call.deadline_s(self._desk.monotonic()),
        )

    async def _take_user_message(self, message: pb.UserMessage) -> None:
        visit = self.visit()
        self._num_turns += 1
        turn_id = message.turn_id[:_MAX_TURN_ID_CHARS] or f"turn-{self._num_turns}"
        try:
            if len(message.turn_id) > _MAX_TURN_ID_CHARS:
                raise InvalidRequest(
                    f"turn_id takes up to {_MAX_TURN_ID_CHARS} characters",
                    param="user_message.turn_id",
                )
            await self._let_leg_end()
            self._dialogue.ask(message.text)
        except InvalidRequest as error:
            await self._write_error(turn_id, error, None)
            return
        self._turn_id = turn_id
        self._start_leg(visit, convert.latency_budget_s(message))

    async def _take_tool_result(self, message: pb.ToolResult) -> None:
        visit = self.visit()
        try:
            await self._let_leg_end()
            self._dialogue.take_result(*convert.result_of(message))
        except InvalidRequest as error:
            await self._write_error(self._turn_id, error, None)
            return
        if self._dialogue.phase is Phase.ANSWERING:
            self._start_leg(visit, convert.latency_budget_s(message))

    async def _take_cancel(self, cancel: pb.CancelTurn) -> None:
        if cancel.turn_id not in ("", self._turn_id):
            return
        phase = self._dialogue.phase
        self._dialogue.cancel()
        if phase is Phase.ANSWERING and self._leg is not None:
            self._leg.interrupt()
        elif phase is Phase.AWAITING_RESULTS:
            await self._let_leg_end()
            with self.visit() as visit:
                visit.authenticate(self._call.authorization)
                await self._write_summary(self._turn_id, visit.trail, None, Usage())

    async def _let_leg_end(self) -> None:
        """Wait for a leg whose outcome stands, or that was cancelled, to have told it."""
        if self._leg is not None and self._dialogue.phase is not Phase.ANSWERING:
            await self._leg.ended.wait()

    def _start_leg(self, visit: Visit, latency_budget_s: float | None) -> None:
        self._leg = leg = _Leg(self._turn_id, visit)
        self._legs.create_task(self._run(leg, latency_budget_s))

    async def _run(self, leg: _Leg, latency_budget_s: float | None) -> None:
        try:
            await self._answer(leg, latency_budget_s)
        except ClientStalled:
            raise
        except GatewayError as error:
            await self._fail(leg, error)
        except Exception:
            _logger.exception("turn failed", extra={"request_id": leg.visit.trail.request_id})
            await self._fail(leg, GatewayError("internal error"))
        finally:
            self._leg = None
            leg.ended.set()
            self._on_leg_end()

    async def _answer(self, leg: _Leg, latency_budget_s: float | None) -> None:
        with leg.visit as visit:
            visit.authenticate(self._call.authorization)
            turn = self.turn(visit, self._dialogue.messages, latency_budget_s)
            try:
                async with aclosing(visit.run(turn)) as events:
                    await self._finish(leg, await self._tell(leg, events))
            except _Cancelled:
                self._dialogue.cut()
                trail = visit.trail
                spent = Usage(trail.prompt_tokens, trail.completion_tokens, trail.cached_tokens)
                await self._write_summary(leg.turn_id, trail, None, spent)

    async def _tell(self, leg: _Leg, events: AsyncGenerator[TurnEvent, None]) -> TurnEnd:
        """Pass on what is said and done, up to the end. Raises _Cancelled."""
        while self._dialogue.phase is not Phase.CANCELLED:
            match await leg.next_event(events):
                case TurnEnd() as end:
                    return end
                case (TextDelta() | ServerToolRun()) as event:
                    self._dialogue.note(event)
                    told = convert.converse_event(leg.turn_id, event)
                    await self._write(told, leg.visit.trail)
                    if is_content(event):
                        leg.visit.content_out()
        raise _Cancelled

    async def _finish(self, leg: _Leg, end: TurnEnd) -> None:
        """Tell the calls, which are whole only now, and how the leg went.

        Raises _Cancelled where the cancellation came with the answer's last event.
        """
        if self._dialogue.phase is Phase.CANCELLED:
            raise _Cancelled
        self._dialogue.finish(end.calls)
        for call in end.calls:
            await self._write(convert.converse_event(leg.turn_id, call), leg.visit.trail)
            leg.visit.content_out()
        await self._write_summary(leg.turn_id, leg.visit.trail, end.finish, end.usage)

    async def _fail(self, leg: _Leg, error: GatewayError) -> None:
        self._dialogue.undo()
        await self._write_error(leg.turn_id, error, leg.visit.trail)

    async def _write_error(
        self, turn_id: str, error: GatewayError, trail: TurnTrail | None
    ) -> None:
        failed = convert.turn_error(error, "" if trail is None else trail.request_id)
        await self._write(pb.ConverseEvent(turn_id=turn_id, turn_error=failed), trail)

    async def _write_summary(
        self, turn_id: str, trail: TurnTrail, finish: TurnFinish | None, usage: Usage
    ) -> None:
        counts = convert.usage_message(usage)
        await self._write(pb.ConverseEvent(turn_id=turn_id, usage=counts), trail)
        summary = summarise(self._desk, trail, finish, usage)
        await self._write(pb.ConverseEvent(turn_id=turn_id, turn_summary=summary), trail)

    async def _write(self, event: pb.ConverseEvent, trail: TurnTrail | None) -> None:
        await self._call.write(event, request_id=self._session_id, trail=trail)
