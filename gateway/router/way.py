"""A generation on its way: what it is, what of it is out, and where it cannot go."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

import msgspec

from gateway.core.errors import EngineUnavailable
from gateway.core.generation import CLASS_RANK
from gateway.core.peer_errors import PeerLost, PeerRefused
from gateway.core.route_choice import Ask
from gateway.core.stages import Candidate

if TYPE_CHECKING:
    from gateway.core.budget import Budget
    from gateway.core.delivered import Delivered
    from gateway.core.generation import GenerationRequest
    from gateway.core.hops import Hops
    from gateway.core.peer_errors import PeerError
    from gateway.core.route_choice import Choice
    from gateway.core.stages import RouteDecision, TurnTrail


@dataclass(slots=True)
class Way:
    """One generation, from site to site until it ends."""

    request: GenerationRequest
    budget: Budget
    trail: TurnTrail
    hops: Hops
    delivered: Delivered
    is_last_resort: bool = False
    """For a peer's turn: the peer knows of no better place."""
    excluded: dict[str, Candidate] = field(default_factory=dict)
    """Sites that are on its path, or refused or lost it."""
    num_lost: int = 0
    """Peers that were lost with it."""
    may_retry: bool = True
    """Whether it may be handed on at all, after what became of it elsewhere."""
    has_moved: bool = False
    """It has left this site's engine before its end."""
    next_choice: Choice | None = None
    """Where it goes on, booked there, when that was decided while it ran."""
    engine_error: EngineUnavailable | None = None

    @property
    def is_from_peer(self) -> bool:
        """Whether another site handed it on to this one."""
        return bool(self.hops.path)

    def ask(self, model: bytes, now_s: float) -> Ask:
        """What is to be decided now. What has begun cannot miss its first token any more.

        A peer's turn that has begun has its own site to wait at.
        """
        remaining_s = None if self.delivered.has_begun else self.budget.remaining_s(now_s)
        regions, sites = self.trail.allowed_regions, self.trail.allowed_sites
        return Ask(
            CLASS_RANK[self.request.turn_class],
            len(self.request.prompt),
            inf if remaining_s is None else remaining_s,
            model,
            None if regions is None else frozenset(regions),
            None if sites is None else frozenset(sites),
            not_at=tuple(self.excluded),
            may_forward=self.may_retry and self.hops.left > 0,
            has_begun=self.delivered.has_begun and not self.is_from_peer,
        )

    def decision(self, choice: Choice, ask: Ask, now_s: float) -> RouteDecision:
        """The record of a choice; of sites that are out it says how they answered."""
        decision = choice.decision(ask, self.budget.first_token_s, now_s)
        if not self.excluded:
            return decision
        looked_at = (one for one in decision.candidates if one.site not in self.excluded)
        return msgspec.structs.replace(decision, candidates=(*looked_at, *self.excluded.values()))

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
        self.num_lost += isinstance(error, PeerLost)
        self.excluded[site] = Candidate(site, estimate_s, 0.0, reason)
        self.trail.num_resumes += self.delivered.has_begun
