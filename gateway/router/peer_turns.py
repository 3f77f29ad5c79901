"""Generations at peers: offered, judged by what comes of them, and hedged when they are late."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from gateway.core.generation import FinishReason, GenerationEnd, Refusal, TokenFrame
from gateway.core.hops import Admitted
from gateway.core.peer_errors import PeerError, PeerLost, PeerRefused
from gateway.core.retry_budget import MAX_LOST, hedges, retries
from gateway.core.route_choice import Reason
from gateway.peers.port import HandedTurn
from gateway.runtime.tasks import first_cause

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.generation import GenerationEvent
    from gateway.core.peer_view import PeerView
    from gateway.core.route_choice import Choice, Here
    from gateway.peers.port import PeerSites
    from gateway.router.way import Way

    Item = Admitted | GenerationEvent

_ANSWER_LIMIT_S = 1.0
"""A peer says at once whether it takes a turn; one that says nothing for so long is passed over."""
_MAX_CAUSE_CHARS = 200
"""Of what a peer says went wrong there."""


class _Racer:
    """A generation at one peer up to its first token, one of two that race for it."""

    def __init__(self, peer: PeerView, items: AsyncGenerator[Item, None]) -> None:
        self.peer = peer
        self.items = items
        self.opening: list[Item] = []
        """Up to the first token, which is last."""
        self.error: PeerError | None = None
        self.has_won = False

    @property
    def is_settled(self) -> bool:
        """Whether it has a token or has failed."""
        return self.has_won or self.error is not None

    async def run(self) -> None:
        """To the first token, or to the error that keeps the peer from it."""
        try:
            while isinstance(item := await anext(self.items), Admitted):
                self.opening.append(item)
        except PeerError as error:
            self.error = error
        else:
            self.opening.append(item)
            self.has_won = True


class PeerTurns:
    """What this site has others generate. Whoever calls has booked the turn at its peer."""

    def __init__(self, here: Here, peers: PeerSites, *, monotonic: Callable[[], float]) -> None:
        self._here = here
        self._peers = peers
        self._monotonic = monotonic
        self._hedges, self._retries = hedges(), retries()

    def count_turn(self) -> None:
        """One more turn of this site's own callers: second attempts are a part of all."""
        self._hedges.count_turn()
        self._retries.count_turn()

    def may_go_on(self, error: PeerError, way: Way) -> bool:
        """Whether yet another peer may be asked after this.

        Where a peer gave no answer it may be busy with the turn still, and so may the next: such
        second attempts are bounded. What was refused, or lost with its link, is nobody's work.
        """
        if way.num_lost >= MAX_LOST:
            return False
        if not isinstance(error, PeerLost) or error.is_over or way.delivered.has_begun:
            return True
        peer = self._peers.known.get(error.site)
        return (peer is None or peer.retries.may_retry) and self._retries.take()

    async def run(self, peer: PeerView, choice: Choice, way: Way) -> AsyncGenerator[Item, None]:
        """The rest of a generation, as `peer` makes it, or whom it is hedged with.

        Raises PeerError; what is known of the peers then includes why.
        """
        hedge_s = choice.hedge_after_s(way.request.turn_class)
        runner_up = choice.runner_up
        if hedge_s is None or runner_up is None or way.is_from_peer or way.delivered.has_begun:
            async with aclosing(self._at(peer, choice.estimate_s, choice, way)) as items:
                async for item in items:
                    yield item
            return
        winner = await self._race(peer, runner_up, hedge_s, choice, way)
        async with aclosing(winner.items) as items:
            for item in winner.opening:
                yield item
            async for item in items:
                yield item

    async def _race(
        self, peer: PeerView, runner_up: PeerView, hedge_s: float, choice: Choice, way: Way
    ) -> _Racer:
        """Who has the first token; the second peer is asked once the first is late."""
        asked_s = self._monotonic()
        racers = [_Racer(peer, self._at(peer, choice.estimate_s, choice, way))]
        with first_cause():
            async with asyncio.TaskGroup() as tasks:
                running = {tasks.create_task(racers[0].run())}
                await asyncio.wait(running, timeout=hedge_s)
                if not racers[0].is_settled and self._hedges.take():
                    racers.append(self._hedge(runner_up, choice, way))
                    running.add(tasks.create_task(racers[1].run()))
                while running and not any(one.has_won for one in racers):
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in running:
                    task.cancel()
        return self._settle(racers, choice, way, self._monotonic() - asked_s)

    def _settle(self, racers: list[_Racer], choice: Choice, way: Way, waited_s: float) -> _Racer:
        """The one with the first token; what the others' part was is kept. Raises PeerError."""
        winner = next((one for one in racers if one.has_won), racers[0])
        for loser in racers:
            if loser is winner:
                continue
            if loser.error is not None:
                way.fail(loser.peer.name, loser.error)
            elif loser is racers[0]:
                loser.peer.outrun(way.request.turn_class, choice.estimate_s, waited_s)
                self._peers.known.judge(loser.peer, self._monotonic())
        if winner.error is not None:
            raise winner.error
        return winner

    def _hedge(self, runner_up: PeerView, choice: Choice, way: Way) -> _Racer:
        """Ask a second peer, and say so on the trail."""
        now_s, request = self._monotonic(), way.request
        estimate_s = choice.estimate_at(runner_up)
        decision = way.trail.decisions[-1]
        way.trail.decisions.append(
            msgspec.structs.replace(
                decision,
                chosen=runner_up.name,
                reason=Reason.HEDGED,
                remaining_s=way.budget.remaining_s(now_s),
            )
        )
        runner_up.book(request.turn_class, len(request.prompt))
        return _Racer(runner_up, self._at(runner_up, estimate_s, choice, way))

    async def _at(
        self, peer: PeerView, estimate_s: float, choice: Choice, way: Way
    ) -> AsyncGenerator[Item, None]:
        """As one peer makes it; what becomes of it is what the peer is judged by."""
        request, asked_s = way.delivered.remaining_request(), self._monotonic()
        turn_class, was_certain = request.turn_class, choice.reason is not Reason.UNCERTAIN
        hops = way.hops.onward(self._here.name)
        handed = HandedTurn(request, hops, way.trail, is_last_resort=not was_certain)
        items = self._peers.generate(peer.name, handed)
        is_accepted = is_answered = False
        try:
            async with aclosing(items):
                yield await self._answer(peer, items)
                is_accepted = True
                async for item in items:
                    if isinstance(item, GenerationEnd):
                        self._check_end(item, peer, way)
                    elif not is_answered and isinstance(item, TokenFrame) and not request.resume:
                        now_s = self._monotonic()
                        peer.answered(turn_class, estimate_s, now_s - asked_s, now_s)
                    is_answered = True
                    yield item
        except PeerRefused:
            # What it took and gives back breaks its word more than what it did not take.
            is_broken_word = was_certain or is_accepted
            peer.refused(asked_s, self._monotonic(), was_certain=is_broken_word)
            raise
        except PeerLost as error:
            if not error.was_sent:
                peer.unbook(turn_class, len(request.prompt))
            if not error.is_over:
                peer.failed()
            raise
        finally:
            self._peers.known.judge(peer, self._monotonic())

    def _check_end(self, end: GenerationEnd, peer: PeerView, way: Way) -> None:
        """A peer has done its work. Raises PeerError for an end that need not be so elsewhere."""
        if end.reason is FinishReason.FAILED and end.refusal is not Refusal.INVALID_SCHEMA:
            peer.failed()
            raise PeerLost(peer.name, f"its engine failed: {end.error[:_MAX_CAUSE_CHARS]}")
        if end.reason is FinishReason.EXPIRED and way.budget.remaining_s(self._monotonic()) != 0.0:
            raise PeerRefused(peer.name, reason=end.refusal or "gave_up_early")
        peer.finished()

    async def _answer(self, peer: PeerView, items: AsyncGenerator[Item, None]) -> Item:
        """The first that the peer says of a turn. Raises PeerLost if that is nothing."""
        try:
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                return await anext(items)
        except TimeoutError:
            message = f"no answer within {_ANSWER_LIMIT_S:g} s"
            raise PeerLost(peer.name, message, is_over=False) from None
