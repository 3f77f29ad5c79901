"""`GET /v1/requests/{id}` on the public port shows a caller its own turns only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import msgspec

from gateway.core.budget import BudgetDefaults
from gateway.core.turn import Principal
from gateway.edge.desk import Desk
from gateway.edge.http_app import build_http_app
from gateway.edge.own_turns import own_turn_route
from gateway.telemetry.records import KeptTurn, RecordRing
from tests.edge.fakes import Gate, Records, ScriptedRunner
from tests.telemetry.turns import answered

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class TenantGate(Gate):
    """Takes the caller's word for its tenant."""

    def authenticate(self, authorization: str | None) -> Principal:
        return Principal(authorization or "", "key")


def application(ring: RecordRing) -> ASGIApp:
    desk = Desk(
        runner=ScriptedRunner(),
        gatekeeper=TenantGate(),
        sink=Records(),
        defaults=BudgetDefaults(),
    )
    return build_http_app(desk, readiness=lambda: True, routes=[own_turn_route(desk, ring)])


async def fetch(app: ASGIApp, tenant: str, request_id: str) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        return await client.get(
            f"/v1/requests/{request_id}", headers={"authorization": tenant} if tenant else {}
        )


def test_two_tenants_that_chose_the_same_id_each_see_their_own_turn() -> None:
    ring = RecordRing(10)
    for tenant, model in (("acme", "model-of-acme"), ("globex", "model-of-globex")):
        record = msgspec.structs.replace(
            answered(), tenant=tenant, model=model, request_id="order/7"
        )
        ring.keep(KeptTurn(record, started_ns=0))
    app = application(ring)

    for tenant in ("acme", "globex"):
        answer = asyncio.run(fetch(app, tenant, "order/7"))
        assert answer.status_code == 200
        assert answer.json()["model"] == f"model-of-{tenant}"
    stranger = asyncio.run(fetch(app, "initech", "order/7"))
    assert stranger.status_code == 404
    assert stranger.json()["error"]["code"] == "request_not_found"
