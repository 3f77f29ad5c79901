"""The one place where a turn changes hands.

A generation is given to the local engine, to a peer, or is shed, and its events come back to the
caller through the iterator it holds. When a peer refuses it or is lost in the middle, it goes on
elsewhere, from the last token that was passed on. What was decided, and how long the parts took,
goes on the turn's trail.
"""

from __future__ import annotations

import itertools
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from gateway.core.admission import Admission, AdmissionReason, admit, retry_after_s
from gateway.core.delivered import Delivered
from gateway.core.errors import (
    EngineFault,
    EngineUnavailable,
    InvalidSchema,
    PeerError,
    PeerRefused,
    SloUnattainable,
)
from gateway.core.generation import FinishReason, GenerationEnd, Refusal, TokenFrame
from gateway.core.hops import Admitted, Hops
from gateway.core.stages import Candidate, RouteDecision, Stage
from gateway.router.choice import NearestFirst, RouteAsk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.budget import Budget, TurnClass
    from gateway.core.generation import GenerationEvent, GenerationRequest
    from gateway.core.stages import TurnTrail
    from gateway.engine.port import TextEngine
    from gateway.peers.port import PeerSites
    from gateway.router.choice import Chooser

_NOTICEABLE_WAIT_S = 0.005
"""A consumer that holds an event longer than this shows up as egress, not as decode."""


@dataclass(slots=True)
class _Way:
    """A generation on its way: what it is, what of it is out, and where it cannot go."""

    request: GenerationRequest
    budget: Budget
    trail: TurnTrail
    hops: Hops
    delivered: Delivered
    excluded: dict[str, Candidate] = field(default_factory=dict)
    engine_error: EngineUnavailable | None = None

    @property
    def must_answer(self) -> bool:
        """Whether it is too late to shed: a tool has run, or tokens are out."""
        return self.request.must_answer or self.delivered.has_begun

    def arrive(self, path: tuple[str, ...]) -> None:
        """A site took it; `path` leads there from here."""
        trail = self.trail
        trail.site = path[-1]
        if trail.path[-len(path) :] != list(path):
            trail.path += path[1:] if trail.path[-1:] == [path[0]] else path

    def fail(self, site: str, error: PeerError | EngineUnavailable) -> None:
        """`site` did not do it, or not to the end."""
        reason, estimate_s = "lost", 0.0
        if isinstance(error, PeerRefused):
            reason, estimate_s = f"refused: {error.reason}", error.estimate_s
        elif isinstance(error, EngineUnavailable):
            self.engine_error = error
        self.excluded[site] = Candidate(site, estimate_s, 0.0, reason)
        self.trail.num_resumes += self.delivered.has_begun


