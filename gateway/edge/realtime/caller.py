"""Who holds a session, and what was asked for the whole of it when it was opened."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import Sampling
from gateway.core.turn import ToolChoice, ToolChoiceMode, ToolSpec
from gateway.core.turn_terms import TurnTerms
from gateway.edge.wish_headers import budget_s_of, turn_class_of, wants_server_tools
from gateway.wire.realtime.session_config import NamedChoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.turn import Message, Turn
    from gateway.edge.desk import Desk, Visit
    from gateway.wire.realtime.session_config import SessionConfig

_NO_ARGUMENTS = {"type": "object", "properties": {}}


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """What every turn of a session has from its opening."""

    authorization: str | None = None
    """As sent, or that of the key which made the client's ephemeral one."""
    user: str | None = None
    """Whom the client speaks for."""
    residency: str | None = None
    traceparent: str = ""
    server_tools: bool = False
    turn_class: TurnClass | None = None
    """None: voice where answers are spoken, else agent."""
    latency_budget_s: float | None = None

    @classmethod
    def of(cls, wish: Callable[[str], str | None], *, authorization: str | None) -> Caller:
        """From headers, or what stands in for them. Raises InvalidRequest."""
        return cls(
            authorization=authorization,
            user=wish("openai-safety-identifier") or wish("x-firsthop-user"),
            residency=wish("x-firsthop-residency"),
            traceparent=wish("traceparent") or "",
            server_tools=wants_server_tools(wish("x-firsthop-tools")),
            turn_class=turn_class_of(wish("x-firsthop-class")),
            latency_budget_s=budget_s_of(wish("x-slo-ttft-ms")),
        )

    def check(self, desk: Desk) -> None:
        """Refuse who may not use the site. Raises Unauthenticated, SiteDraining."""
        desk.visit(interface="realtime").authenticate(self.authorization)

    def turn(
        self,
        visit: Visit,
        config: SessionConfig,
        messages: tuple[Message, ...],
        seed: int | None = None,
    ) -> Turn:
        """One response's turn, drawn with a seed of its own unless one is given.

        Raises InvalidRequest, RegionNotAllowed.
        """
        visit.keep_to_regions(self.residency)
        turn_class = self.turn_class or (TurnClass.VOICE if config.wants_audio else TurnClass.AGENT)
        budget = visit.budget(turn_class, requested_s=self.latency_budget_s)
        heard_after_s = visit.trail.clock.elapsed_s
        return self._terms(config, turn_class).turn(
            request_id=visit.trail.request_id,
            messages=messages,
            budget=budget.late_by(heard_after_s) if heard_after_s else budget,
            principal=visit.principal,
            fresh_seed=random.getrandbits(63) if seed is None else seed,
        )

    def _terms(self, config: SessionConfig, turn_class: TurnClass) -> TurnTerms:
        limit = config.max_output_tokens
        return TurnTerms(
            model=config.model,
            turn_class=turn_class,
            latency_budget_s=self.latency_budget_s,
            tools=tuple(
                ToolSpec(tool.name, tool.description, tool.parameters or _NO_ARGUMENTS)
                for tool in config.tools
            ),
            tool_choice=_choice(config),
            parallel_tool_calls=config.parallel_tool_calls,
            server_tools=self.server_tools,
            constraint=None,
            sampling=Sampling(),
            seeded=False,
            max_tokens=None if isinstance(limit, str) else limit,
            stop=(),
        )


def _choice(config: SessionConfig) -> ToolChoice:
    choice = config.tool_choice
    if isinstance(choice, NamedChoice):
        return ToolChoice(ToolChoiceMode.REQUIRED, choice.name)
    return ToolChoice(ToolChoiceMode(choice))
