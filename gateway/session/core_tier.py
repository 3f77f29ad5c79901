"""The core tier: a larger model elsewhere, to which a site escalates what is beyond its own.

A turn goes there for one of the reasons of `core.escalation`, and the answer says which. A core
that fails is an error for whoever asked for it by name; for the assistant, which handed the turn
over on its own account, it is one honest sentence.
"""

from __future__ import annotations

import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from gateway.core.budget import TurnClass
from gateway.core.errors import (
    CapacityError,
    ContextLengthExceeded,
    EngineError,
    RegionNotAllowed,
    RequestError,
    UnsupportedTools,
)
from gateway.core.escalation import (
    EscalationReason,
    core_budget,
    escalation_of,
    messages_for_core,
)
from gateway.core.turn import TextDelta, TurnEnd, TurnFinish, Usage
from gateway.session import phrases

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.escalation import EscalationPolicy
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import ModelInfo, Turn, TurnEvent
    from gateway.session.port import TurnRunner
    from gateway.session.relay import Relay

_log = logging.getLogger(__name__)

CORE_SITE: Final = "core"
"""The core tier's name on paths and in decisions, where it does not name itself."""


class CoreTier:
    """The larger model and when it is asked."""

    def __init__(
        self,
        relay: Relay,
        *,
        policy: EscalationPolicy,
        first_token_s: float,
        region: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._relay = relay
        self.policy = policy
        self._first_token_s = first_token_s
        self._region = region
        self._monotonic = monotonic

    @property
    def info(self) -> ModelInfo:
        """The larger model."""
        return self._relay.models[0]

    async def answer(
        self, turn: Turn, trail: TurnTrail, reason: EscalationReason
    ) -> AsyncGenerator[TurnEvent, None]:
        """The core's answer to a turn; a turn that is begun early is not sent there before it is
        certain.

        Raises RegionNotAllowed where the turn may not go there, and what `Relay.answer` raises.
        """
        trail.escalation = reason
        if trail.allowed_regions is not None and self._region not in trail.allowed_regions:
            raise RegionNotAllowed(self._region, trail.allowed_regions, place="the core tier")
        if turn.until_certain is not None:
            await turn.until_certain()
        budget = core_budget(turn.budget, self._first_token_s, self._monotonic())
        answered = self._relay.answer(turn, messages_for_core(turn), budget, trail)
        async with aclosing(answered) as events:
            async for event in events:
                yield event

    async def take_over(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        """The core's answer to a turn that the site's model handed over; never raises for it.

        A caller on the phone is told to wait first, for whom silence is a fault.
        """
        if turn.turn_class is TurnClass.VOICE:
            yield TextDelta(phrases.ONE_MOMENT, is_acknowledgement=True)
        has_content = False
        try:
            async with aclosing(self.answer(turn, trail, EscalationReason.ASSISTANT)) as events:
                async for event in events:
                    yield event
                    has_content = True
        except (RequestError, CapacityError, EngineError) as error:
            _log.warning("the core tier did not answer: %s", error)
            trail.escalation_error = error.code
            yield TextDelta(phrases.CORE_BROKE_OFF if has_content else phrases.CORE_FAILED)
            usage = Usage(trail.prompt_tokens, trail.completion_tokens, trail.cached_tokens)
            yield TurnEnd(TurnFinish.STOP, usage)


class TieredRunner:
    """A `TurnRunner`: the site's own model, and the core tier above it."""

    def __init__(self, site: TurnRunner, core: CoreTier) -> None:
        self._site = site
        self._core = core

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The site's models, then the core's."""
        return (*self._site.models, self._core.info)

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        """See `TurnRunner.run`.

        A turn that another site has escalated is answered here or not at all: two sites that are
        each other's core must not pass it to and fro.
        """
        reason = None if trail.path else self._reason_to_escalate(turn)
        at_core = self._core.answer
        chosen = self._at_site(turn, trail) if reason is None else at_core(turn, trail, reason)
        async with aclosing(chosen) as events:
            async for event in events:
                yield event

    async def check(self, turn: Turn) -> None:
        """See `TurnRunner.check`. What goes to the core is the core's to refuse."""
        if self._reason_to_escalate(turn) is not None:
            return
        try:
            await self._site.check(turn)
        except (UnsupportedTools, ContextLengthExceeded):
            if turn.server_tools or not self._core.policy.unsupported:
                raise

    def _reason_to_escalate(self, turn: Turn) -> EscalationReason | None:
        core = self._core
        reason = escalation_of(turn, core.policy, site=self._site.models, core=core.info)
        if reason is not None and turn.server_tools:
            raise UnsupportedTools("the server's tools go with the site's own model only")
        return reason

    async def _at_site(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        """The site's answer; where its model would have to refuse, the policy may send it on."""
        may_leave = self._core.policy.unsupported and not (trail.path or turn.server_tools)
        try:
            async with aclosing(self._site.run(turn, trail)) as events:
                async for event in events:
                    yield event
            return
        except (UnsupportedTools, ContextLengthExceeded):
            if not may_leave:
                raise
        answered = self._core.answer(turn, trail, EscalationReason.UNSUPPORTED)
        async with aclosing(answered) as events:
            async for event in events:
                yield event
