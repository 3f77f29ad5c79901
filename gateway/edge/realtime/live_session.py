"""A session while its client is there: reading, failing, idling, draining, ending."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from gateway.core.errors import ClientStalled, GatewayError, SiteDraining
from gateway.core.realtime_errors import SessionExpired
from gateway.core.session_errors import SessionMoved
from gateway.edge.realtime.error_events import error_event
from gateway.edge.realtime.session import RealtimeSession
from gateway.runtime.tasks import first_cause
from gateway.wire.realtime.client_events import decode_event, decode_head

if TYPE_CHECKING:
    from gateway.edge.desk import Desk
    from gateway.edge.realtime.call_channel import OngoingCall
    from gateway.edge.realtime.caller import Caller
    from gateway.edge.realtime.channel import Channel
    from gateway.edge.realtime.lasting import LastingSession
    from gateway.edge.realtime.session_terms import SessionTerms
    from gateway.edge.realtime.voices import Voices

_logger = logging.getLogger(__name__)


class SessionLimits(msgspec.Struct, frozen=True):
    """How long sessions may last."""

    idle_s: float = 600.0
    """Without an event of the client's or a response."""
    session_s: float = 3600.0
    grace_s: float = 30.0
    """For who has lost his call to come back to its conversation."""


class LiveSession:
    """Serves one session over one channel."""

    def __init__(
        self,
        channel: Channel,
        *,
        desk: Desk,
        caller: Caller,
        terms: SessionTerms,
        limits: SessionLimits,
        voices: Voices,
        lasting: LastingSession,
        call: OngoingCall | None = None,
    ) -> None:
        self._channel = channel
        self._desk = desk
        self._caller = caller
        self._terms = terms
        self._limits = limits
        self._voices = voices
        self._call = call
        self._lasting = lasting
        self._session: RealtimeSession | None = None
        self._reading: asyncio.Timeout | None = None
        self._expires_s = 0.0
        self._ending: GatewayError | None = None
        """Why the session ends as soon as nothing is being answered."""

    async def run(self) -> GatewayError | None:
        """Serve the session to its end, and say why it had to end; None: the client left."""
        self._expires_s = asyncio.get_running_loop().time() + self._limits.session_s
        try:
            with first_cause():
                await self._serve()
        except TimeoutError:
            if self._reading is None or not self._reading.expired():
                raise
            return await self._ended()
        except ClientStalled as error:
            return error
        except GatewayError as error:
            await self._channel.send(error_event(error))
            return error
        finally:
            self._lasting.cut_off()
            self._session = None
        return None

    def drain(self) -> None:
        """End the session as soon as nothing is being answered."""
        self._ending = SiteDraining(self._desk.alternates())
        self.set_end()

    def move(self) -> None:
        """The session goes on elsewhere: it ends here, in the middle of an answer too."""
        self._ending = SessionMoved()
        if self._session is not None:
            self._session.abandon()
        self.set_end()

    def set_end(self) -> None:
        """Say until when to wait for the client: not in an answer, and at most the idle limit."""
        if self._reading is None or self._reading.expired():
            return
        if self._session is not None and self._session.is_answering:
            self._reading.reschedule(None)
            return
        now_s = asyncio.get_running_loop().time()
        wait_s = 0.0 if self._ending is not None else self._limits.idle_s
        self._reading.reschedule(min(now_s + wait_s, max(now_s, self._expires_s)))

    async def _serve(self) -> None:
        async with asyncio.timeout(None) as self._reading, asyncio.TaskGroup() as tasks:
            session = self._session = RealtimeSession(
                self._channel.send,
                tasks,
                desk=self._desk,
                caller=self._caller,
                terms=self._terms,
                voices=self._voices,
                call=self._call,
                lasting=self._lasting,
                limit_s=self._limits.session_s,
                on_response_end=self.set_end,
            )
            await session.begin(gives_notice=self._call is not None and self._call.notice)
            self.set_end()
            while await self._take(session):
                self.set_end()
            self._reading.reschedule(None)
            session.end()

    async def _take(self, session: RealtimeSession) -> bool:
        """One event of the client's; False once it is gone."""
        event_id: str | None = None
        try:
            text = await self._channel.receive()
            if text is None:
                return False
            head = decode_head(text)
            event_id = head.event_id
            await session.take(decode_event(text, head))
        except ClientStalled:
            raise
        except GatewayError as error:
            await self._channel.send(error_event(error, event_id))
        except Exception:
            _logger.exception("event failed", extra={"session": session.session_id})
            failure = GatewayError("the site failed on this event")
            await self._channel.send(error_event(failure, event_id))
        return True

    async def _ended(self) -> GatewayError:
        """Tell the client why nobody waits for it any more."""
        now_s = asyncio.get_running_loop().time()
        error = self._ending
        if error is None and now_s >= self._expires_s:
            error = SessionExpired(self._limits.session_s)
        error = error or ClientStalled(stalled_s=self._limits.idle_s)
        await self._channel.send(error_event(error))
        return error
