"""The one place where a turn changes hands.

A generation is given to the local engine, to a peer, or is shed, and its events come back to the
caller through the iterator it holds. When a peer refuses it or is lost in the middle, it goes on
elsewhere, from the last token that was passed on. What was decided, and how long the parts took,
goes on the turn's trail; how estimates turned out goes to what the next choice is made from.
"""

from __future__ import annotations

import random as chance
import time
from contextlib import aclosing
from math import ceil, inf
from typing import TYPE_CHECKING

import msgspec

from gateway.core.admission import AdmissionReason, retry_after_s
from gateway.core.budget import TurnClass
from gateway.core.decision_record import choose_on_record
from gateway.core.delivered import Delivered
from gateway.core.errors import EngineFault, EngineUnavailable, InvalidSchema, SloUnattainable
from gateway.core.generation import (
    CLASS_RANK,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    Refusal,
    TokenFrame,
)
from gateway.core.hops import Admitted, Hops
from gateway.core.peer_errors import PeerError
from gateway.core.prompt_homes import PromptHomes
from gateway.core.route_choice import Reason, Verdict
from gateway.core.routing import Rules, choose, refusal
from gateway.core.stages import Candidate, RouteDecision, Stage
from gateway.peers.port import NoPeers
from gateway.router.local_turns import LocalTurns, TurnLeaves
from gateway.router.peer_turns import PeerTurns
from gateway.router.way import Way

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.budget import Budget
    from gateway.core.decision_record import DecisionSink
    from gateway.core.generation import Constraint, EngineLoad, GenerationEvent
    from gateway.core.route_choice import Ask, Choice, Here
    from gateway.core.stages import TurnTrail
    from gateway.engine.port import TextEngine
    from gateway.peers.port import PeerSites

_DECODE, _EGRESS = Stage.DECODE, Stage.EGRESS  # looked up once: they are marked for every frame
_NOTICEABLE_WAIT_S = 0.005
"""A consumer that holds an event longer than this shows up as egress, not as decode."""


