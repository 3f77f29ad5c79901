"""Asking a scripted server one thing, and what comes of it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.budget import Budget
from gateway.core.errors import (
    GatewayError,
)
from gateway.core.turn import (
    Message,
    Role,
    TextDelta,
    Turn,
)
from gateway.engine.upstream.chat_body import chat_body
from gateway.engine.upstream.http_post import Origin
from gateway.engine.upstream.server import UpstreamServer
from gateway.engine.upstream.target import UpstreamTarget
from tests.engine.raw_upstream import WAIT_S, raw_upstream

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.engine.upstream.answer import UpstreamAnswer
    from gateway.engine.upstream.chat_chunks import AnswerDelta
    from tests.engine.raw_upstream import Script

KEY = "sk-very-secret"


def turn(**fields: Any) -> Turn:
    asked = {"messages": (Message(Role.USER, "hi"),), "budget": Budget(0.0, None), **fields}
    return Turn(request_id="r", **asked)


def body_of(asked: Turn) -> bytes:
    return chat_body(asked, asked.messages, model="big", limit_field="max_tokens")


def target(port: int, **fields: Any) -> UpstreamTarget:
    origin = Origin.of(f"http://127.0.0.1:{port}/v1/")
    return UpstreamTarget(origin=origin, model="big", api_key=KEY, **fields)


class Heard:
    """A whole answer."""

    def __init__(self, answer: UpstreamAnswer, deltas: list[AnswerDelta]) -> None:
        self.deltas = deltas
        self.text = "".join(one.text for one in deltas if isinstance(one, TextDelta))
        self.finish, self.calls = answer.finish, answer.calls
        self.usage, self.model, self.path = answer.usage(8), answer.model, answer.path


async def hear(server: UpstreamServer, asked: Turn | None = None) -> Heard:
    with closing(await server.ask(body_of(asked or turn()), {"x-request-id": "r"})) as answer:
        return Heard(answer, [one async for one in answer.deltas()])


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60.0):
            await scenario

    asyncio.run(bounded())


def listen(script: Script, **fields: Any) -> Heard:
    """One answer of a server with this script."""
    heard: list[Heard] = []

    async def scenario() -> None:
        async with raw_upstream(script) as upstream:
            server = UpstreamServer(target(upstream.port, **fields))
            heard.append(await hear(server))
            server.close()

    run(scenario())
    return heard[0]


def fault(script: Script, **fields: Any) -> GatewayError:
    """The error that a server with this script leads to; it is then known to be idle again."""
    errors: list[GatewayError] = []

    async def scenario() -> None:
        async with raw_upstream(script) as upstream:
            server = UpstreamServer(target(upstream.port, **fields))
            with pytest.raises(GatewayError) as caught:
                await hear(server)
            errors.append(caught.value)
            await asyncio.wait_for(upstream.hung_up.wait(), WAIT_S)
            server.close()

    run(scenario())
    assert KEY not in str(errors[0])
    return errors[0]
