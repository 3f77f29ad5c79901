"""`GET /v1/realtime`: a session over a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

from gateway.core.errors import ClientStalled, GatewayError, InvalidRequest, SiteDraining
from gateway.edge.http_errors import error_body, error_headers
from gateway.edge.realtime.error_events import error_event
from gateway.edge.realtime.lasting import LastingSession
from gateway.edge.realtime.live_session import LiveSession
from gateway.edge.realtime.opening import opening_of, token_of
from gateway.edge.realtime.session_terms import SessionTerms
from gateway.wire.realtime.server_events import encode_event
from gateway.wire.status import status_of

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from gateway.edge.desk import Desk
    from gateway.edge.realtime.call_channel import OngoingCall
    from gateway.edge.realtime.calls import Calls
    from gateway.edge.realtime.client_secrets import ClientSecrets
    from gateway.edge.realtime.live_session import SessionLimits
    from gateway.edge.realtime.sessions import Sessions
    from gateway.edge.realtime.voices import Voices
    from gateway.session.surviving import SurvivingSessions
    from gateway.wire.realtime.server_events import AnyServerEvent

REALTIME_PATH: Final = "/v1/realtime"
_SUBPROTOCOL = "realtime"
_NORMAL, _GOING_AWAY, _POLICY = 1000, 1001, 1008
_INTERNAL, _RESTART, _TRY_LATER = 1011, 1012, 1013
"""RFC 6455, 7.4.1, and its registry."""

_logger = logging.getLogger(__name__)


class WebSocketChannel:
    """A session's events on a WebSocket that was accepted."""

    def __init__(self, socket: WebSocket, *, stall_limit_s: float) -> None:
        self._socket = socket
        self._stall_limit_s = stall_limit_s

    async def send(self, event: AnyServerEvent) -> None:
        """See `Channel`."""
        try:
            async with asyncio.timeout(self._stall_limit_s):
                await self._socket.send_text(encode_event(event))
        except TimeoutError:
            raise ClientStalled(stalled_s=self._stall_limit_s) from None
        except (WebSocketDisconnect, RuntimeError):
            return  # it is gone, as `receive` tells

    async def receive(self) -> str | None:
        """See `Channel`."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        if text is None:
            raise InvalidRequest("events are text messages, not binary ones")
        return text


class RealtimeSockets:
    """The endpoint."""

    def __init__(
        self,
        desk: Desk,
        sessions: Sessions,
        secrets: ClientSecrets,
        calls: Calls,
        *,
        voices: Voices,
        limits: SessionLimits,
        stall_limit_s: float,
        surviving: SurvivingSessions | None,
    ) -> None:
        self._desk = desk
        self._sessions = sessions
        self._secrets = secrets
        self._calls = calls
        self._voices = voices
        self._limits = limits
        self._surviving = surviving
        self._stall_limit_s = stall_limit_s

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection, whatever happens on the way."""
        try:
            await self._serve(socket)
        except GatewayError as error:
            await self._refuse(socket, error)
        except Exception:
            _logger.exception("realtime session failed")
            await self._refuse(socket, GatewayError("the site failed on this session"))

    async def _serve(self, socket: WebSocket) -> None:
        offered = tuple(socket.scope["subprotocols"])
        caller, initial = opening_of(socket, self._secrets, offered)
        caller.check(self._desk)
        if call_id := socket.query_params.get("call_id"):
            await self._watch(socket, self._calls.find(call_id, caller))
            return
        await self._voices.begun()
        lasting = await LastingSession.of(token_of(socket), self._surviving, self._desk, caller)
        caller = lasting.caller
        terms = SessionTerms(self._desk, caller, self._voices)
        if lasting.found is not None:
            await terms.restore(lasting.found.config)
        await terms.update(initial)
        live = LiveSession(
            WebSocketChannel(socket, stall_limit_s=self._stall_limit_s),
            desk=self._desk,
            caller=caller,
            terms=terms,
            lasting=lasting,
            limits=self._limits,
            voices=self._voices,
        )
        with self._sessions.place(), self._sessions.living(live), self._desk.session():
            await socket.accept(_subprotocol(socket))
            lasting.begin(live.move)
            try:
                error = await live.run()
            finally:
                lasting.leave()
        if error is not None:
            await self._close(socket, error)

    async def _watch(self, socket: WebSocket, call: OngoingCall) -> None:
        """A sideband: it sees what happens in a call, and may steer it."""
        await socket.accept(_subprotocol(socket))
        channel = WebSocketChannel(socket, stall_limit_s=self._stall_limit_s)
        await call.channel.watch(channel)
        await self._bye(socket, _NORMAL, "the call has ended")

    async def _refuse(self, socket: WebSocket, error: GatewayError) -> None:
        """Tell why there is no session: as HTTP, or as an event where a browser would see none."""
        if socket.application_state.name != "CONNECTING":
            await self._close(socket, error)
        elif _SUBPROTOCOL in socket.scope["subprotocols"]:
            await socket.accept(_SUBPROTOCOL)
            await WebSocketChannel(socket, stall_limit_s=self._stall_limit_s).send(
                error_event(error)
            )
            await self._close(socket, error)
        else:
            headers = {name.decode(): value.decode() for name, value in error_headers(error)}
            status = status_of(error).http
            answer = Response(error_body(error), status, headers, "application/json")
            await socket.send_denial_response(answer)

    async def _close(self, socket: WebSocket, error: GatewayError) -> None:
        await self._bye(socket, _close_code(error), error.code)

    async def _bye(self, socket: WebSocket, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(self._stall_limit_s):
                await socket.close(code, reason)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            return  # it is gone


def _subprotocol(socket: WebSocket) -> str | None:
    return _SUBPROTOCOL if _SUBPROTOCOL in socket.scope["subprotocols"] else None


def _close_code(error: GatewayError) -> int:
    status = status_of(error).http
    if isinstance(error, SiteDraining):
        return _RESTART
    if status in (429, 503):
        return _TRY_LATER
    if status == 408:
        return _GOING_AWAY
    return _INTERNAL if status >= 500 else _POLICY
