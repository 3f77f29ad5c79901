"""The calls of a site: each is a session on a WebRTC line, and lives until the line is closed."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.call_errors import LinesBusy
from gateway.core.errors import GatewayError
from gateway.core.realtime_errors import CallNotFound, VoiceMissing
from gateway.edge.realtime.busy_call import turn_away
from gateway.edge.realtime.call_channel import CallChannel, OfferedPeer, OngoingCall
from gateway.edge.realtime.conversation import Conversation
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

_logger = logging.getLogger(__name__)


class _CutOff(NamedTuple):
    """A call without a line, whose client may come back within the grace period."""

    call: OngoingCall
    caller: Caller
    until_s: float
    """On the event loop's clock."""


class Calls:
    """All of them; `run` owns their tasks."""

    def __init__(
        self, desk: Desk, sessions: Sessions, voices: Voices, limits: SessionLimits
    ) -> None:
        self._desk = desk
        self._sessions = sessions
        self._voices = voices
        self._limits = limits
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
        notice: bool,
        says_busy: bool,
    ) -> OngoingCall:
        """A new call, answered. With `notice`, the caller is told first that an AI speaks.

        With `says_busy` a caller who finds all lines busy is told so in a call, while there are
        spare lines for that. Raises Unauthenticated, VoiceMissing, LinesBusy, OfferRefused, and
        what the session's settings may be refused for.
        """
        caller.check(self._desk)
        voices = self._voices
        await voices.begun()
        if voices.missing or self._tasks is None:
            raise VoiceMissing(voices.missing)
        terms = SessionTerms(self._desk, caller, voices)
        await terms.update(initial)
        try:
            return await self._begin(caller, terms, voices, offer, notice=notice)
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
        *,
        notice: bool,
        after: OngoingCall | None = None,
    ) -> OngoingCall:
        """A call with a session, or the same call `after` its line was lost.

        Raises LinesBusy, OfferRefused.
        """
        with ExitStack() as places:
            places.enter_context(self._sessions.place())
            call = await self._accept(caller, terms, voices, offer)
            if after is not None:
                call.call_id, call.conversation = after.call_id, after.conversation
            live = LiveSession(
                call.channel,
                desk=self._desk,
                caller=caller,
                terms=terms,
                limits=self._limits,
                voices=voices,
                call=call,
                notice=phrases.AI_NOTICE if notice else "",
            )
            self._have(call, partial(self._converse, live, places.pop_all()), caller)
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
            call_id=fresh_id("rtc"),
            tenant=tenant,
            line=line,
            channel=CallChannel(line),
            terms=terms,
            conversation=Conversation(),
            offered=OfferedPeer.of(offer),
            answer=answer,
        )

    def find(self, call_id: str, caller: Caller) -> OngoingCall:
        """A call of the same tenant's. Raises Unauthenticated, CallNotFound."""
        tenant = self._desk.gatekeeper.authenticate(caller.authorization).tenant
        return _owned(self._ongoing.get(call_id), call_id, tenant)

    async def take_up(self, call_id: str, caller: Caller, offer: str) -> OngoingCall:
        """Go on with a call whose client has lost its connection, or whose line was lost.

        Over the same connection (ICE restarts) it keeps its line; for another one, as when a page
        was loaded anew or a voice worker has died, it gets a new line and keeps its conversation.
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
        before = _owned(None if cut_off is None else cut_off.call, call_id, tenant)
        if cut_off is None:
            raise CallNotFound(call_id)
        del self._cut_off[call_id]  # whoever comes at the same time is too late
        try:
            return await self._begin(
                cut_off.caller, before.terms, self._voices, offer, notice=False, after=before
            )
        except GatewayError:
            if asyncio.get_running_loop().time() < cut_off.until_s:
                self._cut_off[call_id] = cut_off  # another try may do
            raise

    def _keep(self, call: OngoingCall, caller: Caller) -> None:
        """Keep what a call was about until its client is too late."""
        loop = asyncio.get_running_loop()
        cut_off = _CutOff(call, caller, loop.time() + self._limits.grace_s)
        self._cut_off[call.call_id] = cut_off

        def forget() -> None:
            if self._cut_off.get(call.call_id) is cut_off:
                del self._cut_off[call.call_id]

        loop.call_at(cut_off.until_s, forget)

    def _have(
        self, call: OngoingCall, serve: Callable[[], Awaitable[str]], caller: Caller | None = None
    ) -> None:
        """Keep the call while it is served; its end comes for the reason that `serve` returns.

        One that is cut off may be taken up again, where there is a `caller` for it.
        """
        self._ongoing[call.call_id] = call
        if self._tasks is not None:
            self._tasks.create_task(self._serve(call, serve, caller))

    async def _serve(
        self, call: OngoingCall, serve: Callable[[], Awaitable[str]], caller: Caller | None
    ) -> None:
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
            if caller is not None and (call.moves or call.line.is_orphaned):
                self._keep(call, caller)
            call.line.close(reason)
            call.channel.over()

    async def _converse(self, live: LiveSession, places: ExitStack) -> str:
        with places, self._sessions.living(live), self._desk.session():
            error = await live.run()
            return "" if error is None else error.message


def _owned(call: OngoingCall | None, call_id: str, tenant: str) -> OngoingCall:
    """The call, if there is one and it is this tenant's. Raises CallNotFound."""
    if call is None or call.tenant != tenant:
        raise CallNotFound(call_id)
    return call
