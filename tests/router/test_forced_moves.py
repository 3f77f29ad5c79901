"""Thousands of forced moves in virtual time: real routers over made-up engines and links.

Every few tokens the generation that runs is taken from where it runs: its link breaks, the site
gives it back, its engine ends, or an operator takes the site's capacity.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from random import Random
from typing import TYPE_CHECKING

import pytest

from gateway.core.budget import Budget
from gateway.core.errors import EngineUnavailable, GatewayError
from gateway.core.generation import (
    EngineLoad,
    FinishReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    TokenFrame,
)
from gateway.core.load_report import Credits
from gateway.core.peer_errors import PeerError, PeerLost, PeerRefused
from gateway.core.peer_view import PeerView, Trust
from gateway.core.peers import Peers
from gateway.core.route_choice import Here
from gateway.core.stages import StageClock, TurnTrail
from gateway.peers.reporter import LoadReporter
from gateway.router.router import Router
from tests.runtime.jumping_loop import JumpingLoop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.hops import Admitted
    from gateway.peers.port import HandedTurn

NUM_SITES = 8
TOKENS, FRAME_TOKENS = 64, 4
STEP_S, PREFILL_S, RTT_S = 0.003, 0.020, 0.010
MAX_ADDED_GAP_S = RTT_S + PREFILL_S + 0.050
VOCAB_SIZE = 32_000


def token_at(seed: int, index: int) -> int:
    return (seed * 7919 + index * 104_729) % VOCAB_SIZE


class Engine:
    """A token every step; now and then it ends, or the operator takes its site's capacity."""

    max_context_tokens = 4096

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.router: Router | None = None
        self.num_active = 0

    def load(self) -> EngineLoad:
        now_s = self._grid.now_s()
        return EngineLoad(now_s, 64, self.num_active, 1e-4, STEP_S, 32.0, 32.0)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.num_active += 1
        at, fate = len(request.resume), self._grid.fate(_turn_of(request))
        try:
            await asyncio.sleep(PREFILL_S)
            while at < request.max_tokens:
                await asyncio.sleep(STEP_S * FRAME_TOKENS)
                ids = [token_at(request.prompt[0], at + offset) for offset in range(FRAME_TOKENS)]
                yield TokenFrame(at, tuple(ids))
                at += len(ids)
                fate -= 1
                if not fate and self._grid.random.random() < 0.05:
                    raise EngineUnavailable("it ended")
                if not fate and self.router is not None:
                    self.router.move_away(1.0)
            yield GenerationEnd(FinishReason.LENGTH, len(request.prompt), at)
        finally:
            self.num_active -= 1


class Wires:
    """One site's links to all others; now and then one breaks, or its peer gives a turn back."""

    def __init__(self, grid: Grid, own: str, others: list[str]) -> None:
        self._grid = grid
        self._own = own
        self.known = Peers(PeerView(site, trust=Trust(silent_after_s=1e9)) for site in others)
        for view in self.known:
            view.timed(RTT_S, grid.now_s())

    def alternates(self, class_rank: int) -> tuple[str, ...]:
        return ()

    def hear_of(self, site: str) -> None:
        view, report = self.known.get(site), self._grid.reporters[site].report(self._own)
        assert view is not None
        assert report is not None
        view.take(report, self._grid.now_s())

    async def generate(
        self, site: str, turn: HandedTurn
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        grid, now_s = self._grid, self._grid.now_s()
        await asyncio.sleep(RTT_S)
        grid.reporters[site].receive(self._own, turn.request)
        trail = TurnTrail(turn.request.request_id, StageClock(now_s))
        hops, fate = turn.hops.received(), grid.fate(_turn_of(turn.request))
        budget = Budget(now_s, None)
        served = grid.routers[site].serve(turn.request, budget, trail, hops)
        try:
            async with aclosing(served) as items:
                async for item in items:
                    self.hear_of(site)
                    yield item
                    if isinstance(item, TokenFrame) and (fate := fate - 1) == 0:
                        raise grid.breach(site)
        except PeerError:
            raise
        except GatewayError as error:
            raise PeerRefused(site, reason=error.code) from None


class Grid:
    """All sites linked to each other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        self.random = Random(seed)
        self.now_s = loop.time
        names = [f"site-{number}" for number in range(NUM_SITES)]
        self.reporters: dict[str, LoadReporter] = {}
        self.routers: dict[str, Router] = {}
        self.gaps_s: list[float] = []
        self.num_fates: Counter[str] = Counter()
        self.num_moves = 0
        wires = {name: Wires(self, name, [one for one in names if one != name]) for name in names}
        for name in names:
            engine, here = Engine(self), Here(name, max_num_queued=64)
            self.reporters[name] = LoadReporter(
                engine.load, here=here, epoch=1, models=(), credits=Credits(), monotonic=self.now_s
            )
            engine.router = self.routers[name] = Router(
                here,
                engine,
                peers=wires[name],
                random=self.random.random,
                monotonic=self.now_s,
            )
        for name, own in wires.items():
            for other in names:
                if other != name:
                    own.hear_of(other)

    def fate(self, turn: str) -> int:
        """After so many frames something happens to the turn; 0: nothing more.

        Sites that lost a turn do not get it again: as long as something happens, one is left.
        """
        self.num_fates[turn] += 1
        return self.random.randint(1, 4) if self.num_fates[turn] < NUM_SITES - 1 else 0

    def breach(self, site: str) -> PeerLost | PeerRefused:
        if self.random.random() < 0.5:
            return PeerLost(site, "cut")
        return PeerRefused(site, reason="draining")

    async def call(self, name: str, seeds: range) -> None:
        """One caller after the other at one site, each of whom checks every token."""
        for seed in seeds:
            now_s = self.now_s()
            trail = TurnTrail(str(seed), StageClock(now_s))
            request = GenerationRequest(str(seed), (seed, 1, 2), TOKENS)
            got: list[int] = []
            came_s = num_before = 0.0
            events = self.routers[name].generate(request, Budget(now_s, None), trail)
            async with aclosing(events):
                async for event in events:
                    if not isinstance(event, TokenFrame):
                        continue
                    assert event.first_index == len(got)
                    if trail.num_resumes > num_before:
                        self.gaps_s.append(self.now_s() - came_s - STEP_S * len(event.ids))
                    got += event.ids
                    came_s, num_before = self.now_s(), trail.num_resumes
            assert got == [token_at(seed, index) for index in range(TOKENS)]
            self.num_moves += trail.num_resumes


def _turn_of(request: GenerationRequest) -> str:
    """The caller's name of it; an engine's has a number behind it."""
    return request.request_id.partition("#")[0]


async def move_again_and_again(num_moves: int) -> Grid:
    grid = Grid(asyncio.get_running_loop(), seed=7)
    seed = 0
    while grid.num_moves < num_moves:
        async with asyncio.TaskGroup() as callers:
            for name in grid.routers:
                callers.create_task(grid.call(name, range(seed, seed + 20)))
                seed += 20
    return grid


@pytest.mark.parametrize("num_moves", [2_000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_no_token_is_lost_doubled_or_altered_and_none_comes_late(num_moves: int) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        grid = runner.run(move_again_and_again(num_moves))
    gaps_s = sorted(grid.gaps_s)
    assert grid.num_moves >= num_moves
    assert gaps_s[int(0.99 * len(gaps_s))] <= MAX_ADDED_GAP_S
