"""The public HTTP port: which paths there are, and what is said on all others."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.core.errors import GatewayError, HostNotAllowed, UnknownModel
from gateway.core.turn import model_named
from gateway.edge.chat_http import ChatCompletions
from gateway.edge.console.pages import page_routes
from gateway.edge.deciding_headers import refuse_repeated
from gateway.edge.http_errors import error_body, error_headers, route_error_body
from gateway.edge.this_machine import check_this_machine
from gateway.wire.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.core.turn import ModelInfo
    from gateway.edge.desk import Desk
    from gateway.session.surviving import SurvivingSessions

CHAT_PATH: Final = "/v1/chat/completions"
_JSON = "application/json"


def build_http_app(
    desk: Desk,
    *,
    readiness: Callable[[], bool],
    max_body_bytes: int = 1 << 20,
    stall_limit_s: float = 30.0,
    routes: Sequence[BaseRoute] = (),
    answers_this_machine_only: bool = False,
    surviving: SurvivingSessions | None = None,
) -> ASGIApp:
    """The application; `readiness` is asked on every `/readyz`, `routes` come after our own.

    With `answers_this_machine_only`, requests in another host's name are refused.
    """
    models = _Models(desk)
    chat = ChatCompletions(
        desk, max_body_bytes=max_body_bytes, stall_limit_s=stall_limit_s, surviving=surviving
    )

    async def healthz(_: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type=_JSON)

    async def readyz(_: Request) -> Response:
        if readiness() and not desk.draining:
            return Response(b'{"status":"ready"}', media_type=_JSON)
        return Response(b'{"status":"not ready"}', 503, media_type=_JSON)

    app = Starlette(
        routes=[
            Route(CHAT_PATH, chat, methods=["POST"]),
            Route("/v1/models", models.list_all),
            Route("/v1/models/{model_id:path}", models.retrieve),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *page_routes("/", "/talk"),
            *routes,
        ],
        exception_handlers={HTTPException: answer_route_error, GatewayError: answer_gateway_error},
    )
    app.router.redirect_slashes = False

    async def chat_first(scope: Scope, receive: Receive, send: Send) -> None:
        """The hot path answers whatever happens: it needs neither routing nor error handlers."""
        is_chat = scope["path"] == CHAT_PATH and scope.get("method") == "POST"
        await (chat if is_chat else app)(scope, receive, send)

    return for_this_machine(chat_first) if answers_this_machine_only else chat_first


def for_this_machine(app: ASGIApp) -> ASGIApp:
    """`app`, but for requests in another host's name, which are refused (`this_machine`)."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_this_machine(scope["headers"])
        except HostNotAllowed as error:
            await _refusal(error)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return checked


async def answer_route_error(request: Request, error: Exception) -> Response:
    """Unknown paths and wrong methods, in the shape of every other error."""
    if not isinstance(error, HTTPException):
        raise error
    what = f"{request.method} {request.url.path}"
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            body = route_error_body(f"there is nothing at {what}", "unknown_url")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "")
            body = route_error_body(f"{what} is not served; try {allowed}", "method_not_allowed")
        case _:
            body = route_error_body(error.detail, "invalid_request")
    return Response(body, error.status_code, error.headers, _JSON)


async def answer_gateway_error(_: Request, error: Exception) -> Response:
    """A GatewayError that an ordinary Starlette endpoint raised."""
    if not isinstance(error, GatewayError):
        raise error
    return _refusal(error)


def _refusal(error: GatewayError) -> Response:
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(error_body(error), status_of(error).http, headers, _JSON)


class _ModelFacts(msgspec.Struct):
    """What the OpenAI API has no field for."""

    version: str
    digest: str
    precision: str
    max_context_tokens: int
    tools: str
    aliases: tuple[str, ...]


class _Model(msgspec.Struct):
    id: str
    firsthop: _ModelFacts
    object: str = "model"
    created: int = 0
    """The API wants a time; a bundle has a version and a digest instead."""
    owned_by: str = "firsthop"


class _ModelList(msgspec.Struct):
    data: list[_Model]
    object: str = "list"


class _Models:
    """`GET /v1/models` and `GET /v1/models/{id}`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list_all(self, request: Request) -> Response:
        """All served models, the default first."""
        self._authenticate(request)
        served = [_model(info) for info in self._desk.runner.models]
        return Response(msgspec.json.encode(_ModelList(served)), media_type=_JSON)

    async def retrieve(self, request: Request) -> Response:
        """One model, by its id or an alias. Raises UnknownModel."""
        self._authenticate(request)
        given = request.path_params["model_id"]
        served = self._desk.runner.models
        info = model_named(given, served)
        if info is None:
            names = (name for info in served for name in (info.model_id, *info.aliases))
            raise UnknownModel(given, tuple(names))
        return Response(msgspec.json.encode(_model(info)), media_type=_JSON)

    def _authenticate(self, request: Request) -> None:
        refuse_repeated(request.headers.keys())
        self._desk.gatekeeper.authenticate(request.headers.get("authorization"))


def _model(info: ModelInfo) -> _Model:
    facts = _ModelFacts(
        info.version,
        info.digest,
        info.precision,
        info.max_context_tokens,
        info.tools,
        info.aliases,
    )
    return _Model(info.model_id, facts)