class Router:
    """Routes generations of one site, its own and those of peers.

    `model` is the key of what the engine runs (`core.load_report`); empty: any peer's will do.
    """

    def __init__(
        self,
        here: Here,
        engine: TextEngine,
        *,
        model: bytes = b"",
        peers: PeerSites | None = None,
        rules: Rules | None = None,
        random: Callable[[], float] = chance.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.here = here
        self._engine = engine
        self._model = model
        self._peers = peers or NoPeers()
        self._rules = rules or Rules()
        self._random = random
        self._monotonic = monotonic
        self.evidence: DecisionSink | None = None
        """Is given decisions with all they were made from."""
        self._homes = PromptHomes()
        self._local = LocalTurns(here, engine, monotonic=monotonic)
        self._elsewhere = PeerTurns(here, self._peers, monotonic=monotonic)

    @property
    def max_context_tokens(self) -> int:
        """What the local engine can hold, prompt and answer together."""
        return self._engine.max_context_tokens

    def refuse_hopeless(self, turn_class: TurnClass, budget: Budget, trail: TurnTrail) -> None:
        """Shed a turn now if not even a prompt of one token could be answered in time anywhere.

        What was not rendered and tokenised costs nothing; under overload that is most turns.
        Raises SloUnattainable.
        """
        least = GenerationRequest(trail.request_id, (0,), 1, turn_class=turn_class)
        way = Way(least, budget, trail, Hops(), Delivered(least))
        choice, ask = self._choose(way, is_trial=True)
        if choice.verdict is Verdict.SHED:
            decision = way.decision(choice, ask, self._monotonic())
            raise self._shed(decision, choice.estimate_s, least, budget, trail)

    async def generate(
        self, request: GenerationRequest, budget: Budget, trail: TurnTrail
    ) -> AsyncGenerator[GenerationEvent, None]:
        """The generation's frames and its end (STOP or LENGTH).

        Raises SloUnattainable when it is shed, now or in an engine's queue, InvalidSchema and
        EngineFault when the engine refused it, EngineUnavailable when there is no engine left.
        """
        self._elsewhere.count_turn()
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
        self,
        request: GenerationRequest,
        budget: Budget,
        trail: TurnTrail,
        hops: Hops,
        *,
        is_last_resort: bool = False,
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """A generation as a peer gets it: `Admitted`, then frames and the engine's own end.

        When it has to go on elsewhere, `Admitted` comes again. Raises SloUnattainable before the
        first one, EngineUnavailable when nobody is left who could go on.
        """
        way = Way(request, budget, trail, hops, Delivered(request), is_last_resort)
        for site in hops.path:
            way.excluded[site] = Candidate(site, 0.0, 0.0, "on the path")
        while True:
            choice = self._next(way)
            try:
                async with aclosing(self._at(choice, way)) as items:
                    async for item in items:
                        fresh = self._pass_on(item, way)
                        if fresh is None:
                            continue
                        yielded_s = self._monotonic()
                        yield fresh
                        self._mark_wait(trail, yielded_s)
                return
            except TurnLeaves:
                trail.num_resumes += way.delivered.has_begun
            except EngineUnavailable as error:
                way.fail(self.here.name, error)
            except PeerError as error:
                way.fail(error.site, error)
                way.may_retry = self._elsewhere.may_go_on(error, way)

    def stay(self, trail: TurnTrail) -> None:
        """The turn is answered at this site, with or without a generation."""
        trail.site = self.here.name
        if not trail.path or trail.path[-1] != self.here.name:
            trail.path.append(self.here.name)

    def count_resume(self, generation_id: str) -> None:
        """A running generation went on in another engine process."""
        self._local.count_resume(generation_id)

    def move_away(self, share: float) -> int:
        """Have this share of what runs here go on at peers with room, voice first; how many do.

        What finds no room stays, as slow as the site has become.
        """
        turns = self._local.in_order_of_service()
        num_wanted, num_moved = ceil(share * len(turns)), 0
        for turn in turns:
            if num_moved == num_wanted:
                break
            choice = self._away(turn.way, Reason.CAPACITY_CUT)
            if choice is not None:
                turn.leave(choice)
                num_moved += 1
        return num_moved

    def move_stuttering(self, max_token_s: float) -> int:
        """Have voice go on, once, where its tokens come often enough; how many turns do.

        A turn that is spoken needs a token every `max_token_s`.
        """
        if self._engine.load().decode_step_s <= max_token_s:
            return 0
        num_moved = 0
        for turn in self._local.in_order_of_service():
            way = turn.way
            if way.request.turn_class is TurnClass.VOICE and not way.has_moved:
                choice = self._away(way, Reason.STUTTERS, max_token_s)
                if choice is not None:
                    turn.leave(choice)
                    num_moved += 1
        return num_moved

    def _away(self, way: Way, reason: Reason, max_token_s: float = inf) -> Choice | None:
        """A peer for a turn that runs here, booked, or None; the trail says why."""
        now_s = self._monotonic()
        ask = self._ask(way, now_s)
        ask = ask._replace(not_at=(*ask.not_at, self.here.name), has_begun=False)
        choice = choose(
            ask,
            self._engine.load(),
            self.here,
            self._peers.known,
            now_s=now_s,
            random=self._random,
            rules=self._rules,
        )
        if choice.peer is None or choice.peer.step_s > max_token_s:
            return None
        decision = way.decision(choice, ask, now_s)
        way.trail.decisions.append(msgspec.structs.replace(decision, reason=reason))
        choice.peer.book(way.request.turn_class, len(way.request.prompt))
        return choice

    def _next(self, way: Way) -> Choice:
        """Where it goes now, and booked there; the trail says why.

        Raises SloUnattainable, EngineUnavailable.
        """
        if (choice := way.next_choice) is not None:
            way.next_choice = None
            return choice
        choice, ask = self._choose(way)
        now_s = self._monotonic()
        way.trail.clock.mark(Stage.ADMISSION, now_s)
        if choice.verdict is Verdict.SHED:
            if way.engine_error is not None:
                raise way.engine_error
            decision = way.decision(choice, ask, now_s)
            raise self._shed(decision, choice.estimate_s, way.request, way.budget, way.trail)
        if not way.is_from_peer:  # whose own site keeps the record
            way.trail.decisions.append(way.decision(choice, ask, now_s))
        if choice.peer is not None:
            choice.peer.book(way.request.turn_class, len(way.request.prompt))
        return choice

    def _choose(self, way: Way, *, is_trial: bool = False) -> tuple[Choice, Ask]:
        now_s, load = self._monotonic(), self._engine.load()
        ask, refused = self._ask(way, now_s), None
        if way.is_from_peer:
            # Taken or not by what is exactly known of this site; what is not taken may go on to
            # one that the peer does not know.
            refused = refusal(ask, load, self.here, is_last_resort=way.is_last_resort)
            if refused is None:
                ask = ask._replace(may_forward=False)
            else:
                ask = ask._replace(not_at=(*ask.not_at, self.here.name))
        choice = self._decide(way.request.request_id, ask, load, now_s, is_trial=is_trial)
        if refused is not None:
            choice.bar = refused
            choice.reason = refused if choice.verdict is Verdict.SHED else choice.reason
        return choice, ask

    def _decide(
        self, request_id: str, ask: Ask, load: EngineLoad, now_s: float, *, is_trial: bool
    ) -> Choice:
        """Choose; with what it was made from kept, if somebody wants to. Trials are, if they end
        the turn."""
        known, evidence = self._peers.known, self.evidence
        random, rules = self._random, self._rules
        if evidence is None or not evidence.wants(request_id):
            return choose(ask, load, self.here, known, now_s=now_s, random=random, rules=rules)
        choice, record = choose_on_record(
            request_id, ask, load, self.here, known, now_s=now_s, random=random, rules=rules
        )
        if not is_trial or choice.verdict is Verdict.SHED:
            evidence.record(record)
        return choice

    def _ask(self, way: Way, now_s: float) -> Ask:
        """What is to be decided, with where the prompt's beginning is likely cached."""
        ask, here = way.ask(self._model, now_s), self.here.name
        num_tokens, sites = self._homes.of(way.request.prompt)
        if not num_tokens:
            return ask
        home = next((site for site in sites if site != here), "")
        return ask._replace(
            cached_tokens=num_tokens if here in sites else 0, home=home, home_tokens=num_tokens
        )

    def _at(self, choice: Choice, way: Way) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """The rest of the generation, as the chosen site makes it."""
        peer = choice.peer
        if peer is None:
            return self._local.run(choice, way)
        return self._elsewhere.run(peer, choice, way)

    def _pass_on(
        self, item: Admitted | GenerationEvent, way: Way
    ) -> Admitted | GenerationEvent | None:
        """What the caller gets of it."""
        if isinstance(item, Admitted):
            path = (self.here.name, *item.path)
            way.arrive(path)
            self._homes.add(way.request.prompt, path[-1])
            return Admitted(path)
        self._mark(item, way.trail)
        return way.delivered.take(item) if isinstance(item, TokenFrame) else item

    def _shed(
        self,
        decision: RouteDecision,
        estimate_s: float,
        request: GenerationRequest,
        budget: Budget,
        trail: TurnTrail,
    ) -> SloUnattainable:
        """The error of a turn that is not answered; its reason goes on the trail."""
        trail.decisions.append(decision)
        trail.site = trail.site or self.here.name
        return SloUnattainable(
            estimate_s=estimate_s,
            budget_s=budget.first_token_s,
            reason=decision.reason,
            retry_after_s=retry_after_s(
                self._engine.load(), budget.first_token_s, request.turn_class, len(request.prompt)
            ),
            alternates=self._peers.alternates(CLASS_RANK[request.turn_class]),
        )

    def _mark(self, event: GenerationEvent, trail: TurnTrail) -> None:
        now_s = self._monotonic()
        if isinstance(event, TokenFrame) and event.first_index == 0:
            parts = ((Stage.QUEUE, event.queue_s), (Stage.PREFILL, event.prefill_s))
            trail.clock.mark_parts(parts, Stage.LINK, now_s)
            return
        expired = isinstance(event, GenerationEnd) and event.reason is FinishReason.EXPIRED
        trail.clock.mark(Stage.QUEUE if expired else _DECODE, now_s)

    def _mark_wait(self, trail: TurnTrail, since_s: float) -> None:
        """The consumer had the last event since then."""
        now_s = self._monotonic()
        if now_s - since_s > _NOTICEABLE_WAIT_S:
            trail.clock.mark(_EGRESS, now_s)

    def _check_end(
        self, end: GenerationEnd, request: GenerationRequest, budget: Budget, trail: TurnTrail
    ) -> None:
        match end.reason:
            case FinishReason.STOP | FinishReason.LENGTH | FinishReason.CANCELLED:
                return
            case FinishReason.EXPIRED:
                raise self._expired(end, request, budget, trail)
            case FinishReason.FAILED if end.refusal is Refusal.INVALID_SCHEMA:
                raise _invalid_schema(end.error, request.constraint)
            case FinishReason.FAILED:
                raise EngineFault(end.error)

    def _expired(
        self, end: GenerationEnd, request: GenerationRequest, budget: Budget, trail: TurnTrail
    ) -> SloUnattainable:
        full = end.refusal is Refusal.QUEUE_FULL
        reason = AdmissionReason.QUEUE_FULL if full else AdmissionReason.EXPIRED_IN_QUEUE
        now_s = self._monotonic()
        took_s = now_s - budget.started_s
        missed = RouteDecision(
            chosen="",
            reason=reason,
            budget_s=budget.first_token_s,
            remaining_s=budget.remaining_s(now_s),
            candidates=(Candidate(trail.site, took_s, 0.0, reason),),
        )
        return self._shed(missed, took_s, request, budget, trail)


def _invalid_schema(reason: str, constraint: Constraint | None) -> InvalidSchema:
    """A grammar in Lark comes of the tools; the answer's form, if there is one, is a part of it."""
    is_lark = constraint is not None and constraint.kind is ConstraintKind.LARK
    param = "tools" if is_lark else "response_format"
    return InvalidSchema(f"{param}: {reason}", param=param)
