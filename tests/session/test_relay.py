"""Turns relayed to a real socket on which a scripted server answers."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.budget import Budget, TurnClass
from gateway.core.errors import (
    SiteNotAllowed,
    SloUnattainable,
    UnknownModel,
    UnsupportedTools,
    UpstreamUnavailable,
)
from gateway.core.stages import Stage, StageClock, TurnTrail
from gateway.core.turn import (
    Message,
    ModelInfo,
    Role,
    TextDelta,
    Turn,
    TurnEnd,
    TurnEvent,
    TurnFinish,
    Usage,
)
from gateway.engine.upstream.http_post import Origin
from gateway.engine.upstream.server import UpstreamServer
from gateway.engine.upstream.target import UpstreamTarget
from gateway.session.relay import Relay
from tests.engine.raw_upstream import STREAM_HEAD, USAGE, WAIT_S, Call, delta, raw_upstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.engine.raw_upstream import RawUpstream, Script

INFO = ModelInfo("big", "", "", "", 0, "any", ("gpt-4o*",))


class Bench:
    """A relay to one scripted server."""

    def __init__(self, upstream: RawUpstream, max_concurrent: int) -> None:
        origin = Origin.of(f"http://127.0.0.1:{upstream.port}/v1")
        self.upstream = upstream
        self.server = UpstreamServer(
            UpstreamTarget(origin=origin, model="big", max_concurrent=max_concurrent)
        )
        self.relay = Relay(self.server, info=INFO, site="edge-a", tier="core", max_num_queued=1)
        self.trail = self.new_trail()

    def new_trail(self) -> TurnTrail:
        return TurnTrail("r", StageClock(time.monotonic()))

    async def run(self, asked: Turn) -> list[TurnEvent]:
        async with aclosing(self.relay.run(asked, self.trail)) as events:
            return [event async for event in events]


def turn(*, budget_s: float | None = None, **fields: Any) -> Turn:
    messages = (Message(Role.USER, "hello"),)
    budget = Budget(time.monotonic(), budget_s)
    return Turn(request_id="r", messages=messages, budget=budget, **fields)


def with_relay(
    script: Script, check: Callable[[Bench], Awaitable[None]], *, max_concurrent: int = 4
) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60.0), raw_upstream(script) as upstream:
            bench = Bench(upstream, max_concurrent)
            await check(bench)
            assert bench.server.load().num_active == 0
            bench.server.close()

    asyncio.run(scenario())


async def hello(call: Call) -> None:
    await call.stream(delta("Hel"), delta("lo"), delta(finish="length"), USAGE)


def test_a_turn_is_answered_and_its_trail_says_by_whom() -> None:
    async def check(bench: Bench) -> None:
        events = await bench.run(turn(budget_s=5.0, model="gpt-4o-mini"))
        end = TurnEnd(TurnFinish.LENGTH, Usage(11, 5, 4))
        assert events == [TextDelta("Hel"), TextDelta("lo"), end]
        trail = bench.trail
        assert (trail.site, trail.path, trail.model) == ("core", ["edge-a", "core"], "big-1")
        assert (trail.prompt_tokens, trail.completion_tokens, trail.cached_tokens) == (11, 5, 4)
        assert {Stage.PROMPT, Stage.UPSTREAM} <= trail.clock.durations_s().keys()
        assert [(one.chosen, one.reason) for one in trail.decisions] == [("core", "fits")]
        head = bench.upstream.calls[0].head
        assert "x-firsthop-path: edge-a\r\n" in head
        budget_ms = float(head.partition("x-slo-ttft-ms: ")[2].partition("\r\n")[0])
        assert 0.0 < budget_ms < 5000.0

    with_relay(hello, check)


def test_a_key_that_does_not_name_the_server_sends_it_nothing() -> None:
    async def check(bench: Bench) -> None:
        bench.trail.allowed_sites = ("edge-a",)
        with pytest.raises(SiteNotAllowed):
            await bench.run(turn())
        assert bench.upstream.calls == []
        bench.trail.allowed_sites = ("edge-b", "core")
        assert await bench.run(turn())

    with_relay(hello, check)


def test_sites_behind_the_server_appear_on_the_path() -> None:
    async def script(call: Call) -> None:
        await call.say(STREAM_HEAD[:-2] + b"x-firsthop-path: edge-a,hub,core-b\r\n\r\n")
        await call.event(delta("x", "stop"))
        await call.say(b"0\r\n\r\n")

    async def check(bench: Bench) -> None:
        await bench.run(turn())
        assert (bench.trail.site, bench.trail.path) == ("core-b", ["edge-a", "hub", "core-b"])

    with_relay(script, check)


def test_a_server_of_many_names_is_called_by_its_own() -> None:
    names = (f"m{number}" for number in range(100))

    async def script(call: Call) -> None:
        await call.stream({**delta("x", "stop"), "model": next(names)})

    async def check(bench: Bench) -> None:
        seen = set()
        for _ in range(30):
            await bench.run(turn())
            seen.add(bench.trail.model)
        assert len(seen) == 16
        assert bench.trail.model == "big"

    with_relay(script, check)


def test_no_more_wait_for_a_place_than_may() -> None:
    async def check(bench: Bench) -> None:
        assert await bench.server.take_place(TurnClass.AGENT, None)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(bench.run(turn()))
            await asyncio.sleep(0)
            assert bench.server.num_ahead(TurnClass.AGENT) == 1
            bench.trail = bench.new_trail()
            assert await _shed(bench, turn()) == "queue_full"
            bench.server.give_back_place()
        assert isinstance(waiting.result()[-1], TurnEnd)

    with_relay(hello, check, max_concurrent=1)


async def _shed(bench: Bench, asked: Turn) -> str:
    with pytest.raises(SloUnattainable) as caught:
        await bench.run(asked)
    return caught.value.reason


def test_a_place_that_comes_too_late_sheds_the_turn() -> None:
    async def check(bench: Bench) -> None:
        assert await bench.server.take_place(TurnClass.AGENT, None)
        # An answer is taken to last a second, so the turn is let in to wait, for too long.
        assert await _shed(bench, turn(budget_s=1.2)) == "expired_in_queue"
        assert bench.trail.decisions[-1].chosen == ""
        bench.server.give_back_place()

    with_relay(hello, check, max_concurrent=1)


def test_a_server_known_to_be_too_slow_is_not_asked() -> None:
    async def script(call: Call) -> None:
        await asyncio.sleep(0.2)
        await hello(call)

    async def check(bench: Bench) -> None:
        await bench.run(turn())
        assert await _shed(bench, turn(budget_s=0.1)) == "estimate_over_budget"
        assert len(bench.upstream.calls) == 1

    with_relay(script, check)


def test_leaving_frees_the_place_and_hangs_up() -> None:
    async def script(call: Call) -> None:
        await call.say(STREAM_HEAD)
        while True:
            await call.event(delta("more "))

    async def check(bench: Bench) -> None:
        async with aclosing(bench.relay.run(turn(), bench.trail)) as events:
            async for _ in events:
                break
        await asyncio.wait_for(bench.upstream.hung_up.wait(), WAIT_S)
        assert bench.trail.completion_tokens > 0

    with_relay(script, check)


def test_a_failure_frees_the_place() -> None:
    async def script(call: Call) -> None:
        call.writer.close()

    async def check(bench: Bench) -> None:
        with pytest.raises(UpstreamUnavailable):
            await bench.run(turn())

    with_relay(script, check)


@pytest.mark.parametrize(
    ("fields", "error"),
    [({"model": "other"}, UnknownModel), ({"server_tools": True}, UnsupportedTools)],
)
def test_what_the_server_cannot_be_asked_is_refused(
    fields: dict[str, Any], error: type[Exception]
) -> None:
    async def check(bench: Bench) -> None:
        with pytest.raises(error):
            await bench.run(turn(**fields))
        assert not bench.upstream.calls

    with_relay(hello, check)
