"""Answers turns by handing them whole to another server that runs a model.

Text enters and leaves at this level, not at the token port of our own engine: the server has its
own template, tokenizer and tool format, and is given messages and tools as the caller sent them.
"""

from __future__ import annotations

import math
import time
from contextlib import aclosing, closing
from typing import TYPE_CHECKING

from gateway.core.admission import Admission, AdmissionReason
from gateway.core.errors import SiteNotAllowed, SloUnattainable, UnknownModel, UnsupportedTools
from gateway.core.stages import Candidate, RouteDecision, Stage
from gateway.core.turn import TurnEnd, Usage
from gateway.core.upstream_pace import admit_upstream
from gateway.engine.upstream.chat_body import chat_body
from gateway.telemetry.trace_context import TurnTrace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from gateway.core.budget import Budget
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import Message, ModelInfo, Turn, TurnEvent
    from gateway.engine.upstream.answer import UpstreamAnswer
    from gateway.engine.upstream.server import UpstreamServer

_NOTICEABLE_WAIT_S = 0.005
"""A consumer that holds an event longer than this shows up as egress, not as decode."""
_MAX_NAMES = 16
"""A server that names a new model in every answer must not grow the site's metrics."""


class Relay:
    """A `TurnRunner` over one model of another server.

    `tier` names the server on paths and in decisions; empty for the one that runs the site's own
    model, where the site is who answers.
    """

    def __init__(
        self,
        server: UpstreamServer,
        *,
        info: ModelInfo,
        site: str,
        tier: str = "",
        max_num_queued: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._info = info
        self._site = site
        self._tier = tier
        self._max_num_queued = max_num_queued
        self._monotonic = monotonic
        self._names = {info.model_id}

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The one model that is asked there."""
        return (self._info,)

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        """See `TurnRunner.run`."""
        await self.check(turn)
        async with aclosing(self.answer(turn, turn.messages, turn.budget, trail)) as events:
            async for event in events:
                yield event

    async def check(self, turn: Turn) -> None:
        """See `TurnRunner.check`; what else the server refuses, only it knows."""
        if not self._info.answers_to(turn.model):
            raise UnknownModel(turn.model, (self._info.model_id, *self._info.aliases))
        if turn.server_tools:
            raise UnsupportedTools("this model has no tools of its own to run on the server")

    async def answer(
        self, turn: Turn, messages: Sequence[Message], budget: Budget, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        """The answer to `messages` on the turn's terms, within `budget`.

        Raises SiteNotAllowed, SloUnattainable when the turn is shed, and what
        `UpstreamServer.ask` raises.
        """
        place, allowed = self._tier or self._site, trail.allowed_sites
        if allowed is not None and place not in allowed:
            raise SiteNotAllowed(place, allowed)
        target = self._server.target
        body = chat_body(turn, messages, model=target.model, limit_field=target.limit_field)
        if not trail.path or trail.path[-1] != self._site:
            trail.path.append(self._site)
        trail.clock.mark(Stage.PROMPT, self._monotonic())
        self._admit(turn, budget, trail)
        if not await self._server.take_place(turn.turn_class, budget.first_token_deadline_s):
            raise self._expired(turn, budget, trail)
        try:
            trail.clock.mark(Stage.QUEUE, self._monotonic())
            headers = self._headers(turn, budget, trail)
            with closing(await self._server.ask(body, headers)) as answer:
                num_chars = sum(len(message.content) for message in messages)
                async with aclosing(self._pass_on(answer, num_chars, trail)) as events:
                    async for event in events:
                        yield event
        finally:
            self._server.give_back_place()

    async def _pass_on(
        self, answer: UpstreamAnswer, num_chars: int, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        """The answer's events; the trail learns of them as they come."""
        before = Usage(trail.prompt_tokens, trail.completion_tokens, trail.cached_tokens)
        self._note_place(answer, trail)
        stage = Stage.UPSTREAM
        async with aclosing(answer.deltas()) as deltas:
            async for delta in deltas:
                trail.clock.mark(stage, self._monotonic())
                if stage is Stage.UPSTREAM:
                    trail.model = self._name(answer)
                    stage = Stage.DECODE
                _count(trail, before, answer.usage(num_chars))
                yielded_s = self._monotonic()
                yield delta
                resumed_s = self._monotonic()
                if resumed_s - yielded_s > _NOTICEABLE_WAIT_S:
                    trail.clock.mark(Stage.EGRESS, resumed_s)
        trail.clock.mark(stage, self._monotonic())
        trail.model = self._name(answer)
        _count(trail, before, answer.usage(num_chars))
        total = Usage(trail.prompt_tokens, trail.completion_tokens, trail.cached_tokens)
        yield TurnEnd(answer.finish, total, answer.calls)

    def _admit(self, turn: Turn, budget: Budget, trail: TurnTrail) -> None:
        """Let the turn go there, or raise SloUnattainable."""
        decision = admit_upstream(
            self._server.estimate_s(turn.turn_class),
            budget.remaining_s(self._monotonic()),
            has_place=self._server.has_place,
            num_ahead=self._server.num_ahead(turn.turn_class),
            max_num_queued=self._max_num_queued,
        )
        trail.clock.mark(Stage.ADMISSION, self._monotonic())
        self._note(decision, budget, trail)
        if not decision.admitted:
            raise self._shed(decision, budget)

    def _expired(self, turn: Turn, budget: Budget, trail: TurnTrail) -> SloUnattainable:
        trail.clock.mark(Stage.QUEUE, self._monotonic())
        estimate_s = self._server.estimate_s(turn.turn_class)
        decision = Admission(False, AdmissionReason.EXPIRED_IN_QUEUE, estimate_s)
        self._note(decision, budget, trail)
        return self._shed(decision, budget)

    def _note(self, decision: Admission, budget: Budget, trail: TurnTrail) -> None:
        """Put a decision on the trail, whichever way it went."""
        there = self._tier or self._site
        candidate = Candidate(there, decision.estimate_s, 0.0, decision.reason)
        trail.decisions.append(
            RouteDecision(
                chosen=there if decision.admitted else "",
                reason=decision.reason,
                budget_s=budget.first_token_s,
                remaining_s=budget.remaining_s(self._monotonic()),
                candidates=(candidate,),
            )
        )

    def _shed(self, decision: Admission, budget: Budget) -> SloUnattainable:
        over_s = decision.estimate_s - (budget.first_token_s or 0.0)
        return SloUnattainable(
            estimate_s=decision.estimate_s,
            budget_s=budget.first_token_s,
            reason=decision.reason,
            retry_after_s=float(min(60, max(1, math.ceil(over_s)))),
        )

    def _headers(self, turn: Turn, budget: Budget, trail: TurnTrail) -> dict[str, str]:
        """What a site understands, and any other server passes over."""
        trace = TurnTrace.of(trail.request_id, trail.clock.started_s, trail.traceparent)
        headers = {
            "x-request-id": turn.request_id,
            "traceparent": trace.root.traceparent,
            "x-firsthop-path": ",".join(trail.path),
        }
        remaining_s = budget.remaining_s(self._monotonic())
        if remaining_s:
            headers["x-slo-ttft-ms"] = f"{remaining_s * 1e3:.3f}"
        return headers

    def _note_place(self, answer: UpstreamAnswer, trail: TurnTrail) -> None:
        """Who answers: this site, the core tier, or the sites behind it that name themselves."""
        here = tuple(trail.path)
        beyond = answer.path[len(here) :] if answer.path[: len(here)] == here else ()
        if self._tier or beyond:
            trail.path += beyond or (self._tier,)
        trail.site = trail.path[-1]

    def _name(self, answer: UpstreamAnswer) -> str:
        """What the server says answers, unless it has said too many names."""
        name = answer.model
        if len(self._names) < _MAX_NAMES:
            self._names.add(name)
        return name if name in self._names else self._info.model_id


def _count(trail: TurnTrail, before: Usage, used: Usage) -> None:
    trail.prompt_tokens = before.prompt_tokens + used.prompt_tokens
    trail.completion_tokens = before.completion_tokens + used.completion_tokens
    trail.cached_tokens = before.cached_tokens + used.cached_tokens
