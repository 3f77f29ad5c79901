"""What the router makes of peers: bookings, blame, and turns that go on elsewhere."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from gateway.core.budget import Budget
from gateway.core.errors import InvalidSchema, SloUnattainable
from gateway.core.generation import (
    CLASS_RANK,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    Refusal,
    TokenFrame,
)
from gateway.core.hops import Admitted, Hops
from gateway.core.load_report import SiteState
from gateway.core.peer_errors import PeerError, PeerLost, PeerRefused
from gateway.core.peer_view import PeerView, Trust
from gateway.core.peers import Peers
from gateway.core.retry_budget import MAX_LOST
from gateway.core.route_choice import Here
from gateway.core.stages import StageClock, TurnTrail
from gateway.router.router import Router
from tests.core.grid_figures import peer
from tests.router.test_router import BUSY, Clock, ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.generation import GenerationEvent
    from gateway.peers.port import HandedTurn

REQUEST = GenerationRequest("r", (1, 2, 3), 16)
AGENT = CLASS_RANK[REQUEST.turn_class]
BLAMED_AT_ONCE = Trust(max_num_errors=1, max_num_refusals=1)
NEVER_SENT, CUT = PeerLost("b", "not linked", was_sent=False), PeerLost("b", "cut")
Step = Admitted | TokenFrame | GenerationEnd | PeerError | None


class ScriptedPeers:
    """Peers that do as `script` says; None: nothing more is said."""

    def __init__(self, views: list[PeerView], script: list[Step]) -> None:
        self.known = Peers(views)
        self._script = script
        self.asked: list[str] = []

    def alternates(self, class_rank: int) -> tuple[str, ...]:
        return ()

    async def generate(
        self, site: str, turn: HandedTurn
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        self.asked.append(site)
        for step in self._script:
            if step is None:
                await asyncio.Event().wait()
            elif isinstance(step, PeerLost):
                raise PeerLost(site, step.cause, was_sent=step.was_sent, is_over=step.is_over)
            elif isinstance(step, PeerError):
                raise step
            else:
                yield step


class Bench:
    """A busy site with one peer that has room, and one that takes nothing new."""

    def __init__(self, *script: Step) -> None:
        self.clock = Clock()
        self.clock.now_s = 0.0
        end = GenerationEnd(FinishReason.STOP, 3, 2)
        rest: list[tuple[float, GenerationEvent]] = [(50.0, TokenFrame(1, (8,))), (0.01, end)]
        self.engine = ScriptedEngine(self.clock, rest)
        self.engine.reported = BUSY
        self.view = peer("b", trust=BLAMED_AT_ONCE)
        self.router = Router(
            Here("edge-a", max_num_queued=8),
            self.engine,
            peers=ScriptedPeers([self.view, peer("c", state=SiteState.DRAINING)], list(script)),
            monotonic=self.clock,
        )
        self.trail = TurnTrail("r", StageClock(0.0))

    def ask(self) -> list[int]:
        async def collect() -> list[int]:
            events = self.router.generate(REQUEST, Budget(0.0, 0.5), self.trail)
            async with aclosing(events):
                frames = [event async for event in events if isinstance(event, TokenFrame)]
            return [token_id for frame in frames for token_id in frame.ids]

        return asyncio.run(collect())


@pytest.mark.parametrize(("lost", "is_booked"), [(NEVER_SENT, False), (CUT, True)])
def test_only_a_turn_that_never_left_is_taken_off_a_peers_account(
    lost: PeerLost, is_booked: bool
) -> None:
    bench = Bench(lost)
    before_s = bench.view.estimate_s(AGENT, 100)
    with pytest.raises(SloUnattainable):
        bench.ask()
    assert (bench.view.estimate_s(AGENT, 100) > before_s) == is_booked


def test_a_peer_that_says_nothing_to_an_offer_is_given_up_and_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.router.peer_turns._ANSWER_LIMIT_S", 0.01)
    bench = Bench(None)
    with pytest.raises(SloUnattainable) as shed:
        bench.ask()
    assert shed.value.reason == "nothing_fits"
    assert bench.view.ejected_until_s > bench.clock.now_s


@pytest.mark.parametrize(
    "last",
    [
        PeerRefused("b", reason="changed_its_mind"),
        PeerLost("b", "it sends no more tokens", is_over=False),
        GenerationEnd(FinishReason.FAILED, 3, 1, error="out of memory"),
        GenerationEnd(FinishReason.EXPIRED, 3, 1, refusal=Refusal.QUEUE_FULL),
    ],
)
def test_what_a_peer_took_and_does_not_finish_goes_on_and_the_peer_is_blamed(last: Step) -> None:
    bench = Bench(Admitted(("b",)), TokenFrame(0, (7,)), last)
    assert bench.ask() == [7, 8]
    assert bench.trail.num_resumes == 1
    assert bench.view.num_ejections == 1


def test_a_schema_that_a_peer_cannot_use_is_nobodys_fault_but_the_callers() -> None:
    refusal = Refusal.INVALID_SCHEMA
    bench = Bench(
        Admitted(("b",)), GenerationEnd(FinishReason.FAILED, 3, 0, error="no", refusal=refusal)
    )
    with pytest.raises(InvalidSchema):
        bench.ask()
    assert bench.view.num_ejections == 0


def test_a_prompt_is_paid_for_once_wherever_the_answer_goes_on() -> None:
    bench = Bench(Admitted(("b",)), TokenFrame(0, (7,)), CUT)
    margin_s = bench.router.here.residuals.margin_s(AGENT, 0.1)
    assert bench.ask() == [7, 8]
    assert bench.trail.prompt_tokens == len(REQUEST.prompt)
    assert bench.trail.num_resumes == 1
    (resumed,) = bench.engine.requests
    assert resumed.resume == (7,)
    # Of what a first token takes here, the rest of an answer says nothing.
    assert bench.router.here.residuals.margin_s(AGENT, 0.1) == margin_s


def test_a_turn_that_ends_its_peers_does_not_see_them_all() -> None:
    bench = Bench()
    peers = ScriptedPeers([peer(f"p{number}") for number in range(MAX_LOST + 3)], [CUT])
    router = Router(bench.router.here, bench.engine, peers=peers, monotonic=bench.clock)

    async def ask() -> None:
        async with aclosing(router.generate(REQUEST, Budget(0.0, 0.5), bench.trail)) as events:
            await anext(events)

    with pytest.raises(SloUnattainable):
        asyncio.run(ask())
    assert len(peers.asked) == len(set(peers.asked)) == MAX_LOST


def test_a_peers_turn_that_was_taken_stays_however_near_a_better_site_is() -> None:
    bench = Bench(Admitted(("b",)), TokenFrame(0, (7,)), GenerationEnd(FinishReason.STOP, 3, 1))
    peers = bench.router._peers
    assert isinstance(peers, ScriptedPeers)
    own, handed_on = (), ("edge-z",)

    async def path_of(came_by: tuple[str, ...]) -> tuple[str, ...]:
        trail, budget = TurnTrail("r", StageClock(0.0)), Budget(0.0, 60.0)
        hops = Hops(came_by, 1)
        async with aclosing(bench.router.serve(REQUEST, budget, trail, hops)) as items:
            first = await anext(items)
        assert isinstance(first, Admitted)
        return first.path

    assert asyncio.run(path_of(own)) == ("edge-a", "b")
    assert asyncio.run(path_of(handed_on)) == ("edge-a",)
    assert peers.asked == ["b"]
