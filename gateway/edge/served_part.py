"""What this site did of a peer's turn: told to the peer when it ends, and kept here too.

The turn's record is its origin's, which learns of this part by the last frame. The part's own
record is for whoever asks this site, and all there is of the turn when the origin was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.hops import MAX_HOPS
from gateway.core.stages import (
    ORIGIN_LOST,
    PEER_INTERFACE,
    Outcome,
    SiteStages,
    StageClock,
    TurnTrail,
)

if TYPE_CHECKING:
    from gateway.core.generation import GenerationEnd
    from gateway.core.stages import TurnRecord
    from gateway.wire.peer_frames import Offer

_CANCELLED = "cancelled"


class ServedPart:
    """One offered turn, from the moment this site began with it."""

    def __init__(self, offer: Offer, site: str, now_s: float) -> None:
        request = offer.request
        remaining_ms = offer.remaining_ms
        self.trail = TurnTrail(
            request.request_id,
            StageClock(now_s),
            turn_class=request.turn_class,
            interface=PEER_INTERFACE,
            traceparent=offer.traceparent,
            allowed_regions=offer.regions,
            allowed_sites=offer.sites,
            budget_s=None if remaining_ms is None else remaining_ms / 1e3,
            path=list(offer.hops.path),
        )
        self._site = site
        self._end: GenerationEnd | None = None
        self.is_cancelled = False
        """The origin no longer wants it."""

    def stages(self) -> tuple[SiteStages, ...]:
        """What it took here, and where it was handed on to."""
        return (SiteStages.of(self._site, self.trail.clock), *self.trail.peer_stages)[:MAX_HOPS]

    def note_first_token(self, now_s: float) -> None:
        """Tokens go to the peer. Calling it for later ones is fine."""
        clock = self.trail.clock
        if clock.first_content_s is None:
            clock.mark_first_content(now_s)

    def end(self, end: GenerationEnd) -> None:
        """It was generated to its end."""
        self._end = end
        self.trail.prompt_tokens = end.prompt_tokens
        self.trail.cached_tokens = end.cached_tokens
        self.trail.completion_tokens = end.completion_tokens

    def record(self, refusal: str, now_s: float) -> TurnRecord:
        """How it ended; `refusal`: with which reason it was given back, if it was."""
        close = self.trail.close
        if self._end is not None:
            return close(Outcome.ANSWERED, self._end.reason.value, now_s)
        if refusal:
            return close(Outcome.SHED, "", now_s, error=refusal)
        if self.is_cancelled:
            return close(Outcome.ABANDONED, "", now_s, error=_CANCELLED)
        return close(Outcome.FAILED, "", now_s, error=ORIGIN_LOST)
