"""The calls of a site: each is a session on a WebRTC line, and lives until the line is closed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.call_errors import LinesBusy
from gateway.core.errors import GatewayError
from gateway.core.realtime_errors import CallNotFound, VoiceMissing
from gateway.edge.realtime.busy_call import turn_away
from gateway.edge.realtime.call_channel import CallChannel, OfferedPeer, OngoingCall
from gateway.edge.realtime.lasting import LastingSession
from gateway.edge.realtime.live_session import LiveSession
from gateway.edge.realtime.session_terms import SessionTerms
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


class _CutOff(NamedTuple):
    """A call without a line, whose client may come back within the grace period."""

    call: OngoingCall
    lasting: LastingSession
    until_s: float
    """On the event loop's clock."""


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
        self._cut_off: dict[str, _CutOff] = {}
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
        terms = SessionTerms(self._desk, lasting.caller, voices)
        if lasting.found is not None:
            await terms.restore(lasting.found.config)
        await terms.update(initial)
        tenant = self._desk.gatekeeper.authenticate(caller.authorization).tenant
        call_id = fresh_id("rtc")
        wanted = partial(OngoingCall, call_id=call_id, tenant=tenant, terms=terms, notice=notice)
        try:
            return await self._begin(wanted, offer, lasting)
        except LinesBusy as busy:
            if not says_busy:
                raise
            call = await self._accept(wanted, offer, is_spare=True)
            self._have(call, partial(turn_away, call, busy, voices.synthesiser))
            return call

    async def _begin(
        self, wanted: Callable[..., OngoingCall], offer: str, lasting: LastingSession
    ) -> OngoingCall:
        """A call over a new line, with its session. Raises LinesBusy, OfferRefused."""
        with ExitStack() as places:
            places.enter_context(self._sessions.place())
            call = await self._accept(wanted, offer)
            call.lasting = lasting
            live = LiveSession(
                call.channel,
                desk=self._desk,
                caller=lasting.caller,
                terms=call.terms,
                lasting=lasting,
                limits=self._limits,
                voices=self._voices,
                call=call,
            )
            lasting.begin(live.move)
            self._have(call, partial(self._converse, live, places.pop_all()))
        return call

    async def _accept(
        self, wanted: Callable[..., OngoingCall], offer: str, *, is_spare: bool = False
    ) -> OngoingCall:
        line, answer = await self._voices.lines.accept(offer, is_spare=is_spare)
        offered = OfferedPeer.of(offer)
        return wanted(line=line, channel=CallChannel(line), offered=offered, answer=answer)

    def find(self, call_id: str, caller: Caller) -> OngoingCall:
        """A call of the same tenant's. Raises Unauthenticated, CallNotFound."""
        tenant = self._desk.gatekeeper.authenticate(caller.authorization).tenant
        call = self._ongoing.get(call_id)
        if call is None or call.tenant != tenant:
            raise CallNotFound(call_id)
        return call

    async def take_up(self, call_id: str, caller: Caller, offer: str) -> OngoingCall:
        """Go on with a call whose client has lost its connection, or whose line was lost.

        Over the same connection (ICE restarts) it keeps its line; for another one, as when a page
        was loaded anew or a voice worker has died, it gets a new line and keeps its session.
        Raises Unauthenticated, CallNotFound, LinesBusy, OfferRefused.
        """
        tenant = self._desk.gatekeeper.authenticate(caller.authorization).tenant
        offered = OfferedPeer.of(offer)
        call = self._ongoing.get(call_id)
        if call is not None and call.tenant == tenant:
            if not call.line.is_closed and offered.certificate == call.offered.certificate:
                call.answer = await call.line.take_up(offer)
                call.offered = offered
                return call
            call.moves = True
            call.line.close("its client comes back over another connection")
            await call.channel.ended()
        return await self._go_on(call_id, tenant, offer)

    async def _go_on(self, call_id: str, tenant: str, offer: str) -> OngoingCall:
        """A new line for a call that was cut off. Raises CallNotFound, LinesBusy, OfferRefused."""
        cut_off = self._cut_off.get(call_id)
        if cut_off is None or cut_off.call.tenant != tenant:
            raise CallNotFound(call_id)
        del self._cut_off[call_id]  # whoever comes at the same time is too late
        again = partial(dataclasses.replace, cut_off.call, moves=False)
        try:
            return await self._begin(again, offer, cut_off.lasting)
        except BaseException:
            self._wait_for(cut_off)  # another try may do
            raise

    def _wait_for(self, cut_off: _CutOff) -> None:
        """Keep a call until its client comes back, is too late, or goes on elsewhere."""
        call_id = cut_off.call.call_id

        def forget() -> None:
            if self._cut_off.get(call_id) is cut_off:
                del self._cut_off[call_id]
                cut_off.lasting.leave()

        self._cut_off[call_id] = cut_off
        cut_off.lasting.begin(forget)
        asyncio.get_running_loop().call_at(cut_off.until_s, forget)

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
            self._leave(call)
            call.line.close(reason)
            call.channel.over()

    def _leave(self, call: OngoingCall) -> None:
        """Its line is gone, and so is the call, unless its client may come back to it."""
        if (lasting := call.lasting) is None:
            return
        if call.moves or call.line.is_orphaned:
            until_s = asyncio.get_running_loop().time() + self._limits.grace_s
            self._wait_for(_CutOff(call, lasting, until_s))
        else:
            lasting.leave()

    async def _converse(self, live: LiveSession, places: ExitStack) -> str:
        with places, self._sessions.living(live), self._desk.session():
            error = await live.run()
            return "" if error is None else error.message