class Router:
    """Routes generations of one site, its own and those of peers."""

    def __init__(
        self,
        *,
        site: str,
        engine: TextEngine,
        max_num_queued: int,
        peers: PeerSites | None = None,
        chooser: Chooser | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._engine = engine
        self._max_num_queued = max_num_queued
        self._peers = peers
        self._chooser = chooser or NearestFirst(site, peers)
        self._monotonic = monotonic
        self._running: dict[str, TurnTrail] = {}
        """By generation id: a request id is the caller's, and may be anyone's."""
        self._numbers = itertools.count(1)

    @property
    def max_context_tokens(self) -> int:
        """What the local engine can hold, prompt and answer together."""
        return self._engine.max_context_tokens

    def refuse_hopeless(self, turn_class: TurnClass, budget: Budget, trail: TurnTrail) -> None:
        """Shed a turn now if not even a prompt of one token could be answered in time.

        What was not rendered and tokenised costs nothing; under overload that is most turns.
        Raises SloUnattainable.
        """
        decision = self._choose(
            turn_class, 1, budget, Hops(), self._admission(turn_class, 1, budget), {}
        )
        if not decision.chosen:
            raise self._shed(decision, turn_class, budget, trail)

    async def generate(
        self,
        request: GenerationRequest,
        budget: Budget,
        trail: TurnTrail,
        *,
        must_answer: bool = False,
    ) -> AsyncGenerator[GenerationEvent, None]:
        """The generation's frames and its end (STOP or LENGTH).

        A turn that must be answered (a tool has run) is not shed, however late and full it is.
        Raises SloUnattainable when it is shed, now or in an engine's queue, InvalidSchema and
        EngineFault when the engine refused it, EngineUnavailable when there is no engine left.
        """
        request = msgspec.structs.replace(request, must_answer=must_answer)
        num_uncounted = len(request.prompt)
        async with aclosing(self.serve(request, budget, trail, Hops())) as items:
            async for item in items:
                if isinstance(item, Admitted):
                    # What an engine was given counts, used or not, and once.
                    trail.prompt_tokens += num_uncounted
                    num_uncounted = 0
                    continue
                if isinstance(item, GenerationEnd):
                    self._check_end(item, request, budget, trail)
                yield item

    async def serve(
        self, request: GenerationRequest, budget: Budget, trail: TurnTrail, hops: Hops
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """A generation as a peer gets it: `Admitted`, then frames and the engine's own end.

        When it has to go on elsewhere, `Admitted` comes again. Raises SloUnattainable before the
        first one, EngineUnavailable when nobody is left who could go on.
        """
        way = _Way(request, budget, trail, hops, Delivered(request))
        for site in hops.path:
            way.excluded[site] = Candidate(site, 0.0, 0.0, "on the path")
        while True:
            site = self._next_site(way)
            try:
                async with aclosing(self._at(site, way)) as items:
                    async for item in items:
                        fresh = self._pass_on(item, way)
                        if fresh is None:
                            continue
                        yielded_s = self._monotonic()
                        yield fresh
                        self._mark_wait(trail, yielded_s)
                return
            except (PeerError, EngineUnavailable) as error:
                way.fail(site, error)

    def stay(self, trail: TurnTrail) -> None:
        """The turn is answered at this site, with or without a generation."""
        trail.site = self._site
        if not trail.path or trail.path[-1] != self._site:
            trail.path.append(self._site)

    def count_resume(self, generation_id: str) -> None:
        """A running generation went on in another engine process."""
        trail = self._running.get(generation_id)
        if trail is not None:
            trail.num_resumes += 1

    def _next_site(self, way: _Way) -> str:
        """Where it goes now. Raises SloUnattainable, EngineUnavailable; the trail says why."""
        request, budget, trail = way.request, way.budget, way.trail
        here = None
        if way.engine_error is None:
            here = self._admission(
                request.turn_class, len(request.prompt), budget, must_answer=way.must_answer
            )
        decision = self._choose(
            request.turn_class, len(request.prompt), budget, way.hops, here, way.excluded
        )
        trail.clock.mark(Stage.ADMISSION, self._monotonic())
        if not decision.chosen:
            if way.engine_error is not None:
                raise way.engine_error
            raise self._shed(decision, request.turn_class, budget, trail)
        trail.decisions.append(decision)
        return decision.chosen

    def _at(self, site: str, way: _Way) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """The rest of the generation, as `site` makes it."""
        if site == self._site:
            return self._here(way)
        if self._peers is None:
            raise ValueError(f"{site} was chosen, but this site has no peers")
        request = msgspec.structs.replace(
            way.delivered.remaining_request(), must_answer=way.must_answer
        )
        return self._peers.generate(site, request, way.hops.onward(self._site), way.trail)

    async def _here(self, way: _Way) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        yield Admitted(())
        generation_id = f"{way.request.request_id}#{next(self._numbers)}"
        request = msgspec.structs.replace(
            way.delivered.remaining_request(),
            request_id=generation_id,
            must_answer=way.must_answer,
        )
        self._running[generation_id] = way.trail
        try:
            async with aclosing(self._engine.generate(request)) as events:
                async for event in events:
                    yield event
        finally:
            del self._running[generation_id]

    def _pass_on(
        self, item: Admitted | GenerationEvent, way: _Way
    ) -> Admitted | GenerationEvent | None:
        """What the caller gets of it."""
        if isinstance(item, Admitted):
            way.arrive((self._site, *item.path))
            return Admitted((self._site, *item.path))
        self._mark(item, way.trail)
        return way.delivered.take(item) if isinstance(item, TokenFrame) else item

    def _admission(
        self,
        turn_class: TurnClass,
        prompt_tokens: int,
        budget: Budget,
        *,
        must_answer: bool = False,
    ) -> Admission:
        return admit(
            self._engine.load(),
            turn_class=turn_class,
            prompt_tokens=prompt_tokens,
            remaining_s=budget.remaining_s(self._monotonic()),
            max_num_queued=self._max_num_queued,
            must_answer=must_answer,
        )

    def _choose(
        self,
        turn_class: TurnClass,
        prompt_tokens: int,
        budget: Budget,
        hops: Hops,
        here: Admission | None,
        excluded: dict[str, Candidate],
    ) -> RouteDecision:
        now_s = self._monotonic()
        return self._chooser.choose(
            RouteAsk(
                turn_class=turn_class,
                prompt_tokens=prompt_tokens,
                budget_s=budget.first_token_s,
                remaining_s=budget.remaining_s(now_s),
                here=here,
                here_age_s=max(0.0, now_s - self._engine.load().as_of_s),
                hops_left=hops.left,
                excluded=excluded,
            )
        )

    def _shed(
        self, decision: RouteDecision, turn_class: TurnClass, budget: Budget, trail: TurnTrail
    ) -> SloUnattainable:
        """The error of a turn that is not answered; its reason goes on the trail."""
        trail.decisions.append(decision)
        estimates_s = [one.predicted_s for one in decision.candidates if one.predicted_s > 0.0]
        return SloUnattainable(
            estimate_s=min(estimates_s, default=0.0),
            budget_s=budget.first_token_s,
            reason=decision.reason,
            retry_after_s=retry_after_s(self._engine.load(), budget.first_token_s, turn_class),
        )

    def _mark(self, event: GenerationEvent, trail: TurnTrail) -> None:
        now_s = self._monotonic()
        if isinstance(event, TokenFrame) and event.first_index == 0:
            parts = ((Stage.QUEUE, event.queue_s), (Stage.PREFILL, event.prefill_s))
            trail.clock.mark_parts(parts, Stage.LINK, now_s)
            return
        expired = isinstance(event, GenerationEnd) and event.reason is FinishReason.EXPIRED
        trail.clock.mark(Stage.QUEUE if expired else Stage.DECODE, now_s)

    def _mark_wait(self, trail: TurnTrail, since_s: float) -> None:
        """The consumer had the last event since then."""
        now_s = self._monotonic()
        if now_s - since_s > _NOTICEABLE_WAIT_S:
            trail.clock.mark(Stage.EGRESS, now_s)

    def _check_end(
        self, end: GenerationEnd, request: GenerationRequest, budget: Budget, trail: TurnTrail
    ) -> None:
        match end.reason:
            case FinishReason.STOP | FinishReason.LENGTH | FinishReason.CANCELLED:
                return
            case FinishReason.EXPIRED:
                raise self._expired(end, request, budget, trail)
            case FinishReason.FAILED if end.refusal is Refusal.INVALID_SCHEMA:
                raise InvalidSchema(end.error, param="response_format")
            case FinishReason.FAILED:
                raise EngineFault(end.error)

    def _expired(
        self, end: GenerationEnd, request: GenerationRequest, budget: Budget, trail: TurnTrail
    ) -> SloUnattainable:
        full = end.refusal is Refusal.QUEUE_FULL
        reason = AdmissionReason.QUEUE_FULL if full else AdmissionReason.EXPIRED_IN_QUEUE
        now_s = self._monotonic()
        missed = RouteDecision(
            chosen="",
            reason=reason,
            budget_s=budget.first_token_s,
            remaining_s=budget.remaining_s(now_s),
            candidates=(Candidate(trail.site, now_s - budget.started_s, 0.0, reason),),
        )
        return self._shed(missed, request.turn_class, budget, trail)
