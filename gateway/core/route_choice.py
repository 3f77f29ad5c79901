"""What is asked when a turn needs a place, and what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.credit_brake import CreditBrake
from gateway.core.generation import EngineLoad
from gateway.core.load_report import SiteState
from gateway.core.peer_view import PeerView
from gateway.core.residuals import Residuals
from gateway.core.stages import Candidate, RouteDecision

if TYPE_CHECKING:
    from gateway.core.slo import Objectives

FITS = "fits"
OVER_BUDGET = "over_budget"
UNCERTAIN = "uncertain"
"""In time by the estimate, late by its margin; or late by figures that are old."""


def fit_of(estimate_s: float, margin_s: float, remaining_s: float) -> str:
    """How a turn with so much time fits a place: the words of `Considered.verdict`."""
    if estimate_s + margin_s <= remaining_s:
        return FITS
    return UNCERTAIN if estimate_s <= remaining_s else OVER_BUDGET


class Verdict(StrEnum):
    """What becomes of a turn."""

    HERE = "here"
    PEER = "peer"
    QUEUED = "queued"
    """Here, although it is predicted to be late: it may wait until its deadline."""
    SHED = "shed"


class Reason(StrEnum):
    """Why."""

    FITS = "fits"
    """Here, by the estimate, and no peer is much sooner."""
    SOONER = "sooner"
    """A peer promises the first token sooner than this site, or only it in time."""
    EXPLORED = "explored"
    """The later of two peers, to measure it again."""
    UNCERTAIN = "uncertain"
    """It fits nowhere for certain; there it does without the margin."""
    NOTHING_FITS = "nothing_fits"
    QUEUE_FULL = "queue_full"
    BUDGET_SPENT = "budget_spent"
    DRAINING = "draining"
    HAS_BEGUN = "has_begun"
    """Its first tokens are out: it waits here for a slot, however full it is."""
    PLACE_NOT_ALLOWED = "place_not_allowed"
    """It may not be answered here, and no peer where it may be has room."""
    NO_CAPACITY = "no_capacity"
    """The operator has taken all of this site's."""
    CAPACITY_CUT = "capacity_cut"
    """It ran here until the operator took a part of this site's capacity."""
    STUTTERS = "stutters"
    """It ran here until its tokens came further apart than its listener hears them."""
    HEDGED = "hedged"
    """Asked as well, because the first peer is later than nineteen of twenty."""
    RULED_OUT = "ruled_out"
    """The engine here has failed it, or did not take it from a peer."""


class Ask(NamedTuple):
    """A turn that needs a place. `remaining_s` is infinite where it has no budget."""

    rank: int
    """Its class's place in `SERVICE_ORDER`."""
    prompt_tokens: int
    remaining_s: float
    model: bytes = b""
    """Its key (`core.load_report`); empty: any."""
    regions: frozenset[str] | None = None
    """Where it may be answered; None: anywhere."""
    sites: frozenset[str] | None = None
    """Those that may serve its tenant; None: all."""
    not_at: tuple[str, ...] = ()
    """Sites it has passed, and that have refused or lost it; this one may be among them."""
    may_forward: bool = True
    cached_tokens: int = 0
    """Of the prompt, in the cache here."""
    home: str = ""
    """A peer that has part of the prompt in its cache,"""
    home_tokens: int = 0
    """and how much."""
    has_begun: bool = False
    """Its first tokens are out: it can be late no more, and is not shed."""


class Here:
    """This site, as its own decisions see it."""

    __slots__ = (
        "_capacity_ratio",
        "_state",
        "brake",
        "is_open",
        "max_num_queued",
        "name",
        "region",
        "residuals",
    )

    def __init__(
        self,
        name: str,
        *,
        max_num_queued: int,
        region: str = "",
        objectives: Objectives | None = None,
    ) -> None:
        self.name = name
        self.region = region
        self.max_num_queued = max_num_queued
        self.residuals = Residuals()
        self.brake = CreditBrake(objectives)
        self._state = SiteState.READY
        self._capacity_ratio = 1.0
        self.is_open = True
        """Whether it takes work: it does not drain, and some of its capacity is left."""

    @property
    def state(self) -> SiteState:
        """Whether it wants work."""
        return self._state

    @state.setter
    def state(self, state: SiteState) -> None:
        self._state = state
        self._look()

    @property
    def capacity_ratio(self) -> float:
        """What the operator leaves of its capacity, 0 to 1."""
        return self._capacity_ratio

    @capacity_ratio.setter
    def capacity_ratio(self, ratio: float) -> None:
        self._capacity_ratio = ratio
        self._look()

    def _look(self) -> None:
        self.is_open = self._state is not SiteState.DRAINING and self._capacity_ratio > 0.0


class Considered(msgspec.Struct, gc=False):
    """A peer that was looked at. `verdict` is "fits" or what spoke against it."""

    view: PeerView
    estimate_s: float
    margin_s: float
    verdict: str


class Choice(msgspec.Struct):
    """What was decided. The words for the record are found only when somebody asks for them."""

    here: Here
    load: EngineLoad
    here_s: float
    """Predicted seconds to the first token at this site."""
    estimate_s: float
    """The same where it goes; if it is shed, the best there was."""
    verdict: Verdict = Verdict.HERE
    reason: Reason = Reason.FITS
    peer: PeerView | None = None
    """Where it goes if the verdict is PEER."""
    margin_s: float = 0.0
    bar: Reason | None = None
    """Why it cannot be answered at this site, whatever the estimate."""
    considered: Sequence[Considered] = ()

    @property
    def site(self) -> str:
        """Where it goes unless it is shed."""
        return self.here.name if self.peer is None else self.peer.name

    @property
    def runner_up(self) -> PeerView | None:
        """Another peer in which it fits: to turn to if the first refuses, or to hedge."""
        for one in self.considered:
            if one.verdict == FITS and one.view is not self.peer:
                return one.view
        return None

    def hedge_after_s(self, turn_class: TurnClass) -> float | None:
        """How long after it was sent the turn may be sent to `runner_up` as well, or None.

        Only voice, only while there is no first token, only once it is later than nineteen of
        twenty turns so estimated. The caller takes a hedge from its share and cancels who loses.
        """
        if turn_class is not TurnClass.VOICE or self.peer is None or self.runner_up is None:
            return None
        return self.estimate_s + self.margin_s

    def estimate_at(self, peer: PeerView) -> float:
        """Predicted seconds to the first token at a peer that was looked at, or inf."""
        return next((one.estimate_s for one in self.considered if one.view is peer), inf)

    def decision(self, ask: Ask, budget_s: float | None, now_s: float) -> RouteDecision:
        """The record: every place that was looked at, with the figures it was judged by."""
        here, remaining_s = self.here, ask.remaining_s
        age_s = max(0.0, now_s - self.load.as_of_s)
        margin_s = here.residuals.margin_s(ask.rank, self.here_s)
        verdict = self.bar or fit_of(self.here_s, margin_s, remaining_s)
        places = [Candidate(here.name, self.here_s, margin_s, verdict, age_s)]
        for one in self.considered:
            view, age_s = one.view, max(0.0, one.view.age_s(now_s))
            known_s = None if age_s == inf else age_s
            places.append(Candidate(view.name, one.estimate_s, one.margin_s, one.verdict, known_s))
        return RouteDecision(
            chosen="" if self.verdict is Verdict.SHED else self.site,
            reason=self.reason,
            budget_s=budget_s,
            remaining_s=None if remaining_s == inf else remaining_s,
            candidates=tuple(places),
        )
