"""`POST /v1/realtime/client_secrets`: an ephemeral key for a session of given settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.errors import AccessError, InvalidRequest
from gateway.edge.realtime.client_secrets import PREFIX
from gateway.edge.realtime.opening import body_of, opening_of
from gateway.edge.realtime.session_terms import SessionTerms
from gateway.wire.json_faults import named_fault
from gateway.wire.realtime.items import fresh_id

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.edge.desk import Desk
    from gateway.edge.realtime.client_secrets import ClientSecrets
    from gateway.edge.realtime.voices import Voices

SECRETS_PATH: Final = "/v1/realtime/client_secrets"


class _Expiry(msgspec.Struct, frozen=True):
    seconds: Annotated[int, Meta(ge=10, le=7200)] = 600
    anchor: Literal["created_at"] = "created_at"


class _Wish(msgspec.Struct, frozen=True):
    session: dict[str, Any] = {}
    expires_after: _Expiry = _Expiry()


_decoder = msgspec.json.Decoder(_Wish)


class SecretRoute:
    """The endpoint."""

    def __init__(self, desk: Desk, secrets: ClientSecrets, voices: Voices) -> None:
        self._desk = desk
        self._secrets = secrets
        self._voices = voices

    @property
    def route(self) -> Route:
        """Of the public port."""
        return Route(SECRETS_PATH, self.make, methods=["POST"])

    async def make(self, request: Request) -> Response:
        """A key. Raises AccessError, and what the session's settings may be refused for."""
        if f" {PREFIX}" in request.headers.get("authorization", ""):
            raise AccessError("an ephemeral key makes no others, or it would never expire")
        caller, _ = opening_of(request, self._secrets)
        caller.check(self._desk)
        wish = _wish(await body_of(request))
        await self._voices.begun()
        terms = SessionTerms(self._desk, caller, self._voices)
        await terms.update(wish.session)
        key = self._secrets.make(caller, wish.session, lifetime_s=wish.expires_after.seconds)
        expires_at = int(time.time() + wish.expires_after.seconds)  # noqa: TID251 - on the wire
        made = {
            "value": key,
            "expires_at": expires_at,
            "session": terms.facts(fresh_id("sess"), expires_at),
        }
        return Response(msgspec.json.encode(made), media_type="application/json")


def _wish(body: bytes) -> _Wish:
    try:
        return _decoder.decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise named_fault(str(error), {}) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
