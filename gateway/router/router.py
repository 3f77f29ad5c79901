"""The one place where a turn changes hands.

A generation is admitted or shed, given to the local engine, and its events come back to the
caller through the iterator it holds. What was decided, and how long the engine's parts took, goes
on the turn's trail.
"""

from __future__ import annotations

import itertools
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from gateway.core.admission import Admission, AdmissionReason, admit, retry_after_s
from gateway.core.errors import EngineFault, InvalidSchema, SloUnattainable
from gateway.core.generation import FinishReason, GenerationEnd, Refusal, TokenFrame
from gateway.core.stages import Candidate, RouteDecision, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.budget import Budget, TurnClass
    from gateway.core.generation import GenerationEvent, GenerationRequest
    from gateway.core.stages import TurnTrail
    from gateway.engine.port import TextEngine

_NOTICEABLE_WAIT_S = 0.005
"""A consumer that holds an event longer than this shows up as egress, not as decode."""


class Router:
    """Routes generations of one site."""

    def __init__(
        self,
        *,
        site: str,
        engine: TextEngine,
        max_num_queued: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._engine = engine
        self._max_num_queued = max_num_queued
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
        decision = self._decision(turn_class, 1, budget.remaining_s(self._monotonic()))
        if not decision.admitted:
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
        Raises SloUnattainable when it is shed, now or in the engine's queue, InvalidSchema and
        EngineFault when the engine refused it, EngineUnavailable when there is no engine.
        """
        self._admit(request, budget, trail, must_answer=must_answer)
        generation_id = f"{request.request_id}#{next(self._numbers)}"
        request = msgspec.structs.replace(
            request, request_id=generation_id, must_answer=must_answer
        )
        self._running[generation_id] = trail
        trail.prompt_tokens += len(request.prompt)  # what the engine was given counts, used or not
        try:
            async with aclosing(self._engine.generate(request)) as events:
                async for event in events:
                    self._mark(event, trail)
                    if isinstance(event, GenerationEnd):
                        self._check_end(event, request, budget, trail)
                    yielded_s = self._monotonic()
                    yield event
                    resumed_s = self._monotonic()
                    if resumed_s - yielded_s > _NOTICEABLE_WAIT_S:
                        trail.clock.mark(Stage.EGRESS, resumed_s)
        finally:
            del self._running[generation_id]

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

    def _admit(
        self, request: GenerationRequest, budget: Budget, trail: TurnTrail, *, must_answer: bool
    ) -> None:
        """Admit the turn here, or raise SloUnattainable; either way the trail says why."""
        remaining_s = budget.remaining_s(self._monotonic())
        decision = self._decision(
            request.turn_class, len(request.prompt), remaining_s, must_answer=must_answer
        )
        trail.clock.mark(Stage.ADMISSION, self._monotonic())
        if not decision.admitted:
            raise self._shed(decision, request.turn_class, budget, trail)
        self._note(decision, budget, trail)
        self.stay(trail)

    def _decision(
        self,
        turn_class: TurnClass,
        prompt_tokens: int,
        remaining_s: float | None,
        *,
        must_answer: bool = False,
    ) -> Admission:
        return admit(
            self._engine.load(),
            turn_class=turn_class,
            prompt_tokens=prompt_tokens,
            remaining_s=remaining_s,
            max_num_queued=self._max_num_queued,
            must_answer=must_answer,
        )

    def _note(self, decision: Admission, budget: Budget, trail: TurnTrail) -> None:
        """Put a decision on the trail, with the figures it was made from."""
        now_s = self._monotonic()
        here = Candidate(
            self._site,
            decision.estimate_s,
            0.0,
            decision.reason,
            report_age_s=max(0.0, now_s - self._engine.load().as_of_s),
        )
        decided = RouteDecision(
            chosen=self._site if decision.admitted else "",
            reason=decision.reason,
            budget_s=budget.first_token_s,
            remaining_s=budget.remaining_s(now_s),
            candidates=(here,),
        )
        trail.decisions.append(decided)

    def _shed(
        self, decision: Admission, turn_class: TurnClass, budget: Budget, trail: TurnTrail
    ) -> SloUnattainable:
        """The error of a turn that is not answered; its reason goes on the trail."""
        self._note(decision, budget, trail)
        return SloUnattainable(
            estimate_s=decision.estimate_s,
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

    def _check_end(
        self, end: GenerationEnd, request: GenerationRequest, budget: Budget, trail: TurnTrail
    ) -> None:
        match end.reason:
            case FinishReason.STOP | FinishReason.LENGTH | FinishReason.CANCELLED:
                return
            case FinishReason.EXPIRED:
                full = end.refusal is Refusal.QUEUE_FULL
                reason = AdmissionReason.QUEUE_FULL if full else AdmissionReason.EXPIRED_IN_QUEUE
                missed = Admission(False, reason, self._monotonic() - budget.started_s)
                raise self._shed(missed, request.turn_class, budget, trail)
            case FinishReason.FAILED if end.refusal is Refusal.INVALID_SCHEMA:
                raise InvalidSchema(end.error, param="response_format")
            case FinishReason.FAILED:
                raise EngineFault(end.error)
