"""A chat completion within a session that outlives its site.

The client sends what is new; what was said before is the session's. `x-firsthop-session: new`
begins one, and its token, which comes back in the header of that name, goes on with it at any
site. A request that comes again under its own name (`idempotency-key`, else `x-request-id`) is the
same turn: an answer that was finished is told again, one that was broken off is answered again, and
no tool runs twice. With an `idempotency-key`, which nobody uses for two things, that holds for the
first request too, whose token the client may never have got: its session is found by who says what
under which key.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Self

import msgspec

from gateway.core.chat_turns import ChatTurn, chat_turn
from gateway.core.dialogue import Dialogue, DialogueState, Phase
from gateway.core.errors import InvalidRequest
from gateway.core.session_errors import SessionMoved, SessionNotFound
from gateway.core.session_snapshot import CANCELLED, SessionSnapshot
from gateway.core.turn import ServerToolRun, TextDelta, ToolCallDelta, TurnEnd, TurnFinish, Usage
from gateway.core.turn_terms import TurnTerms

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from gateway.core.session_snapshot import Version
    from gateway.core.turn import Message, Turn, TurnEvent
    from gateway.edge.desk import Visit
    from gateway.edge.http_errors import HttpHeader
    from gateway.session.surviving import SurvivingSession, SurvivingSessions

HEADER: Final = "x-firsthop-session"
NEW: Final = "new"
_MAX_KEY_CHARS: Final = 255


class ChatSession:
    """One request's part in a session; a context for as long as it is answered."""

    def __init__(self, sessions: SurvivingSessions, new: tuple[Message, ...], name: str) -> None:
        self._sessions = sessions
        self._new = new
        self._name = name
        self._new_session = ""
        """The id of one that begins; empty: any."""
        self._place = ChatTurn()
        self._known: tuple[SessionSnapshot, Version] | None = None
        self._dialogue = Dialogue()
        self._snapshot: SessionSnapshot | None = None
        self._survivor: SurvivingSession | None = None
        self._task: asyncio.Task[object] | None = None
        self._is_moved = False

    @classmethod
    async def of(
        cls,
        wish: str,
        sessions: SurvivingSessions | None,
        visit: Visit,
        new: tuple[Message, ...],
        key: str | None = None,
        user: str = "",
    ) -> Self:
        """The session that a request's header names, to which `new` is said.

        `key` is the request's idempotency key, `user` whom the client speaks for.

        Raises SessionNotFound, and InvalidRequest where nothing is said or the site keeps no
        sessions.
        """
        if not new:
            raise InvalidRequest("messages must not be empty", param="messages")
        if sessions is None:
            raise InvalidRequest("this site keeps no sessions: grid.key is not set", param=HEADER)
        if key is not None and len(key) > _MAX_KEY_CHARS:
            limit = f"idempotency-key takes up to {_MAX_KEY_CHARS} characters"
            raise InvalidRequest(limit, param="idempotency-key")
        session = cls(sessions, new, key or visit.trail.request_id)
        if wish != NEW:
            session._known = await sessions.find(wish, visit.principal.tenant, SessionSnapshot)
            session._place = chat_turn(session._known[0], session._name, new)
        elif key:
            await session._find_begun(visit, user)
        return session

    async def _find_begun(self, visit: Visit, user: str) -> None:
        """The session that this request has begun before, if its answer is all there is of it."""
        principal, key = visit.principal, self._sessions.key
        said = msgspec.msgpack.encode(self._new)
        who = (principal.tenant, principal.key_id, user, self._name)
        session = key.named_session(*(part.encode() for part in who), said)
        try:
            known = await self._sessions.find(key.token(session), principal.tenant, SessionSnapshot)
        except SessionNotFound:
            self._new_session = session
            return
        place = chat_turn(known[0], self._name, self._new)
        if place.number == 1:
            self._known, self._place = known, place

    def __enter__(self) -> Self:
        """Belong to the task that answers."""
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """It runs here no more. Raises SessionMoved where that is why it was cancelled."""
        if self._survivor is not None:
            self._survivor.leave()
        was_cancelled = isinstance(error, asyncio.CancelledError) and self._is_moved
        if was_cancelled and self._task is not None and not self._task.uncancel():
            raise SessionMoved from None

    @property
    def history(self) -> tuple[Message, ...]:
        """What was said before."""
        return self._place.history

    def headers(self, alternates: tuple[str, ...]) -> list[HttpHeader]:
        """How the client can go on, here or elsewhere."""
        if self._survivor is None:
            return []
        told = [(HEADER.encode(), self._survivor.token.encode())]
        if alternates:
            told.append((b"x-firsthop-alternates", ", ".join(alternates).encode()))
        return told

    async def run(self, turn: Turn, visit: Visit) -> AsyncGenerator[TurnEvent, None]:
        """See `Visit.run`; other sites know of everything before the client does."""
        turn = self._begin(turn, visit)
        told = self._told_again() if self._place.is_told_again else None
        try:
            async with aclosing(visit.run(turn, told)) as events:
                async for event in events:
                    self._note(event)
                    yield event
        except (asyncio.CancelledError, GeneratorExit):
            if self._dialogue.phase is Phase.ANSWERING:
                self._dialogue.cut()
                self._keep(CANCELLED)
            raise
        except Exception:
            if self._dialogue.phase is Phase.ANSWERING:
                self._dialogue.undo()
                self._keep("")
            raise

    def _begin(self, turn: Turn, visit: Visit) -> Turn:
        """The session is this request's from now on; what is to be run."""
        place, known = self._place, self._known
        if known is None:
            self._survivor = self._sessions.begin(self._move, self._new_session)
        else:
            self._survivor = self._sessions.take_over(known[0].session, known[1], self._move)
        visit.trail.session = session = self._survivor.session_id
        if place.seed is not None and not turn.is_seeded:
            sampling = msgspec.structs.replace(turn.sampling, seed=place.seed)
            turn = msgspec.structs.replace(turn, sampling=sampling)
        if known is not None and place.is_told_again:
            self._dialogue, self._snapshot = Dialogue.restored(known[0].dialogue), known[0]
        else:
            state = DialogueState(place.history, len(place.history), opening=self._new)
            self._dialogue = Dialogue.restored(state)
            self._snapshot = SessionSnapshot(
                session,
                visit.principal.tenant,
                TurnTerms.of(turn),
                self._dialogue.state,
                place.number,
                self._name,
                seed=turn.sampling.seed,
            )
        self._survivor.claim(self._snapshot)
        return msgspec.structs.replace(turn, run_key=f"{session}.{place.number}")

    def _note(self, event: TurnEvent) -> None:
        """Part of an answer that is not in the session yet."""
        if self._dialogue.phase is not Phase.ANSWERING:
            return
        match event:
            case TurnEnd(finish, _, calls):
                self._dialogue.finish(calls)
                self._keep(finish)
            case TextDelta() | ServerToolRun():
                self._dialogue.note(event)

    def _keep(self, finish: str) -> None:
        """Have another site know how the turn went."""
        if self._snapshot is not None and self._survivor is not None:
            state = self._dialogue.state
            self._snapshot = msgspec.structs.replace(self._snapshot, dialogue=state, finish=finish)
            self._survivor.keep(self._snapshot)

    async def _told_again(self) -> AsyncGenerator[TurnEvent, None]:
        for event in self._dialogue.last_events:
            yield event
        calls = self._dialogue.awaited_calls
        for index, call in enumerate(calls):
            yield ToolCallDelta(index, call.arguments, call.call_id, call.name)
        finish = TurnFinish(self._snapshot.finish) if self._snapshot else TurnFinish.STOP
        yield TurnEnd(finish, Usage(), calls)

    def _move(self) -> None:
        """Another request has taken the session over."""
        self._is_moved = True
        if self._task is not None:
            self._task.cancel()
