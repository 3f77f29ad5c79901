"""The one place where a turn changes hands.

A generation is admitted or shed, given to the local engine, and its events come back to the
caller through the iterator it holds. What was decided, and how long the engine's parts took, goes
on the turn's trail.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from gateway.core.admission import Admission, AdmissionReason, admit, retry_after_s
from gateway.core.errors import EngineFault, InvalidSchema, SloUnattainable
from gateway.core.generation import FinishReason, GenerationEnd, TokenFrame
from gateway.core.stages import Candidate, RouteDecision, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.budget import Budget
    from gateway.core.generation import GenerationEvent, GenerationRequest
    from gateway.core.stages import TurnTrail
    from gateway.engine.port import TextEngine

_INVALID_SCHEMA_PREFIX = "invalid_schema:"
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

    @property
    def max_context_tokens(self) -> int:
        """What the local engine can hold, prompt and answer together."""
        return self._engine.max_context_tokens

    def refuse_hopeless(self, budget: Budget, trail: TurnTrail) -> None:
        """Shed a turn now if not even a prompt of one token could be answered in time.

        What was not rendered and tokenised costs nothing; under overload that is most turns.
        Raises SloUnattainable.
        """
        decision, decided = self._decision(1, budget, limited=True)
        if not decision.admitted:
            trail.decisions.append(decided)
            raise self._shed(decision, budget)

    async def generate(
        self, request: GenerationRequest, budget: Budget, trail: TurnTrail
    ) -> AsyncGenerator[GenerationEvent, None]:
        """The generation's frames and its end (STOP or LENGTH).

        Raises SloUnattainable when it is shed, now or in the engine's queue, InvalidSchema and
        EngineFault when the engine refused it, EngineUnavailable when there is no engine.
        """
        self._decide(request, budget, trail)
        self._running[request.request_id] = trail
        try:
            async with aclosing(self._engine.generate(request)) as events:
                async for event in events:
                    self._mark(event, trail)
                    if isinstance(event, GenerationEnd):
                        self._check_end(event, budget)
                    yielded_s = self._monotonic()
                    yield event
                    resumed_s = self._monotonic()
                    if resumed_s - yielded_s > _NOTICEABLE_WAIT_S:
                        trail.clock.mark(Stage.EGRESS, resumed_s)
        finally:
            self._running.pop(request.request_id, None)

    def count_resume(self, request_id: str) -> None:
        """A running generation went on in another engine process."""
        trail = self._running.get(request_id)
        if trail is not None:
            trail.num_resumes += 1

    def _decide(self, request: GenerationRequest, budget: Budget, trail: TurnTrail) -> None:
        # A request without a deadline is past the point where it may be shed (a tool has run).
        limited = request.first_token_deadline_s is not None
        decision, decided = self._decision(len(request.prompt), budget, limited=limited)
        trail.decisions.append(decided)
        trail.clock.mark(Stage.ADMISSION, self._monotonic())
        if not decision.admitted:
            raise self._shed(decision, budget)
        trail.site = self._site
        if not trail.path or trail.path[-1] != self._site:
            trail.path.append(self._site)

    def _decision(
        self, prompt_tokens: int, budget: Budget, *, limited: bool
    ) -> tuple[Admission, RouteDecision]:
        now_s = self._monotonic()
        remaining_s = budget.remaining_s(now_s) if limited else None
        load = self._engine.load()
        decision = admit(
            load,
            prompt_tokens=prompt_tokens,
            remaining_s=remaining_s,
            max_num_queued=self._max_num_queued,
        )
        here = Candidate(
            self._site,
            decision.estimate_s,
            0.0,
            decision.reason,
            report_age_s=max(0.0, now_s - load.as_of_s),
        )
        decided = RouteDecision(
            chosen=self._site if decision.admitted else "",
            reason=decision.reason,
            budget_s=budget.first_token_s,
            remaining_s=remaining_s,
            candidates=(here,),
        )
        return decision, decided

    def _shed(self, decision: Admission, budget: Budget) -> SloUnattainable:
        load = self._engine.load()
        return SloUnattainable(
            estimate_s=decision.estimate_s,
            budget_s=budget.first_token_s or 0.0,
            reason=decision.reason,
            retry_after_s=retry_after_s(load, budget.first_token_s),
        )

    def _mark(self, event: GenerationEvent, trail: TurnTrail) -> None:
        now_s = self._monotonic()
        if isinstance(event, TokenFrame) and event.first_index == 0:
            parts = ((Stage.QUEUE, event.queue_s), (Stage.PREFILL, event.prefill_s))
            trail.clock.mark_parts(parts, Stage.LINK, now_s)
        else:
            trail.clock.mark(Stage.DECODE, now_s)

    def _check_end(self, end: GenerationEnd, budget: Budget) -> None:
        match end.reason:
            case FinishReason.STOP | FinishReason.LENGTH | FinishReason.CANCELLED:
                return
            case FinishReason.EXPIRED:
                full = end.error == AdmissionReason.QUEUE_FULL
                reason = AdmissionReason.QUEUE_FULL if full else AdmissionReason.EXPIRED_IN_QUEUE
                raise self._shed(Admission(False, reason, self._late_s(budget)), budget)
            case FinishReason.FAILED:
                if end.error.startswith(_INVALID_SCHEMA_PREFIX):
                    raise InvalidSchema(
                        end.error.removeprefix(_INVALID_SCHEMA_PREFIX).strip(),
                        param="response_format",
                    )
                raise EngineFault(end.error)

    def _late_s(self, budget: Budget) -> float:
        return self._monotonic() - budget.started_s
