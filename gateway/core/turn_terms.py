"""What turns are asked with besides their messages."""

from __future__ import annotations

import msgspec

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.core.budget import Budget, TurnClass
from gateway.core.generation import Constraint, Sampling
from gateway.core.turn import Message, Principal, ToolChoice, ToolSpec, Turn


class TurnTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn is asked with besides its messages; for a session, what all its turns share."""

    model: str
    turn_class: TurnClass
    latency_budget_s: float | None
    tools: tuple[ToolSpec, ...]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    server_tools: bool
    constraint: Constraint | None
    sampling: Sampling
    seeded: bool
    """Whether the client chose the seed."""
    max_tokens: int | None
    stop: tuple[str, ...]

    @classmethod
    def of(cls, turn: Turn) -> TurnTerms:
        """What this turn was asked with; its budget is its own."""
        return cls(
            model=turn.model,
            turn_class=turn.turn_class,
            latency_budget_s=None,
            tools=turn.tools,
            tool_choice=turn.tool_choice,
            parallel_tool_calls=turn.parallel_tool_calls,
            server_tools=turn.server_tools,
            constraint=turn.constraint,
            sampling=turn.sampling,
            seeded=turn.is_seeded,
            max_tokens=turn.max_tokens,
            stop=turn.stop,
        )

    def turn(
        self,
        *,
        request_id: str,
        messages: tuple[Message, ...],
        budget: Budget,
        principal: Principal,
        fresh_seed: int,
    ) -> Turn:
        """A turn on these terms, drawn with `fresh_seed` unless the client chose a seed.

        Raises InvalidRequest where the terms do not fit together.
        """
        sampling = self.sampling
        if not self.seeded:
            sampling = msgspec.structs.replace(sampling, seed=fresh_seed)
        return Turn(
            request_id=request_id,
            messages=messages,
            budget=budget,
            turn_class=self.turn_class,
            principal=principal,
            model=self.model,
            tools=self.tools,
            tool_choice=self.tool_choice,
            parallel_tool_calls=self.parallel_tool_calls,
            server_tools=self.server_tools,
            constraint=self.constraint,
            sampling=sampling,
            is_seeded=self.seeded,
            max_tokens=self.max_tokens,
            stop=self.stop,
        )
