"""Turns that leave their site while they run, because its capacity is cut."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.core.budget import TurnClass
from gateway.core.generation import GenerationEnd
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import BUSY, IDLE, answer_to, grid, request_of, until

pytestmark = pytest.mark.flow


@on_uvloop
async def test_what_runs_here_goes_on_at_a_peer_with_room_token_for_token() -> None:
    async with grid("edge-a", "edge-b") as sites, asyncio.TaskGroup() as tasks:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.hold_at = 8
        asked = tasks.create_task(a.ask(request_of()))
        await a.engine.holding.wait()
        assert a.router.move_away(1.0) == 1
        assert await asked == answer_to(request_of())
        assert a.engine.num_running == 0
    (moved,) = b.engine.requests
    assert moved.resume == tuple(answer_to(request_of())[:8])
    (trail,) = a.trails
    assert trail.path == ["edge-a", "edge-b"]
    assert trail.num_resumes == 1
    assert [one.reason for one in trail.decisions] == ["fits", "capacity_cut"]


@on_uvloop
async def test_voice_moves_first_and_no_more_than_was_cut() -> None:
    async with grid("edge-a", "edge-b") as sites, asyncio.TaskGroup() as tasks:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.hold_at = 8
        requests = [
            msgspec.structs.replace(request_of(prompt=(number,)), turn_class=turn_class)
            for number, turn_class in enumerate(
                (TurnClass.BATCH, TurnClass.AGENT, TurnClass.VOICE, TurnClass.AGENT)
            )
        ]
        asked = [tasks.create_task(a.ask(request)) for request in requests]
        await until(lambda: a.engine.num_tokens == 32)
        assert a.router.move_away(0.25) == 1
        await asked[2]
        assert a.engine.num_running == 3
        a.engine.go.set()
        assert [await one for one in asked] == [answer_to(request) for request in requests]
    assert [one.turn_class for one in b.engine.requests] == [TurnClass.VOICE]


@on_uvloop
async def test_what_finds_no_room_elsewhere_stays() -> None:
    async with grid("edge-a", "edge-b") as sites, asyncio.TaskGroup() as tasks:
        a, b = sites["edge-a"], sites["edge-b"]
        b.engine.reported = BUSY
        await until(lambda: all(view.credit_s[1] <= 0.0 for view in a.links.known))
        a.engine.hold_at = 8
        asked = tasks.create_task(a.ask(request_of()))
        await a.engine.holding.wait()
        assert a.router.move_away(1.0) == 0
        a.engine.go.set()
        assert await asked == answer_to(request_of())
    assert b.engine.requests == []


@on_uvloop
async def test_a_turn_whose_new_place_refuses_it_after_all_comes_back() -> None:
    async with grid("edge-a", "edge-b") as sites, asyncio.TaskGroup() as tasks:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.hold_at = 8
        asked = tasks.create_task(a.ask(request_of()))
        await a.engine.holding.wait()
        b.engine.fail_at = 8
        assert a.router.move_away(1.0) == 1
        a.engine.go.set()
        assert await asked == answer_to(request_of())
        assert a.engine.num_running == b.engine.num_running == 0
    assert a.trails[0].path[-1] == "edge-a"


@on_uvloop
async def test_a_turn_that_ends_before_it_can_leave_leaves_nothing_booked() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a, b = sites["edge-a"], sites["edge-b"]
        view = a.links.known.get("edge-b")
        assert view is not None
        credit_s = list(view.credit_s)
        for num_events in (1, 9):  # in the middle, and with its end in the caller's hands
            events = a.stream(request_of())
            for _ in range(num_events):
                last = await anext(events)
            assert a.router.move_away(1.0) == 1
            assert view.credit_s != credit_s
            if isinstance(last, GenerationEnd):
                assert await anext(events, None) is None
            await events.aclose()
            assert view.credit_s == credit_s
        assert b.engine.requests == []


@on_uvloop
async def test_a_peers_turn_moves_on_too() -> None:
    async with grid("edge-a", "edge-b", "edge-c") as sites, asyncio.TaskGroup() as tasks:
        a, b, c = (sites[name] for name in sorted(sites))
        a.engine.reported = BUSY
        b.engine.hold_at = c.engine.hold_at = 8
        asked = tasks.create_task(a.ask(request_of()))
        await until(lambda: b.engine.holding.is_set() or c.engine.holding.is_set())
        holder, other = (b, c) if b.engine.holding.is_set() else (c, b)
        other.engine.go.set()
        a.engine.reported = IDLE
        assert holder.router.move_away(1.0) == 1
        assert await asked == answer_to(request_of())
        assert holder.engine.num_running == 0
    assert len(other.engine.requests) == 1


@on_uvloop
async def test_a_site_without_capacity_takes_nothing() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a, b = sites["edge-a"], sites["edge-b"]
        a.router.here.capacity_ratio = 0.0
        assert await a.ask(request_of()) == answer_to(request_of())
        assert (len(a.engine.requests), len(b.engine.requests)) == (0, 1)
        assert a.trails[0].decisions[0].candidates[0].reason == "no_capacity"
        view = b.links.known.get("edge-a")
        assert view is not None
        await until(lambda: view.report is not None and view.report.capacity_permille == 0)
        assert view.credit_s == [0.0, 0.0, 0.0]
        a.router.here.capacity_ratio = 1.0
        await a.ask(request_of())
        assert len(a.engine.requests) == 1


@on_uvloop
async def test_voice_leaves_once_when_its_tokens_come_too_far_apart() -> None:
    async with grid("edge-a", "edge-b") as sites, asyncio.TaskGroup() as tasks:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.hold_at = b.engine.hold_at = 8
        spoken = msgspec.structs.replace(request_of(), turn_class=TurnClass.VOICE)
        asked = [tasks.create_task(a.ask(request)) for request in (spoken, request_of())]
        await until(lambda: a.engine.num_tokens == 16)
        assert a.router.move_stuttering(0.2) == 0
        a.engine.reported = msgspec.structs.replace(IDLE, num_active=2, decode_step_s=0.3)
        b.engine.reported = msgspec.structs.replace(a.engine.reported, decode_step_s=0.25)
        await until(lambda: all(view.step_s > 0.2 for view in a.links.known))
        assert a.router.move_stuttering(0.2) == 0, "it would not be better off there"
        b.engine.reported = IDLE
        await until(lambda: all(view.step_s < 0.2 for view in a.links.known))
        assert a.router.move_stuttering(0.2) == 1
        b.engine.go.set()
        assert await asked[0] == answer_to(spoken)
        assert a.router.move_stuttering(0.2) == 0
        a.engine.go.set()
        assert await asked[1] == answer_to(request_of())
    assert [one.turn_class for one in b.engine.requests] == [TurnClass.VOICE]
    assert a.trails[0].decisions[-1].reason == "stutters"
