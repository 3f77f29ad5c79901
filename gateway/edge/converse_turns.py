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

import msgspec

from gateway.core.dialogue import Phase
from gateway.core.errors import ClientStalled, GatewayError, InvalidRequest
from gateway.core.redelivery import Redelivery
from gateway.core.session_errors import SessionMoved, TurnFailedBefore
from gateway.core.session_snapshot import CANCELLED, SessionSnapshot
from gateway.core.turn import (
    ServerToolRun,
    TextDelta,
    TurnEnd,
    TurnFinish,
    Usage,
)
from gateway.edge.converse_events import ConverseEvents
from gateway.edge.grpc_turn import fresh_seed, turn_on
from gateway.wire import agent_convert as convert

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.dialogue import Dialogue
    from gateway.core.turn import Message, Turn, TurnEvent
    from gateway.core.turn_terms import TurnTerms
    from gateway.edge.desk import Desk, Visit
    from gateway.edge.grpc_call import InboundCall
    from gateway.session.surviving import SurvivingSession
    from gateway.wire.pb import agent_pb2 as pb

_logger = logging.getLogger(__name__)

_MAX_TURN_ID_CHARS: Final = 128


class _Cancelled(Exception):
    """The client cancelled the leg."""


@dataclass(slots=True, eq=False)
class _Leg:
    """A leg of a turn while its task lives."""

    turn_id: str
    visit: Visit
    latency_budget_s: float | None
    """None: the session's."""
    seed: int
    redelivery: Redelivery
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
        terms: TurnTerms,
        dialogue: Dialogue,
        legs: asyncio.TaskGroup,
        on_leg_end: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._call = call
        self._events = ConverseEvents(desk, call, session_id)
        self._session_id = session_id
        self._terms = terms
        self._dialogue = dialogue
        self._legs = legs
        self._on_leg_end = on_leg_end
        self._survivor: SurvivingSession | None = None
        self._tenant = ""
        self._leg: _Leg | None = None
        self._turn_id = ""
        self._finish_word = ""
        self._num_turns = 0
        self._num_visits = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return self._leg is None

    async def survive(self, survivor: SurvivingSession, tenant: str) -> None:
        """From now on the session outlives this site; the client is told how."""
        self._survivor, self._tenant = survivor, tenant
        self._keep()
        await self._events.started(survivor, self._turn_id, self._dialogue.awaited_calls)

    async def go_on(
        self,
        survivor: SurvivingSession,
        known: SessionSnapshot,
        resume: pb.SessionResume,
    ) -> None:
        """Take the session up where `known` left it, and tell the client what it has not seen."""
        self._survivor, self._tenant = survivor, known.tenant
        self._turn_id, self._finish_word = known.turn_id, known.finish
        self._num_turns = known.num_turns
        survivor.claim(msgspec.structs.replace(known, session=survivor.session_id))
        await self._events.started(survivor, self._turn_id, self._dialogue.awaited_calls)
        is_known = resume.turn_id == self._turn_id
        received = resume.received_text if is_known else ""
        if self._dialogue.phase is Phase.ANSWERING:
            leg = _Leg(
                self._turn_id,
                self.visit(),
                known.latency_budget_s,
                known.seed,
                Redelivery(received),
            )
            self._start(leg)
        elif self._turn_id and is_known:
            await self._tell_again(Redelivery(received))

    def abandon(self) -> None:
        """The session goes on elsewhere: a leg that runs ends."""
        if self._leg is not None and self._dialogue.phase is Phase.ANSWERING:
            self._dialogue.cancel()
            self._leg.interrupt()

    async def take(self, request: pb.ConverseRequest) -> None:
        """What the client sent.

        Raises InvalidRequest for what no session may contain, SessionMoved.
        """
        if self._survivor is not None and self._survivor.is_moved:
            raise SessionMoved
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
            session=self._survivor.session_id if self._survivor else self._session_id,
        )

    def turn(
        self,
        visit: Visit,
        messages: tuple[Message, ...],
        latency_budget_s: float | None = None,
        seed: int | None = None,
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
            seed=seed,
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
            await self._events.error(turn_id, error, None)
            return
        self._turn_id = turn_id
        self._start_leg(visit, convert.latency_budget_s(message))

    async def _take_tool_result(self, message: pb.ToolResult) -> None:
        visit = self.visit()
        try:
            await self._let_leg_end()
            self._dialogue.take_result(*convert.result_of(message))
        except InvalidRequest as error:
            await self._events.error(self._turn_id, error, None)
            return
        if self._dialogue.phase is Phase.ANSWERING:
            self._start_leg(visit, convert.latency_budget_s(message))
        else:
            self._keep()

    async def _take_cancel(self, cancel: pb.CancelTurn) -> None:
        if cancel.turn_id not in ("", self._turn_id):
            return
        phase = self._dialogue.phase
        self._dialogue.cancel()
        if phase is Phase.ANSWERING and self._leg is not None:
            self._leg.interrupt()
        elif phase is Phase.AWAITING_RESULTS:
            await self._let_leg_end()
            self._finish_word = CANCELLED
            self._keep()
            with self.visit() as visit:
                visit.authenticate(self._call.authorization)
                visit.speaks_for(self._call.user)
                await self._events.summary(self._turn_id, visit.trail, None, Usage())

    async def _let_leg_end(self) -> None:
        """Wait for a leg whose outcome stands, or that was cancelled, to have told it."""
        if self._leg is not None and self._dialogue.phase is not Phase.ANSWERING:
            await self._leg.ended.wait()

    def _start_leg(self, visit: Visit, latency_budget_s: float | None) -> None:
        self._start(_Leg(self._turn_id, visit, latency_budget_s, fresh_seed(), Redelivery()))

    def _start(self, leg: _Leg) -> None:
        self._leg, self._finish_word = leg, ""
        self._keep()
        self._legs.create_task(self._run(leg))

    def _keep(self) -> None:
        """Have another site know how the session stands, before the client does."""
        if self._survivor is None:
            return
        snapshot = SessionSnapshot(
            session=self._survivor.session_id,
            tenant=self._tenant,
            terms=self._terms,
            dialogue=self._dialogue.state,
            num_turns=self._num_turns,
            turn_id=self._turn_id,
            finish=self._finish_word,
        )
        if self._leg is not None:
            snapshot = msgspec.structs.replace(
                snapshot, seed=self._leg.seed, latency_budget_s=self._leg.latency_budget_s
            )
        self._survivor.keep(snapshot)

    async def _run(self, leg: _Leg) -> None:
        try:
            await self._answer(leg)
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

    async def _answer(self, leg: _Leg) -> None:
        with leg.visit as visit:
            visit.authenticate(self._call.authorization)
            visit.speaks_for(self._call.user)
            turn = self.turn(visit, self._dialogue.messages, leg.latency_budget_s, leg.seed)
            if self._survivor is not None:
                key = f"{self._survivor.session_id}.{self._num_turns}"
                turn = msgspec.structs.replace(turn, run_key=key)
            try:
                async with aclosing(visit.run(turn)) as events:
                    await self._finish(leg, await self._tell(leg, events))
            except _Cancelled:
                self._dialogue.cut()
                self._finish_word = CANCELLED
                self._keep()
                trail = visit.trail
                spent = Usage(trail.prompt_tokens, trail.completion_tokens, trail.cached_tokens)
                await self._events.summary(leg.turn_id, trail, None, spent)

    async def _tell(self, leg: _Leg, events: AsyncGenerator[TurnEvent, None]) -> TurnEnd:
        """Pass on what is said and done, up to the end. Raises _Cancelled."""
        while self._dialogue.phase is not Phase.CANCELLED:
            match await leg.next_event(events):
                case TurnEnd() as end:
                    return end
                case (TextDelta() | ServerToolRun()) as event:
                    self._dialogue.note(event)
                    await self._events.answer(leg.turn_id, event, leg.visit, leg.redelivery)
        raise _Cancelled

    async def _tell_again(self, redelivery: Redelivery) -> None:
        """How the last leg went, which was settled at another site."""
        with self.visit() as visit:
            visit.authenticate(self._call.authorization)
            visit.speaks_for(self._call.user)
            if not self._finish_word:
                await self._events.error(self._turn_id, TurnFailedBefore(), visit.trail)
                return
            for event in self._dialogue.last_events:
                await self._events.answer(self._turn_id, event, visit, redelivery)
            await self._events.answer_end(self._turn_id, visit, redelivery)
            await self._events.calls(self._turn_id, self._dialogue.awaited_calls, visit)
            word = self._finish_word
            finish = None if word == CANCELLED else TurnFinish(word)
            await self._events.summary(self._turn_id, visit.trail, finish, Usage())

    async def _finish(self, leg: _Leg, end: TurnEnd) -> None:
        """Tell the calls, which are whole only now, and how the leg went.

        Raises _Cancelled where the cancellation came with the answer's last event.
        """
        if self._dialogue.phase is Phase.CANCELLED:
            raise _Cancelled
        await self._events.answer_end(leg.turn_id, leg.visit, leg.redelivery)
        self._dialogue.finish(end.calls)
        self._finish_word = end.finish.value
        self._keep()
        await self._events.calls(leg.turn_id, end.calls, leg.visit)
        await self._events.summary(leg.turn_id, leg.visit.trail, end.finish, end.usage)

    async def _fail(self, leg: _Leg, error: GatewayError) -> None:
        self._dialogue.undo()
        self._keep()
        await self._events.error(leg.turn_id, error, leg.visit.trail)
