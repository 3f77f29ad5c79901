"""How a session is opened, by whatever it comes: who calls, and what is asked for all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.core.errors import PayloadTooLarge
from gateway.edge.deciding_headers import refuse_repeated
from gateway.edge.realtime.caller import Caller
from gateway.edge.realtime.client_secrets import PREFIX
from gateway.edge.realtime.lasting import HEADER, NEW

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request

    from gateway.edge.realtime.client_secrets import ClientSecrets

MAX_BODY_BYTES: Final = 128 * 1024
"""An offer of 32 KB and a session with its tools."""
KEY_PROTOCOL = "openai-insecure-api-key."
"""Before the key in a browser's list of WebSocket subprotocols."""


def opening_of(
    request: HTTPConnection, secrets: ClientSecrets, subprotocols: tuple[str, ...] = ()
) -> tuple[Caller, dict[str, Any]]:
    """Who calls, and the session's first settings. Raises InvalidRequest.

    What `x-firsthop-…` headers say may stand in the query as well: browsers set no headers on a
    WebSocket. The key may be an ephemeral one, whose session then comes first.
    """
    refuse_repeated(request.headers.keys())
    authorization = request.headers.get("authorization") or _key_among(subprotocols)

    def wish(name: str) -> str | None:
        return request.headers.get(name) or request.query_params.get(name)

    caller, session = Caller.of(wish, authorization=authorization), dict[str, Any]()
    key = (authorization or "").removeprefix("Bearer ").strip()
    secret = secrets.find(key) if key.startswith(PREFIX) else None
    if secret is not None:
        given = {
            name: value
            for name in Caller.__struct_fields__
            if (value := getattr(secret.caller, name)) not in (None, "", False)
        }
        caller, session = msgspec.structs.replace(caller, **given), dict(secret.session)
    if request.query_params.get("intent") == "transcription":
        session["type"] = "transcription"
    model = request.query_params.get("model")
    if model and session.get("type") != "transcription":
        session["model"] = model
    return caller, session


def token_of(request: HTTPConnection) -> str | None:
    """Of the session that is to be gone on with; `new` and none are a new one."""
    given = request.headers.get(HEADER) or request.query_params.get(HEADER)
    return None if given == NEW else given


async def body_of(request: Request) -> bytes:
    """The request's body. Raises PayloadTooLarge."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise PayloadTooLarge(limit_bytes=MAX_BODY_BYTES)
    return bytes(body)


def _key_among(subprotocols: tuple[str, ...]) -> str | None:
    keys = (
        name.removeprefix(KEY_PROTOCOL) for name in subprotocols if name.startswith(KEY_PROTOCOL)
    )
    key = next(keys, None)
    return None if key is None else f"Bearer {key}"
