"""Turns handed on between sites over real links."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.errors import SloUnattainable
from gateway.core.generation import GenerationEnd, TokenFrame
from gateway.core.stages import ORIGIN_LOST, PEER_INTERFACE, Outcome, Stage
from gateway.wire.peer_frames import WINDOW_TOKENS
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import BUSY, IDLE, Site, answer_to, grid, request_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.generation import GenerationEvent

pytestmark = pytest.mark.flow


@on_uvloop
async def test_a_forwarded_answer_is_the_local_one() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a, b = sites["edge-a"], sites["edge-b"]
        local = await a.ask(request_of())
        a.engine.reported = BUSY
        forwarded = await a.ask(request_of())
    assert forwarded == local == answer_to(request_of())
    assert len(b.engine.requests) == 1
    trail = a.trails[1]
    assert (trail.site, trail.path) == ("edge-b", ["edge-a", "edge-b"])
    (decision,) = trail.decisions
    assert (decision.chosen, decision.reason) == ("edge-b", "sooner")
    here, there = decision.candidates
    assert (here.site, here.reason) == ("edge-a", "over_budget")
    assert (there.site, there.reason) == ("edge-b", "fits")
    assert there.report_age_s is not None
    assert there.predicted_s > 0.0
    (stages,) = trail.peer_stages
    assert stages.site == "edge-b"
    assert stages.durations_s().keys() <= set(Stage)
    assert Stage.PREFILL in trail.clock.durations_s()
    (part,) = b.parts
    assert (part.request_id, part.interface) == ("r", PEER_INTERFACE)
    assert (part.outcome, part.finish) == (Outcome.ANSWERED, "length")
    assert part.path == ("edge-a", "edge-b")
    assert part.completion_tokens == len(forwarded)
    assert part.within_budget
    assert not a.parts


@on_uvloop
async def test_a_conversation_goes_back_to_where_its_prompt_is_cached() -> None:
    async with grid("edge-a", "edge-b", "edge-c", "edge-d") as sites:
        a, others = sites["edge-a"], [sites[name] for name in ("edge-b", "edge-c", "edge-d")]
        a.engine.reported = BUSY
        a.router._random = lambda: 0.5  # nothing is explored
        said = tuple(range(640))
        for _ in range(8):
            await a.ask(request_of(prompt=said))
            said = (*said, *range(8))
        assert sorted(len(site.engine.requests) for site in others) == [0, 0, 8]
        a.engine.reported = IDLE
        await a.ask(request_of(prompt=tuple(range(900, 960))))
        assert len(a.engine.requests) == 1


@on_uvloop
async def test_reports_ride_on_answers_and_count_what_was_sent() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a = sites["edge-a"]
        a.engine.reported = BUSY
        await a.ask(request_of(prompt=(5, 6)))
        (figures,) = a.links.figures()
    assert (figures.num_offered, figures.num_accepted) == (1, 1)
    assert figures.report is not None
    assert figures.report.received[1] == (1, 2)
    assert figures.report_age_s is not None


@on_uvloop
async def test_a_peer_refuses_before_its_engine_is_asked_and_another_takes_it() -> None:
    async with grid("edge-a", "edge-b", "edge-c") as sites:
        a, b, c = (sites[name] for name in sorted(sites))
        for site in (a, b, c):
            site.engine.reported = BUSY
        with pytest.raises(SloUnattainable) as shed:
            await a.ask(request_of())
        assert [site.engine.requests for site in (a, b, c)] == [[], [], []]
        assert shed.value.reason == "nothing_fits"
        assert {one.site for one in a.trails[0].decisions[-1].candidates} == set(sites)
        c.engine.reported = IDLE
        await a.hears_of_room_at("edge-c")
        assert await a.ask(request_of()) == answer_to(request_of())
        assert (len(b.engine.requests), len(c.engine.requests)) == (0, 1)
    assert a.trails[1].path[0] == "edge-a"
    assert a.trails[1].path[-1] == "edge-c"


@on_uvloop
async def test_no_turn_goes_in_circles() -> None:
    async with grid("edge-a", "edge-b", "edge-c", "edge-d") as sites:
        for site in sites.values():
            site.engine.reported = BUSY
        with pytest.raises(SloUnattainable):
            await sites["edge-a"].ask(request_of())
        offered = {name: sum(f.num_offered for f in s.links.figures()) for name, s in sites.items()}
    # Each of the others may be offered it by edge-a and hand it on once to two, who may not. They
    # are, as far as nobody has heard yet that they have no room.
    assert 1 <= offered.pop("edge-a") <= 3
    assert max(offered.values()) <= 2


@on_uvloop
async def test_when_the_generating_site_goes_the_stream_goes_on_elsewhere() -> None:
    async with grid("edge-a", "edge-b", "edge-c") as sites, asyncio.TaskGroup() as tasks:
        a, b, c = (sites[name] for name in sorted(sites))
        a.engine.reported = BUSY
        b.engine.hold_at = c.engine.hold_at = 12
        asked = tasks.create_task(a.ask(request_of(40)))
        await until(lambda: b.engine.holding.is_set() or c.engine.holding.is_set())
        holder, other = (b, c) if b.engine.holding.is_set() else (c, b)
        other.engine.go.set()
        await _break_links_to(holder)
        assert await asked == answer_to(request_of(40))
        await until(lambda: holder.engine.num_running == 0)
    (trail,) = a.trails
    assert trail.num_resumes == 1
    assert trail.path[:2] == ["edge-a", holder.name]
    (part,) = holder.parts
    assert (part.outcome, part.error) == (Outcome.FAILED, ORIGIN_LOST)
    (resumed,) = a.engine.requests + other.engine.requests
    assert resumed.resume == tuple(answer_to(request_of(40))[:12])


async def _break_links_to(site: Site) -> None:
    """Without a word, as when the process is killed."""
    server = site.server._server
    assert server is not None
    await server.stop(0)


@on_uvloop
async def test_a_draining_site_gives_its_turns_back() -> None:
    async with grid("edge-a", "edge-b") as sites, asyncio.TaskGroup() as tasks:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.reported = BUSY
        b.engine.hold_at = 8
        asked = tasks.create_task(a.ask(request_of()))
        await b.engine.holding.wait()
        b.drain()
        await a.linked()
        await b.server.stop(grace_s=5.0)
        assert await asked == answer_to(request_of())
        assert b.engine.num_running == 0
    assert a.trails[0].path == ["edge-a", "edge-b", "edge-a"]
    (part,) = b.parts
    assert (part.outcome, part.error) == (Outcome.SHED, "draining")
    (stages,) = a.trails[0].peer_stages  # what it took there before it was given back
    assert stages.site == "edge-b"
    assert Stage.PREFILL in stages.durations_s()


@on_uvloop
async def test_closing_the_stream_frees_the_peers_slot() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.reported = BUSY
        b.engine.hold_at = 8
        events = a.stream(request_of())
        await anext(events)
        await b.engine.holding.wait()
        await events.aclose()
        await until(lambda: b.engine.num_running == 0)
        assert b.server.num_turns == 0
        assert [(part.outcome, part.error) for part in b.parts] == [
            (Outcome.ABANDONED, "cancelled")
        ]


@on_uvloop
async def test_a_slow_reader_stops_nobody_else_and_fills_no_memory() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.reported = BUSY
        slow = a.stream(request_of(5_000))
        await anext(slow)
        assert await a.ask(request_of(2_000, (9,))) == answer_to(request_of(2_000, (9,)))
        ahead = b.engine.num_tokens - 2_000
        assert ahead <= WINDOW_TOKENS + 2 * b.engine.frame_tokens
        num_tokens = 4
        async for event in slow:
            num_tokens += len(event.ids) if isinstance(event, TokenFrame) else 0
            if isinstance(event, GenerationEnd):
                assert event.completion_tokens == num_tokens == 5_000


@on_uvloop
async def test_a_stream_also_leaves_a_failing_engine_of_its_own_site() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a = sites["edge-a"]
        a.engine.fail_at = 8
        assert await a.ask(request_of()) == answer_to(request_of())
    assert a.trails[0].path == ["edge-a", "edge-b"]


@on_uvloop
async def test_wherever_a_stream_is_given_back_it_goes_on_exactly() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.reported = BUSY
        for at in range(4, 32, 4):  # what has not begun may still be shed
            b.engine.fail_at = at
            assert await a.ask(request_of()) == answer_to(request_of())
            assert a.trails[-1].num_resumes == 1


@on_uvloop
async def test_who_is_shed_is_told_of_other_sites() -> None:
    async with grid("edge-a", "edge-b", "edge-c") as sites:
        a = sites["edge-a"]
        for site in sites.values():
            site.engine.reported = BUSY
        with pytest.raises(SloUnattainable) as shed:
            await a.ask(request_of())
        assert sorted(shed.value.alternates) == ["http://edge-b", "http://edge-c"]
        assert shed.value.retry_after_s <= 60.0
        assert a.trails[0].site == "edge-a"
        a.engine.reported = msgspec.structs.replace(IDLE, prefill_s_per_token=10.0)
        sites["edge-b"].drain()
        await a.linked("edge-c")
        with pytest.raises(SloUnattainable) as useless:
            await a.ask(request_of())
    assert useless.value.retry_after_s == math.inf
    assert useless.value.alternates == ("http://edge-c",)


@on_uvloop
async def test_a_turn_stays_in_its_regions() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a, b = sites["edge-a"], sites["edge-b"]
        a.engine.reported = BUSY
        view = a.links.known.get("edge-b")
        assert view is not None
        with pytest.raises(SloUnattainable):
            await a.ask(request_of(), regions=("region-of-nobody",))
        assert {one.reason for one in a.trails[0].decisions[0].candidates} == {
            "place_not_allowed",
            "other_region",
        }
        # A peer that is wrong about where another stands is refused there.
        view.region = "region-of-nobody"
        with pytest.raises(SloUnattainable):
            await a.ask(request_of(), regions=("region-of-nobody",))
        assert b.engine.requests == []
    reasons = {one.site: one.reason for one in a.trails[1].decisions[-1].candidates}
    assert reasons["edge-b"] == "refused: place_not_allowed"


@on_uvloop
async def test_what_first_tokens_took_is_learned_here_and_of_peers() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a = sites["edge-a"]
        view = a.links.known.get("edge-b")
        assert view is not None
        a.engine.frame_tokens = sites["edge-b"].engine.frame_tokens = 1
        a.engine.first_after_s = sites["edge-b"].engine.first_after_s = 0.2
        await a.ask(request_of())
        assert a.router.here.residuals.p95_ratio[1] > 1.0
        assert view.residuals.p95_ratio[1] == 1.0
        a.engine.reported = BUSY
        await a.ask(request_of())
        assert view.residuals.p95_ratio[1] > 1.0


@on_uvloop
async def test_work_is_booked_before_the_peer_has_said_anything() -> None:
    async with grid("edge-a", "edge-b") as sites:
        a, b = sites["edge-a"], sites["edge-b"]
        view = a.links.known.get("edge-b")
        assert view is not None
        a.engine.reported = BUSY
        b.engine.hold_at = 0
        credit_s, events = view.credit_s[1], a.stream(request_of(prompt=tuple(range(100))))
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_first(events))
            await asyncio.sleep(0)
            assert view.credit_s[1] == pytest.approx(credit_s - 0.1)
            assert not first.done()
            b.engine.go.set()
        await events.aclose()


async def _first(events: AsyncGenerator[GenerationEvent, None]) -> GenerationEvent:
    return await anext(events)
