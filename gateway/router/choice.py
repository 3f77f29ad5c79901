"""What a router asks before a generation goes anywhere, and the rule of a site without another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.core.admission import Admission, AdmissionReason
from gateway.core.budget import TurnClass
from gateway.core.stages import Candidate, RouteDecision

if TYPE_CHECKING:
    from gateway.peers.port import PeerSites

FORWARDED = "forwarded"


class RouteAsk(msgspec.Struct, frozen=True, kw_only=True):
    """One generation that needs a place, at the moment it needs it."""

    turn_class: TurnClass
    prompt_tokens: int
    budget_s: float | None
    remaining_s: float | None
    """To the first token; None: the turn may wait."""
    here: Admission | None
    """What this site's own engine makes of it; None when that engine has just failed it."""
    here_age_s: float
    """Age of the figures of `here`."""
    hops_left: int
    excluded: dict[str, Candidate]
    """Sites that are on the turn's path, or refused or lost it; never to be chosen."""


class Chooser(Protocol):
    """Decides where a generation goes. Nothing here may wait."""

    def choose(self, ask: RouteAsk) -> RouteDecision:
        """The site, this one or a peer, or "" to shed; never one that is excluded."""
        ...


class NearestFirst:
    """Here while it fits, else the nearest peer that is heard: it knows best whether it has room.

    Without `peers` it is the rule of a site that stands alone.
    """

    def __init__(self, site: str, peers: PeerSites | None = None) -> None:
        self._site = site
        self._peers = peers

    def choose(self, ask: RouteAsk) -> RouteDecision:
        """See `Chooser`."""
        here = ask.here
        chosen, reason = "", here.reason.value if here else AdmissionReason.ENGINE_FAILED.value
        if here is not None and here.admitted:
            chosen = self._site
        elif peer := self._nearest(ask):
            chosen, reason = peer, FORWARDED
        return RouteDecision(
            chosen=chosen,
            reason=reason,
            budget_s=ask.budget_s,
            remaining_s=ask.remaining_s,
            candidates=self._candidates(ask),
        )

    def _nearest(self, ask: RouteAsk) -> str:
        if self._peers is None or not ask.hops_left or ask.remaining_s == 0.0:
            return ""
        usable = [peer for peer in self._peers.usable() if peer.site not in ask.excluded]
        return min(usable, key=lambda peer: peer.rtt_s).site if usable else ""

    def _candidates(self, ask: RouteAsk) -> tuple[Candidate, ...]:
        if ask.here is None:
            return tuple(ask.excluded.values())
        here = Candidate(
            self._site,
            ask.here.estimate_s,
            0.0,
            ask.here.reason,
            report_age_s=ask.here_age_s,
        )
        return (here, *ask.excluded.values())
