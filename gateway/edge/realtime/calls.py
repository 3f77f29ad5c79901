"""The calls of a site: each is a session on a WebRTC line, and lives until the line is closed."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.core.call_errors import LinesBusy
from gateway.core.errors import GatewayError
from gateway.core.realtime_errors import CallNotFound, VoiceMissing
from gateway.edge.realtime.busy_call import turn_away
from gateway.edge.realtime.call_channel import CallChannel, OngoingCall
from gateway.edge.realtime.lasting import LastingSession
from gateway.edge.realtime.live_session import LiveSession
from gateway.edge.realtime.session_terms import SessionTerms
from gateway.session import phrases
from gateway.wire.realtime.items import fresh_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.edge.desk import Desk
    from gateway.edge.realtime.caller import Caller
    from gateway.edge.realtime.live_session import SessionLimits
    from gateway.edge.realtime.sessions import Sessions
    from gateway.edge.realtime.voices import Voices
    from gateway.session.surviving import SurvivingSessions

_logger = logging.getLogger(__name__)
_ICE_NAME: Final = re.compile(r"^a=ice-ufrag:(\S+)", re.MULTILINE)


class Calls:
    """All of them; `run` owns their tasks."""

    def __init__(
        self,
        desk: Desk,
        sessions: Sessions,
        voices: Voices,
        limits: SessionLimits,
        surviving: SurvivingSessions | None,
    ) -> None:
        self._desk = desk
        self._sessions = sessions
        self._voices = voices
        self._limits = limits
        self._surviving = surviving
        self._ongoing: dict[str, OngoingCall] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Have calls until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await self._over.wait()

    async def place(
        self,
        caller: Caller,
        initial: dict[str, Any],
        offer: str,
        *,
        token: str | None,
        notice: bool,
        says_busy: bool,
    ) -> OngoingCall:
        """A new call, answered. With `notice`, the caller is told first that an AI speaks.

        With `token` it goes on with the session of another call, whose site may be gone.

        With `says_busy` a caller who finds all lines busy is told so in a call, while there are
        spare lines for that. Raises Unauthenticated, VoiceMissing, SessionNotFound, LinesBusy,
        OfferRefused, and what the session's settings may be refused for.
        """
        caller.check(self._desk)
        voices = self._voices
        await voices.begun()
        if voices.missing or self._tasks is None:
            raise VoiceMissing(voices.missing)
        lasting = await LastingSession.of(token, self._surviving, self._desk, caller)
        caller = caller if lasting is None else lasting.caller
        terms = SessionTerms(self._desk, caller, voices)
        if lasting is not None and lasting.found is not None:
            await terms.restore(lasting.found.config)
        await terms.update(initial)
        try:
            return await self._begin(caller, terms, voices, offer, lasting, notice=notice)
        except LinesBusy as busy:
            if not says_busy:
                raise
            call = await self._accept(caller, terms, voices, offer, is_spare=True)
            self._have(call, partial(turn_away, call, busy, voices.synthesiser))
            return call

    async def _begin(
        self,
        caller: Caller,
        terms: SessionTerms,
        voices: Voices,
        offer: str,
        lasting: LastingSession | None,
        *,
        notice: bool,
    ) -> OngoingCall:
        """A call with a session. Raises LinesBusy, OfferRefused."""
        with ExitStack() as places:
            places.enter_context(self._sessions.place())
            call = await self._accept(caller, terms, voices, offer)
            live = LiveSession(
                call.channel,
                desk=self._desk,
                caller=caller,
                terms=terms,
                limits=self._limits,
                voices=voices,
                call=call,
                notice=phrases.AI_NOTICE if notice else "",
                lasting=lasting,
            )
            if lasting is not None:
                call.lasting = lasting
                lasting.begin(live.move)
            self._have(call, partial(self._converse, live, places.pop_all()))
        return call

    async def _accept(
        self,
        caller: Caller,
        terms: SessionTerms,
        voices: Voices,
        offer: str,
        *,
        is_spare: bool = False,
    ) -> OngoingCall:
        tenant = self._desk.gatekeeper.authenticate(caller.authorization).tenant
        line, answer = await voices.lines.accept(offer, is_spare=is_spare)
        return OngoingCall(
            fresh_id("rtc"), tenant, line, CallChannel(line), terms, _ice_name(offer), answer
        )

    def find(self, call_id: str, caller: Caller) -> OngoingCall:
        """A call of the same tenant's. Raises Unauthenticated, CallNotFound."""
        tenant = self._desk.gatekeeper.authenticate(caller.authorization).tenant
        call = self._ongoing.get(call_id)
        if call is None or call.tenant != tenant:
            raise CallNotFound(call_id)
        return call

    async def take_up(self, call: OngoingCall, offer: str) -> None:
        """Go on with a call over another connection of its client. Raises OfferRefused."""
        call.answer = await call.line.take_up(offer)
        call.ice_name = _ice_name(offer)

    def _have(self, call: OngoingCall, serve: Callable[[], Awaitable[str]]) -> None:
        """Keep the call while it is served; its end comes for the reason that `serve` returns."""
        self._ongoing[call.call_id] = call
        if self._tasks is not None:
            self._tasks.create_task(self._serve(call, serve))

    async def _serve(self, call: OngoingCall, serve: Callable[[], Awaitable[str]]) -> None:
        reason = ""
        try:
            reason = await serve()
        except GatewayError as error:
            reason = error.message
        except Exception:
            _logger.exception("call failed", extra={"call": call.call_id})
            reason = "the site failed on this call"
        finally:
            del self._ongoing[call.call_id]
            call.line.close(reason)
            call.channel.over()

    async def _converse(self, live: LiveSession, places: ExitStack) -> str:
        with places, self._sessions.living(live), self._desk.session():
            error = await live.run()
            return "" if error is None else error.message


def _ice_name(offer: str) -> str:
    found = _ICE_NAME.search(offer)
    return found[1] if found else ""
