"""One Converse call: opening, reading and ending a session. `converse_turns` answers its turns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.core.dialogue import Dialogue
from gateway.core.errors import ClientStalled, InvalidRequest, SiteDraining
from gateway.core.session_errors import SessionMoved, SessionNotFound
from gateway.core.session_snapshot import SessionSnapshot
from gateway.core.turn import Message, Role
from gateway.edge.converse_turns import ConverseTurns
from gateway.wire import agent_convert as convert
from gateway.wire.pb import agent_pb2 as pb

if TYPE_CHECKING:
    from gateway.core.errors import GatewayError
    from gateway.core.turn_terms import TurnTerms
    from gateway.edge.desk import Desk
    from gateway.edge.grpc_call import InboundCall
    from gateway.session.surviving import SurvivingSession, SurvivingSessions

_MAX_SESSION_ID_CHARS: Final = 112
"""Leaves room in a turn's request id for the number of the turn."""


class ConverseSession:
    """Serves one Converse call.

    The call's own task reads what the client sends, so that a cancellation is seen at any time;
    turns are answered beside it. A client that sends nothing for `idle_limit_s` while nothing is
    being answered loses its session.
    """

    def __init__(
        self,
        desk: Desk,
        call: InboundCall[pb.ConverseRequest, pb.ConverseEvent],
        session_id: str,
        *,
        idle_limit_s: float,
        sessions: SurvivingSessions | None = None,
    ) -> None:
        self._desk = desk
        self._call = call
        self._session_id = session_id
        self._idle_limit_s = idle_limit_s
        self._sessions = sessions
        self._survivor: SurvivingSession | None = None
        self._tenant = ""
        self._turns: ConverseTurns | None = None
        self._reading: asyncio.Timeout | None = None
        self._ending: GatewayError | None = None
        """Why the session ends as soon as nothing is being answered."""

    async def run(self) -> None:
        """Serve the session to its end. Raises GatewayError for what ends the whole call."""
        self._tenant = self._desk.gatekeeper.authenticate(self._call.authorization).tenant
        if self._desk.draining:
            raise SiteDraining
        try:
            await self._serve()
        finally:
            if self._survivor is not None:
                self._survivor.leave()

    async def _serve(self) -> None:
        try:
            async with asyncio.timeout(None) as reading, asyncio.TaskGroup() as legs:
                self._reading = reading
                self._set_end()
                while (request := await self._call.read()) is not None:
                    if self._turns is None:
                        self._turns = await self._open(request, legs)
                    else:
                        await self._turns.take(request)
                    self._set_end()
                reading.reschedule(None)
                self._reading = None
        except TimeoutError:
            if self._ending is not None:
                raise self._ending from None
            raise ClientStalled(stalled_s=self._idle_limit_s) from None
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        if self._turns is None:
            raise InvalidRequest("the session ended before its start", param="start")

    def drain(self) -> None:
        """End the session as soon as nothing is being answered."""
        self._ending = SiteDraining()
        self._set_end()

    def _move(self) -> None:
        """The session was resumed elsewhere."""
        self._ending = SessionMoved()
        if self._turns is not None:
            self._turns.abandon()
        self._set_end()

    def _set_end(self) -> None:
        """Say until when to wait for the client: at most the idle limit, and not in an answer."""
        if self._reading is None or self._reading.expired():
            return
        if self._turns is not None and not self._turns.idle:
            self._reading.reschedule(None)
        else:
            wait_s = 0.0 if self._ending is not None else self._idle_limit_s
            self._reading.reschedule(asyncio.get_running_loop().time() + wait_s)

    async def _open(self, request: pb.ConverseRequest, legs: asyncio.TaskGroup) -> ConverseTurns:
        """Begin, or refuse what no turn could be served with. Raises RequestError."""
        if request.WhichOneof("request") != "start":
            raise InvalidRequest("a session begins with start", param="start")
        if len(self._session_id) > _MAX_SESSION_ID_CHARS:
            raise InvalidRequest(
                f"a session's x-request-id takes up to {_MAX_SESSION_ID_CHARS} characters",
                param="x-request-id",
            )
        self._call.refuse_http_headers()
        if request.start.HasField("resume"):
            return await self._go_on(request.start, legs)
        history = convert.messages_of(request.start.history, "history")
        turns = self._begun(convert.terms_of(request.start), Dialogue(history), legs)
        await self._check(turns, (*history, Message(Role.USER)))
        if self._sessions is not None:
            self._survivor = self._sessions.begin(self._move)
            await turns.survive(self._survivor, self._tenant)
        return turns

    async def _go_on(self, start: pb.SessionStart, legs: asyncio.TaskGroup) -> ConverseTurns:
        """Take a session up. Raises SessionNotFound, and what beginning it here would raise."""
        if start != pb.SessionStart(resume=start.resume):
            raise InvalidRequest("a session that goes on takes no new terms", param="start")
        if self._sessions is None:
            raise SessionNotFound
        known, version = await self._sessions.find(
            start.resume.token, self._tenant, SessionSnapshot
        )
        dialogue = Dialogue.restored(known.dialogue)
        turns = self._begun(known.terms, dialogue, legs)
        await self._check(turns, dialogue.messages or (Message(Role.USER),))
        self._survivor = self._sessions.take_over(known.session, version, self._move)
        self._turns = turns
        await turns.go_on(self._survivor, known, start.resume)
        return turns

    def _begun(
        self, terms: TurnTerms, dialogue: Dialogue, legs: asyncio.TaskGroup
    ) -> ConverseTurns:
        return ConverseTurns(
            desk=self._desk,
            call=self._call,
            session_id=self._session_id,
            terms=terms,
            dialogue=dialogue,
            legs=legs,
            on_leg_end=self._set_end,
        )

    async def _check(self, turns: ConverseTurns, messages: tuple[Message, ...]) -> None:
        """Refuse what no turn could be served with."""
        await self._desk.runner.check(turns.turn(turns.visit(), messages))
