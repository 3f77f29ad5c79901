"""The turns of one Converse session: what the client sends in, what the model answers out.

Each leg of a turn (see `core.dialogue`) runs in a task of its own, at most one at a time. What a
turn does wrong ends as its `turn_error`; only a client that stops reading ends the session.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.core.errors import ClientStalled, GatewayError, InvalidRequest
from gateway.core.turn import TextDelta, ToolCallDelta, TurnEnd, Usage
from gateway.edge.turn_summary import summarise
from gateway.wire import agent_convert as convert
from gateway.wire.pb import agent_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.budget import Budget
    from gateway.core.dialogue import Dialogue
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import TurnEvent, TurnFinish
    from gateway.edge.desk import Desk, Visit
    from gateway.edge.grpc_call import InboundCall

_logger = logging.getLogger(__name__)

_MAX_TURN_ID_CHARS: Final = 128


@dataclass(slots=True, eq=False)
class _Leg:
    """A leg of a turn that has not ended."""

    turn_id: str
    visit: Visit
    task: asyncio.Task[None] | None = None
    settled: bool = False
    """Its outcome stands; what is left is to tell the client."""
    cancelled: bool = False
    interrupted: bool = False
    """The cancellation went to the task."""
    waiting: bool = False
    """The task waits for the turn's next event. It is interrupted nowhere else: an abandoned
    write would leave the stream unusable."""

    def cancel(self) -> None:
        """Stop answering now, or once the write under way is through."""
        if self.cancelled or self.settled or self.task is None:
            return
        self.cancelled = True
        if self.waiting:
            self.interrupted = self.task.cancel()

    async def next_event(self, events: AsyncGenerator[TurnEvent, None]) -> TurnEvent:
        """The next event. Raises CancelledError once the leg is cancelled."""
        if self.cancelled:
            raise asyncio.CancelledError
        self.waiting = True
        try:
            event = await anext(events, None)
        finally:
            self.waiting = False
        if event is None:
            raise RuntimeError("the runner ended a turn without a TurnEnd")
        return event

    def absorb_cancellation(self) -> bool:
        """Whether a CancelledError is this leg's own and nobody else's."""
        if self.task is None or not self.cancelled or self.task.cancelling() > self.interrupted:
            return False
        if self.interrupted:
            self.task.uncancel()
        return True


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

    def budget(self, visit: Visit, latency_budget_s: float | None) -> Budget:
        """A leg's budget: the message's, else the session's. Raises InvalidRequest."""
        terms = self._terms
        return visit.budget(
            terms.turn_class,
            requested_s=terms.latency_budget_s if latency_budget_s is None else latency_budget_s,
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
            await self._await_outcome(param="user_message")
            self._dialogue.ask(message.text)
        except InvalidRequest as error:
            await self._write_error(turn_id, error, None)
            return
        self._turn_id = turn_id
        self._start_leg(visit, convert.latency_budget_s(message))

    async def _take_tool_result(self, message: pb.ToolResult) -> None:
        visit = self.visit()
        try:
            await self._await_outcome(param="tool_result")
            complete = self._dialogue.take_result(*convert.result_of(message))
        except InvalidRequest as error:
            await self._write_error(self._turn_id, error, None)
            return
        if complete:
            self._start_leg(visit, convert.latency_budget_s(message))

    async def _take_cancel(self, cancel: pb.CancelTurn) -> None:
        if cancel.turn_id not in ("", self._turn_id):
            return
        if self._leg is not None and not self._leg.settled:
            self._leg.cancel()
        elif self._dialogue.awaits_results:
            await self._await_outcome(param="cancel")
            self._dialogue.cut()
            with self.visit() as visit:
                visit.authenticate(self._call.authorization)
                await self._write_summary(self._turn_id, visit.trail, None, Usage())

    async def _await_outcome(self, *, param: str) -> None:
        """Wait for a leg that only tells its outcome. Raises InvalidRequest for one that runs."""
        leg = self._leg
        if leg is None or leg.task is None:
            return
        if not leg.settled:
            raise InvalidRequest(
                f"turn {leg.turn_id!r} is running; await its end or cancel it", param=param
            )
        await asyncio.wait([leg.task])

    def _start_leg(self, visit: Visit, latency_budget_s: float | None) -> None:
        self._leg = leg = _Leg(self._turn_id, visit)
        leg.task = self._legs.create_task(self._run(leg, latency_budget_s))

    async def _run(self, leg: _Leg, latency_budget_s: float | None) -> None:
        try:
            await self._answer(leg, latency_budget_s)
        except asyncio.CancelledError:
            if not leg.absorb_cancellation():
                raise
            self._dialogue.cut()
            leg.settled = True
            trail = leg.visit.trail
            spent = Usage(trail.prompt_tokens, trail.completion_tokens, trail.cached_tokens)
            await self._write_summary(leg.turn_id, trail, None, spent)
        except ClientStalled:
            raise
        except GatewayError as error:
            await self._fail(leg, error)
        except Exception:
            _logger.exception("turn failed", extra={"request_id": leg.visit.trail.request_id})
            await self._fail(leg, GatewayError("internal error"))
        finally:
            if self._leg is leg:
                self._leg = None
            self._on_leg_end()

    async def _answer(self, leg: _Leg, latency_budget_s: float | None) -> None:
        with leg.visit as visit:
            visit.authenticate(self._call.authorization)
            turn = self._terms.turn(
                request_id=visit.trail.request_id,
                messages=self._dialogue.messages,
                budget=self.budget(visit, latency_budget_s),
                principal=visit.principal,
            )
            async with aclosing(visit.run(turn)) as events:
                while not isinstance(event := await leg.next_event(events), TurnEnd):
                    self._dialogue.note(event)
                    if isinstance(event, ToolCallDelta):
                        continue
                    told = convert.converse_event(leg.turn_id, event)
                    await self._write(told, visit.trail)
                    if isinstance(event, TextDelta):
                        visit.content_written()
                await self._finish(leg, event)

    async def _finish(self, leg: _Leg, end: TurnEnd) -> None:
        """Tell the calls, which are whole only now, and how the leg went."""
        calls = self._dialogue.finish()
        leg.settled = True
        for call in calls:
            await self._write(convert.converse_event(leg.turn_id, call), leg.visit.trail)
            leg.visit.content_written()
        await self._write_summary(leg.turn_id, leg.visit.trail, end.finish, end.usage)

    async def _fail(self, leg: _Leg, error: GatewayError) -> None:
        self._dialogue.undo()
        leg.settled = True
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
