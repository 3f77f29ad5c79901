"""Turns that are asked for a second time: hedges against late peers, retries after silent ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.budget import TurnClass
from gateway.core.errors import SloUnattainable
from gateway.core.generation import FinishReason, GenerationEnd
from gateway.router import peer_turns
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import BUSY, Site, answer_to, grid, request_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.generation import GenerationEvent, GenerationRequest

pytestmark = pytest.mark.flow

_LOST = msgspec.structs.replace(BUSY, available_in_s=1e3)
"""No class of turn has a chance here."""


def spoken(prompt: tuple[int, ...] = (1, 2, 3)) -> GenerationRequest:
    return msgspec.structs.replace(request_of(prompt=prompt), turn_class=TurnClass.VOICE)


def save_up(site: Site, *, num_turns: int) -> None:
    """Let so many turns have gone by."""
    for _ in range(num_turns):
        site.router._elsewhere.count_turn()


async def first_asked(sites: list[Site]) -> tuple[Site, Site]:
    """The site that got the turn, and the other."""
    await until(lambda: any(site.engine.requests for site in sites))
    one, other = sites
    return (one, other) if one.engine.requests else (other, one)


@on_uvloop
async def test_a_late_voice_turn_is_hedged_and_the_loser_is_cancelled() -> None:
    async with grid("edge-a", "edge-b", "edge-c") as sites, asyncio.TaskGroup() as tasks:
        a, peers = sites["edge-a"], [sites["edge-b"], sites["edge-c"]]
        a.engine.reported = _LOST
        for site in peers:
            site.engine.hold_at = 0
        save_up(a, num_turns=50)
        long = spoken(prompt=tuple(range(100)))
        asked = tasks.create_task(a.ask(long))
        late, other = await first_asked(peers)
        other.engine.go.set()
        assert await asked == answer_to(long)
        await until(lambda: late.engine.num_running == 0)
    (trail,) = a.trails
    assert trail.path == ["edge-a", other.name]
    assert [one.chosen for one in trail.decisions] == [late.name, other.name]
    assert trail.decisions[1].reason == "hedged"
    view = a.links.known.get(late.name)
    assert view is not None
    assert view.residuals.p95_ratio[0] > 1.0


@on_uvloop
async def test_the_first_peer_may_still_win_the_race() -> None:
    async with grid("edge-a", "edge-b", "edge-c") as sites, asyncio.TaskGroup() as tasks:
        a, peers = sites["edge-a"], [sites["edge-b"], sites["edge-c"]]
        a.engine.reported = _LOST
        for site in peers:
            site.engine.hold_at = 0
        save_up(a, num_turns=50)
        asked = tasks.create_task(a.ask(spoken()))
        first, other = await first_asked(peers)
        await other.engine.holding.wait()
        first.engine.go.set()
        assert await asked == answer_to(spoken())
        await until(lambda: other.engine.num_running == 0)
    assert a.trails[0].path == ["edge-a", first.name]


@on_uvloop
async def test_a_hedge_outlives_the_peer_it_was_against() -> None:
    async with grid("edge-a", "edge-b", "edge-c") as sites, asyncio.TaskGroup() as tasks:
        a, peers = sites["edge-a"], [sites["edge-b"], sites["edge-c"]]
        a.engine.reported = _LOST
        for site in peers:
            site.engine.hold_at = 0
        save_up(a, num_turns=50)
        asked = tasks.create_task(a.ask(spoken()))
        first, other = await first_asked(peers)
        await other.engine.holding.wait()
        assert first.server._server is not None
        await first.server._server.stop(0)
        await a.linked(other.name)
        other.engine.go.set()
        assert await asked == answer_to(spoken())


@on_uvloop
async def test_a_peer_that_failed_too_often_is_said_to_be_ejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_turns, "_ANSWER_LIMIT_S", 0.02)
    async with grid("edge-a", "edge-b", "edge-c") as sites:
        a = sites["edge-a"]
        a.engine.reported = BUSY
        sites["edge-c"].drain()
        await a.linked("edge-b")
        monkeypatch.setattr(sites["edge-b"].router, "serve", _silence)
        for number in range(1, 4):
            with pytest.raises(SloUnattainable):
                await a.ask(request_of())
            assert _asked(a) == number
        figures = {one.site: one for one in a.links.figures()}
        assert figures["edge-b"].ejected_for_s is not None
        assert figures["edge-b"].num_ejections == 1
        assert figures["edge-c"].ejected_for_s is None


@on_uvloop
async def test_hedges_stay_within_their_share_and_are_for_voice() -> None:
    async with grid("edge-a", "edge-b", "edge-c") as sites, asyncio.TaskGroup() as tasks:
        a, peers = sites["edge-a"], [sites["edge-b"], sites["edge-c"]]
        a.engine.reported = _LOST
        for site in peers:
            site.engine.first_after_s = 0.2
        assert await a.ask(spoken()) == answer_to(spoken())
        save_up(a, num_turns=50)
        written = tasks.create_task(a.ask(request_of()))
        await written
        assert sum(len(site.engine.requests) for site in peers) == 2


@on_uvloop
async def test_few_turns_are_sent_again_after_a_peer_that_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_turns, "_ANSWER_LIMIT_S", 0.02)
    async with grid("edge-a", "edge-b", "edge-c") as sites:
        a, peers = sites["edge-a"], [sites["edge-b"], sites["edge-c"]]
        a.engine.reported = BUSY
        for site in peers:
            monkeypatch.setattr(site.router, "serve", _silence)
        with pytest.raises(SloUnattainable):
            await a.ask(request_of())
        assert _asked(a) == 1, "nothing was saved up for second attempts"
        save_up(a, num_turns=10)
        with pytest.raises(SloUnattainable):
            await a.ask(request_of())
        assert _asked(a) == 3


async def _silence(*_: object, **__: object) -> AsyncGenerator[GenerationEvent, None]:
    """Neither taken nor refused."""
    await asyncio.Event().wait()
    yield GenerationEnd(FinishReason.STOP, 0, 0)


def _asked(site: Site) -> int:
    return sum(figures.num_offered for figures in site.links.figures())
