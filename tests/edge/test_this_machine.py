"""A site without keys answers nobody but this machine, whatever a browser carries to it."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from gateway.core.budget import BudgetDefaults
from gateway.edge.desk import Desk
from gateway.edge.http_app import build_http_app
from tests.edge.fakes import Gate, Records, ScriptedRunner

CHAT = ("POST", "/v1/chat/completions")
MODELS = ("GET", "/v1/models")


def answer(
    asked: tuple[str, str], headers: dict[str, str], *, keyless: bool = True
) -> httpx.Response:
    desk = Desk(
        runner=ScriptedRunner(), gatekeeper=Gate(), sink=Records(), defaults=BudgetDefaults()
    )
    app = build_http_app(desk, readiness=lambda: True, answers_this_machine_only=keyless)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(*asked, headers=headers)

    return asyncio.run(send())


@pytest.mark.parametrize("asked", [CHAT, MODELS])
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example:8080"),
        ("host", "192.168.1.7:8080"),
        ("host", "[::1"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ],
)
def test_another_name_and_a_foreign_page_are_refused(
    asked: tuple[str, str], header: str, value: str
) -> None:
    refused = answer(asked, {header: value})
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert error["code"] == "host_not_allowed"
    assert f"the {header} header" in error["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "localhost:8080"},
        {"host": "127.99.0.3:80"},
        {"host": "[::1]:8080", "origin": "http://localhost:3000"},
    ],
)
def test_this_machine_is_answered(headers: dict[str, str]) -> None:
    assert answer(MODELS, headers).status_code == 200


def test_a_site_with_keys_is_asked_under_any_name() -> None:
    assert answer(MODELS, {"host": "edge-a.example"}, keyless=False).status_code == 200
