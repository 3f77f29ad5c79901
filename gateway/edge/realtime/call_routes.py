"""Calls over HTTP: `/v1/realtime/calls` as OpenAI has it, `/whip` as RFC 9725 has it.

Both are one thing: an offer is posted, the answer comes with the place of the call, and deleting
that ends it. Posting another offer there takes a call up again that has lost its connection.
"""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.errors import InvalidRequest, UnsupportedMediaType
from gateway.edge.realtime.lasting import HEADER
from gateway.edge.realtime.opening import body_of, opening_of, token_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.edge.realtime.call_channel import OngoingCall
    from gateway.edge.realtime.calls import Calls
    from gateway.edge.realtime.client_secrets import ClientSecrets

CALLS_PATH: Final = "/v1/realtime/calls"
WHIP_PATH: Final = "/whip"
ALTERNATES: Final = "x-firsthop-alternates"
_SDP, _FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"
_CORS: Final = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["*"],
    allow_headers=["*"],
    expose_headers=["location", "etag", "link", "x-request-id", "retry-after", HEADER, ALTERNATES],
)
"""Pages of any origin may call: what lets them in is the key they have, not a cookie."""
_session_decoder = msgspec.json.Decoder(dict[str, Any])


class CallRoutes:
    """The endpoints."""

    def __init__(self, calls: Calls, secrets: ClientSecrets) -> None:
        self._calls = calls
        self._secrets = secrets

    @property
    def routes(self) -> list[Route]:
        """Of the public port."""
        one = "/{call_id}"
        return [
            self._route(CALLS_PATH, self.place_call, "POST"),
            self._route(CALLS_PATH + one, self.take_up, "POST"),
            self._route(CALLS_PATH + one, self.hang_up, "DELETE"),
            self._route(CALLS_PATH + one + "/hangup", self.hang_up, "POST"),
            self._route(WHIP_PATH, self.place_whip, "POST"),
            self._route(WHIP_PATH + one, self.patch, "PATCH"),
            self._route(WHIP_PATH + one, self.hang_up, "DELETE"),
        ]

    async def place_call(self, request: Request) -> Response:
        """`POST /v1/realtime/calls`."""
        return await self._place(request, CALLS_PATH, speaks_first=False)

    async def place_whip(self, request: Request) -> Response:
        """`POST /whip`: its callers learn from what they hear alone that an AI speaks, or that
        all lines are busy."""
        return await self._place(request, WHIP_PATH, speaks_first=True)

    async def take_up(self, request: Request) -> Response:
        """`POST /v1/realtime/calls/{id}`: another offer of the call's client."""
        offer, _ = await _offer_of(request)
        call = await self._take_up(request, offer)
        return _answer(call, CALLS_PATH, 200)

    async def patch(self, request: Request) -> Response:
        """`PATCH /whip/{id}`: candidates, which this side does not need, or an offer to restart."""
        media_type, body = await _body_of(request)
        if media_type == _SDP:
            return _answer(await self._take_up(request, _text(body)), WHIP_PATH, 200)
        call = self._find(request)
        if media_type != _FRAGMENT:
            raise UnsupportedMediaType(media_type, wanted=f"{_FRAGMENT} or {_SDP}")
        names = [line for line in _text(body).splitlines() if line.startswith("a=ice-ufrag:")]
        if any(name.partition(":")[2].strip() != call.offered.ice_name for name in names):
            return Response("an ICE restart needs a whole offer, as application/sdp", 501)
        return Response(status_code=204)

    async def hang_up(self, request: Request) -> Response:
        """End a call."""
        self._find(request).line.close("hung up")
        return Response(status_code=200)

    async def _place(self, request: Request, path: str, *, speaks_first: bool) -> Response:
        caller, initial = opening_of(request, self._secrets)
        notice = _flag(request, "notice", speaks_first)
        says_busy = _flag(request, "says_busy", speaks_first)
        offer, session = await _offer_of(request)
        call = await self._calls.place(
            caller,
            {**initial, **session},
            offer,
            token=token_of(request),
            notice=notice,
            says_busy=says_busy,
        )
        return _answer(call, path, 201)

    async def _take_up(self, request: Request, offer: str) -> OngoingCall:
        caller, _ = opening_of(request, self._secrets)
        return await self._calls.take_up(request.path_params["call_id"], caller, offer)

    def _find(self, request: Request) -> OngoingCall:
        caller, _ = opening_of(request, self._secrets)
        return self._calls.find(request.path_params["call_id"], caller)

    @staticmethod
    def _route(path: str, endpoint: Any, method: str) -> Route:
        return Route(path, endpoint, methods=[method, "OPTIONS"], middleware=[_CORS])


def _answer(call: OngoingCall, path: str, status: int) -> Response:
    headers = {
        "location": f"{path}/{call.call_id}",
        "etag": call.tag,
        "accept-patch": _FRAGMENT,
    }
    if call.lasting is not None and call.lasting.token:
        headers[HEADER] = call.lasting.token
        if alternates := call.lasting.alternates:
            headers[ALTERNATES] = ", ".join(alternates)
    return Response(call.answer, status, headers, _SDP)


def _flag(request: Request, name: str, default: bool) -> bool:
    given = request.query_params.get(name)
    if given not in (None, "true", "false"):
        raise InvalidRequest(f"{name} is true or false", param=name)
    return default if given is None else given == "true"


async def _offer_of(request: Request) -> tuple[str, dict[str, Any]]:
    """The offer and, in the form of two parts, the session it comes with. Raises RequestError."""
    media_type, body = await _body_of(request)
    if media_type == _SDP:
        return _text(body), {}
    if media_type != "multipart/form-data":
        raise UnsupportedMediaType(media_type, wanted=f"{_SDP} or multipart/form-data")
    parts = _parts(request.headers["content-type"], body)
    if "sdp" not in parts:
        raise InvalidRequest("the form has no part `sdp`", param="sdp")
    return _text(parts["sdp"]), _session(parts.get("session", b"{}"))


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    head = f"content-type: {content_type}\r\n\r\n".encode("latin-1")
    form = BytesParser(policy=HTTP).parsebytes(head + body)
    parts = {}
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            parts[name] = content
    return parts


def _session(given: bytes) -> dict[str, Any]:
    try:
        return _session_decoder.decode(given)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"session is not a JSON object: {error}", param="session") from None


async def _body_of(request: Request) -> tuple[str, bytes]:
    """Media type and body. Raises PayloadTooLarge."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type, await body_of(request)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the offer is not UTF-8", param="sdp") from None
