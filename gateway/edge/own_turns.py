"""A caller's own recent turns on the public port: `GET /v1/requests/{id}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from gateway.core.errors import RecordNotFound
from gateway.edge.deciding_headers import refuse_repeated
from gateway.edge.turn_view import record_json

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.edge.desk import Desk
    from gateway.telemetry.records import RecordRing


def own_turn_route(desk: Desk, ring: RecordRing) -> Route:
    """The route. A turn of another tenant is not found, as if it had never been."""

    async def own_turn(request: Request) -> Response:
        refuse_repeated(request.headers.keys())
        principal = desk.gatekeeper.authenticate(request.headers.get("authorization"))
        request_id = request.path_params["request_id"]
        turn = ring.find(request_id, tenant=principal.tenant)
        if turn is None:
            raise RecordNotFound(request_id)
        return Response(record_json(turn), media_type="application/json")

    return Route("/v1/requests/{request_id:path}", own_turn)
