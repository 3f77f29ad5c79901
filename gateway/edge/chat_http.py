"""`POST /v1/chat/completions`: one turn, answered as a stream or as one body.

Raw ASGI, because this is the hot path. Headers leave with the first event or with the refusal;
what fails after that ends the stream with an error event and without `[DONE]`.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING

from gateway.core.budget import TurnClass
from gateway.core.errors import (
    ClientStalled,
    GatewayError,
    TurnCutOff,
    UnsupportedEncoding,
    UnsupportedMediaType,
)
from gateway.core.stages import Stage, StageClock
from gateway.core.turn import TurnEnd, is_content
from gateway.edge.chat_request import ChatRequest, decode_chat, messages_of, turn_of
from gateway.edge.chat_response import ChatBody, ChatStream, turn_headers
from gateway.edge.chat_session import HEADER, ChatSession
from gateway.edge.deciding_headers import refuse_repeated
from gateway.edge.http_errors import error_body, error_headers
from gateway.edge.http_exchange import Exchange
from gateway.edge.sse import SSE_HEADERS, sse_event
from gateway.edge.wish_headers import budget_s_of, turn_class_of, wants_server_tools
from gateway.wire.status import status_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

    from gateway.core.budget import Budget
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import TurnEvent
    from gateway.edge.desk import Desk, Visit
    from gateway.edge.http_errors import HttpHeader
    from gateway.session.surviving import SurvivingSessions

_logger = logging.getLogger(__name__)


class ChatCompletions:
    """The endpoint, an ASGI application."""

    def __init__(
        self,
        desk: Desk,
        *,
        max_body_bytes: int,
        stall_limit_s: float,
        surviving: SurvivingSessions | None = None,
    ) -> None:
        self._desk = desk
        self._surviving = surviving
        self._max_body_bytes = max_body_bytes
        self._stall_limit_s = stall_limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens on the way."""
        exchange = Exchange(scope, receive, send, stall_limit_s=self._stall_limit_s)
        trail: TurnTrail | None = None
        try:
            refuse_repeated(name.decode("latin-1") for name, _ in scope["headers"])
            visit = self._desk.visit(
                interface="openai",
                request_id=exchange.header(b"x-request-id"),
                traceparent=exchange.header(b"traceparent") or "",
                clock=StageClock(exchange.began_s),
            )
            trail = visit.trail
            with visit:
                await self._serve(exchange, visit)
        except GatewayError as error:
            await _refuse(exchange, trail, error)
        except Exception:
            _logger.exception("chat completion failed")
            await _refuse(exchange, trail, GatewayError("the site failed on this request"))

    async def _serve(self, exchange: Exchange, visit: Visit) -> None:
        visit.authenticate(exchange.header(b"authorization"))
        visit.keep_to_regions(exchange.header(b"x-firsthop-residency"))
        visit.came_through(exchange.header(b"x-firsthop-path"))
        encoding = exchange.header(b"content-encoding") or "identity"
        if encoding.lower() != "identity":
            raise UnsupportedEncoding(encoding)
        body = await exchange.read_body(self._max_body_bytes)
        if body is None:
            return
        _check_media_type(exchange)
        chat = decode_chat(body)
        visit.speaks_for(chat.safety_identifier or chat.user)
        wish, session = exchange.header(HEADER.encode()), None
        if wish is not None:
            said, key = messages_of(chat), exchange.header(b"idempotency-key")
            user = str(chat.safety_identifier or chat.user or "")
            session = await ChatSession.of(wish, self._surviving, visit, said, key, user)
        turn_class, budget = _class_and_budget(exchange, visit)
        turn = turn_of(
            chat,
            request_id=visit.trail.request_id,
            budget=budget,
            turn_class=turn_class,
            principal=visit.principal,
            server_tools=wants_server_tools(exchange.header(b"x-firsthop-tools")),
            history=() if session is None else session.history,
        )
        answer = self._stream if chat.stream else self._whole
        with session or nullcontext():
            events = visit.run(turn) if session is None else session.run(turn, visit)
            await exchange.while_connected(answer(exchange, visit, events, chat, session))

    async def _stream(
        self,
        exchange: Exchange,
        visit: Visit,
        answered: AsyncGenerator[TurnEvent, None],
        chat: ChatRequest,
        session: ChatSession | None,
    ) -> None:
        trail = visit.trail
        stream = ChatStream(trail, created_s=_now_unix_s(), include_usage=chat.include_usage)
        content_is_out = False
        async with aclosing(answered) as events:
            async for event in events:
                if isinstance(event, TurnEnd):
                    # The final word on the stages reaches up to its own writing.
                    trail.clock.mark(Stage.EGRESS, self._desk.monotonic())
                chunks = stream.render(event)
                if not chunks:
                    continue
                if not exchange.started:
                    await exchange.start(200, (*SSE_HEADERS, *self._headers(trail, session)))
                await exchange.write(chunks, more=not isinstance(event, TurnEnd))
                if not content_is_out and is_content(event):
                    content_is_out = True
                    visit.content_out()

    async def _whole(
        self,
        exchange: Exchange,
        visit: Visit,
        answered: AsyncGenerator[TurnEvent, None],
        chat: ChatRequest,
        session: ChatSession | None,
    ) -> None:
        body = ChatBody(visit.trail, created_s=_now_unix_s())
        content_is_out = False
        async with aclosing(answered) as events:
            async for event in events:
                if isinstance(event, TurnEnd):
                    headers = self._headers(visit.trail, session)
                    await _send_json(exchange, 200, body.render(event), headers)
                    continue
                body.add(event)
                if not content_is_out and is_content(event):
                    # That it waits for the rest is this client's wish, not the site's delay.
                    content_is_out = True
                    visit.content_out()

    def _headers(self, trail: TurnTrail, session: ChatSession | None) -> list[HttpHeader]:
        own = [] if session is None else session.headers(self._desk.alternates())
        return [*turn_headers(trail), *own]


async def _refuse(exchange: Exchange, trail: TurnTrail | None, error: GatewayError) -> None:
    """Tell the client, in the way its response still allows."""
    is_late = isinstance(error, TurnCutOff) and exchange.is_behind
    if exchange.started and (is_late or isinstance(error, ClientStalled)):
        exchange.abort()
        return
    try:
        if exchange.started:
            await exchange.write(sse_event(error_body(error)), more=False)
        else:
            own = (
                turn_headers(trail)
                if trail
                else [(b"x-request-id", secrets.token_hex(16).encode())]
            )
            headers = [*error_headers(error), *own]
            await _send_json(exchange, status_of(error).http, error_body(error), headers)
    except ClientStalled:
        exchange.abort()


async def _send_json(
    exchange: Exchange, status: int, body: bytes, headers: list[HttpHeader]
) -> None:
    length = (b"content-length", b"%d" % len(body))
    await exchange.start(status, ((b"content-type", b"application/json"), length, *headers))
    await exchange.write(body, more=False)


def _check_media_type(exchange: Exchange) -> None:
    """What is declared as a form or as text is meant for another server; undeclared is JSON."""
    given = exchange.header(b"content-type")
    if given is not None and given.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType(given)


def _class_and_budget(exchange: Exchange, visit: Visit) -> tuple[TurnClass, Budget]:
    turn_class = turn_class_of(exchange.header(b"x-firsthop-class")) or TurnClass.AGENT
    requested_s = budget_s_of(exchange.header(b"x-slo-ttft-ms"))
    return turn_class, visit.budget(turn_class, requested_s=requested_s)


def _now_unix_s() -> int:
    return int(time.time())  # noqa: TID251 - `created` is wall-clock time on the wire
