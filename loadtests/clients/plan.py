"""What a client process is told to do, and what it tells about each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

Protocol = Literal["http", "grpc"]
TurnClassName = Literal["voice", "agent", "batch"]
Outcome = Literal["ok", "shed", "failed"]


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """One request. `due_s` counts from the start of the run."""

    due_s: float
    said: str
    turn_class: TurnClassName = "agent"
    max_tokens: int | None = None
    budget_s: float | None = None
    """To the first content; None: the class's default at the site."""
    target: int = 0
    """Which of the plan's targets it goes to first."""
    key: int = -1
    """What whoever made it knows it by."""


class Plan(msgspec.Struct, frozen=True):
    """The work of one client process, in the order of `due_s`."""

    protocol: Protocol
    targets: tuple[str, ...]
    """`host:port` of each entry site; the next is where clients turn whose site is gone."""
    asks: tuple[Ask, ...]
    num_connections: int = 8
    """HTTP: opened to each target before the start; more are opened when all are in use."""
    time_limit_s: float = 60.0
    """A request without an end after so long has failed."""
    max_num_open: int = 2_000
    """Requests under way; what is due beyond it fails as `client_full`, and says so."""
    turns_elsewhere: bool = False
    """A request without content yet, whose connection breaks or whose site drains, goes to the
    next target, and so on once round."""


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request's fate. Instants are seconds from the start of the run."""

    ask: Ask
    sent_s: float
    """When the client turned to it; `due_s` was intended."""
    outcome: Outcome
    ended_s: float
    first_s: float | None = None
    """The first content or tool call."""
    code: str = ""
    """Why it was shed or failed."""
    request_id: str = ""
    site: str = ""
    """Who generated."""
    path: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def ttft_s(self) -> float | None:
        """From the intended instant to the first content."""
        return None if self.first_s is None else self.first_s - self.ask.due_s

    @property
    def schedule_delay_s(self) -> float:
        """How late the client was."""
        return self.sent_s - self.ask.due_s


def asks_at(
    instants_s: Iterable[float],
    said: Sequence[str],
    rng: Random,
    *,
    turn_class: TurnClassName = "agent",
    max_tokens: int | None = None,
    budget_s: float | None = None,
    num_targets: int = 1,
) -> list[Ask]:
    """One request at each instant, its words and its target drawn evenly."""
    return [
        Ask(
            float(instant_s),
            rng.choice(said),
            turn_class,
            max_tokens,
            budget_s,
            rng.randrange(num_targets),
        )
        for instant_s in sorted(instants_s)
    ]


def dealt(asks: Sequence[Ask], num_clients: int) -> list[tuple[Ask, ...]]:
    """The requests of each of several processes, like cards."""
    ordered = sorted(asks, key=lambda ask: ask.due_s)
    return [tuple(ordered[first::num_clients]) for first in range(num_clients)]
