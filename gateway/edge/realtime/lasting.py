"""A Realtime session that outlives its connection and its site: who knows of it, and when."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Final, Self

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.session_errors import SessionNotFound
from gateway.core.session_snapshot import RealtimeSnapshot
from gateway.edge.realtime.kept_session import KeptSession
from gateway.wire.realtime.items import fresh_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.session_snapshot import Version
    from gateway.edge.desk import Desk
    from gateway.edge.realtime.caller import Caller
    from gateway.session.surviving import SurvivingSession, SurvivingSessions

HEADER: Final = "x-firsthop-session"
NEW: Final = "new"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KeptSession)


class LastingSession:
    """What there is of one session beyond its connection; made by `of`.

    `begin` it, `keep_up` with who can say how it stands, tell it what has `changed`; when it is
    `cut_off` it can be begun again here, and once it is `left`, elsewhere: where `sessions` are
    kept, other sites are told of it.
    """

    def __init__(
        self,
        sessions: SurvivingSessions | None,
        desk: Desk,
        caller: Caller,
        known: tuple[RealtimeSnapshot, Version] | None,
    ) -> None:
        self._sessions = sessions
        self._desk = desk
        self._tenant = desk.gatekeeper.authenticate(caller.authorization).tenant
        self._known = known
        self._run_id = fresh_id("run")
        self._survivor: SurvivingSession | None = None
        self._on_moved: Callable[[], None] | None = None
        self._state: weakref.WeakMethod[Callable[[], KeptSession]] | None = None
        self._content = b""
        self._is_told_soon = False
        self.caller = caller
        self.found: KeptSession | None = None
        """How it stood where it was cut off; None: it is new, or goes on already."""
        if known is not None:
            self.found = _read(known[0])
            self.caller = _caller_again(self.found.caller, caller)

    @classmethod
    async def of(
        cls, token: str | None, sessions: SurvivingSessions | None, desk: Desk, caller: Caller
    ) -> Self:
        """The session that a client's token names, or a new one.

        Raises Unauthenticated, SessionNotFound, and InvalidRequest for a token where none are kept.
        """
        if not token:
            return cls(sessions, desk, caller, None)
        if sessions is None:
            raise InvalidRequest("this site keeps no sessions: grid.key is not set", param=HEADER)
        tenant = desk.gatekeeper.authenticate(caller.authorization).tenant
        return cls(sessions, desk, caller, await sessions.find(token, tenant, RealtimeSnapshot))

    def begin(self, on_moved: Callable[[], None]) -> None:
        """It runs here from now on, or again. `on_moved` is called when it is taken over."""
        self._on_moved = on_moved
        if self._survivor is not None:
            if self._survivor.is_moved:
                on_moved()
        elif self._sessions is None:
            return
        elif self._known is None:
            self._survivor = self._sessions.begin(self._moved)
        else:
            known, version = self._known
            self._survivor = self._sessions.take_over(known.session, version, self._moved)
            self._survivor.claim(known)
            self._known = None

    def keep_up(self, state: Callable[[], KeptSession]) -> None:
        """From now on this method says how the session stands; its object is not kept alive."""
        self._state = weakref.WeakMethod(state)
        self.found = None
        self.changed()

    def changed(self) -> None:
        """Have another site know, once for all that changes before the loop goes round."""
        if self._survivor is not None and not self._is_told_soon:
            self._is_told_soon = True
            asyncio.get_running_loop().call_soon(self.tell)

    def cut_off(self) -> None:
        """Its connection is gone: what there is of it is kept as `found`."""
        state = None if self._state is None else self._state()
        if state is not None:
            self.tell()
            self.found, self._state = state(), None

    def leave(self) -> None:
        """It runs here no more. The client may have meant that or not: it can be gone on with."""
        self._on_moved = None
        if self._survivor is not None:
            self._survivor.leave()
            self._survivor = None

    def run_key(self, number: int) -> str:
        """Under what the tools of a response are kept."""
        run_id = self._run_id if self._survivor is None else self._survivor.session_id
        return f"{run_id}.{number}"

    @property
    def token(self) -> str:
        """What the client needs to go on elsewhere; empty: it cannot."""
        return self._survivor.token if self._survivor is not None else ""

    @property
    def alternates(self) -> tuple[str, ...]:
        """Where it can."""
        return self._desk.alternates()

    @property
    def facts(self) -> dict[str, object]:
        """Both, for a client that sees no headers."""
        if self._survivor is None:
            return {}
        return {"session": {"token": self.token, "alternates": self.alternates}}

    def tell(self) -> None:
        """Have another site know now: the client is told next."""
        self._is_told_soon = False
        state = None if self._state is None else self._state()
        if state is None or self._survivor is None:
            return
        content = _encoder.encode(state())
        if content != self._content:
            self._content = content
            session = self._survivor.session_id
            self._survivor.keep(RealtimeSnapshot(session, self._tenant, content))

    def _moved(self) -> None:
        if self._on_moved is not None:
            self._on_moved()


def _read(snapshot: RealtimeSnapshot) -> KeptSession:
    try:
        return _decoder.decode(snapshot.content)
    except (msgspec.DecodeError, InvalidRequest):
        raise SessionNotFound from None


def _caller_again(kept: Caller, caller: Caller) -> Caller:
    """Who comes again with a key. Raises SessionNotFound for one who speaks for another user."""
    if caller.user not in (None, kept.user):
        raise SessionNotFound
    return msgspec.structs.replace(
        kept, authorization=caller.authorization, traceparent=caller.traceparent
    )
