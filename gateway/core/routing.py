"""Where a turn goes: here while it fits comfortably, else the better of two peers in which it fits.

Two at random, not the best of all: figures are a little old for everybody, and whoever looks best
to all is flooded by all (Mitzenmacher, "How useful is old information?", 2000). What does not fit
anywhere is refused at once; work that will be late only makes other work late.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.estimate import first_token_s
from gateway.core.generation import SERVICE_ORDER
from gateway.core.load_report import SiteState
from gateway.core.residuals import Residuals
from gateway.core.stages import Candidate, RouteDecision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.generation import EngineLoad
    from gateway.core.peer_view import PeerView
    from gateway.core.peers import Peers

_FITS = "fits"
_OVER_BUDGET = "over_budget"
_UNCERTAIN = "uncertain"
"""In time by the estimate, late by its margin; or late by figures that are old."""


class Rules(msgspec.Struct, frozen=True):
    """How much this site is preferred, and how curious it is."""

    comfort_ratio: float = 0.5
    """It fits comfortably here if the estimate takes at most this part of what is left,"""
    comfort_s: float = 0.1
    """and at most so much."""
    gain_s: float = 0.03
    """A peer must promise to be so much faster than here, where it fits in both."""
    exploration_ratio: float = 0.005
    """How often the other of two is taken, so that peers seldom chosen are measured again."""
    overrun_ratio: float = 1.25
    """Work that may wait (not voice) is queued here up to this part of what is left."""


class Verdict(StrEnum):
    """What becomes of a turn."""

    HERE = "here"
    PEER = "peer"
    SHORTENED = "shortened"
    """Here, with less prompt than asked for."""
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
    may_wait: bool = True
    """Whether it may be queued here, if it is not of class voice, when it fits nowhere."""
    cached_tokens: int = 0
    """Of the prompt, in the cache here."""
    home: str = ""
    """A peer that has part of the prompt in its cache,"""
    home_tokens: int = 0
    """and how much."""
    has_begun: bool = False
    """Its first tokens are out: it can be late no more, and is not shed."""
    shortened_tokens: int = 0
    """What the prompt can be cut to if nothing else helps; 0: it cannot."""


class Here:
    """This site, as its own decisions see it."""

    __slots__ = (
        "_capacity_ratio",
        "_state",
        "is_open",
        "max_num_queued",
        "name",
        "region",
        "residuals",
    )

    def __init__(self, name: str, *, max_num_queued: int, region: str = "") -> None:
        self.name = name
        self.region = region
        self.max_num_queued = max_num_queued
        self.residuals = Residuals()
        self._state = SiteState.READY
        self._capacity_ratio = 1.0
        self.is_open = True
        """Whether it takes work at all: it is READY and some of its capacity is left."""

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
        self.is_open = self._state is SiteState.READY and self._capacity_ratio > 0.0


_HERE, _PEER = Verdict.HERE, Verdict.PEER
_FITTING, _SOONER = Reason.FITS, Reason.SOONER


@dataclass(slots=True)
class Considered:
    """A peer that was looked at. `verdict` is "fits" or what spoke against it."""

    view: PeerView
    estimate_s: float
    margin_s: float
    verdict: str


class Choice:
    """What was decided. The words for the record are found only when somebody asks for them."""

    verdict = _HERE
    reason = _FITTING
    peer: PeerView | None = None
    """Where it goes if the verdict is PEER."""
    margin_s = 0.0
    bar: Reason | None = None
    """Why it cannot be answered at this site, whatever the estimate."""
    considered: Sequence[Considered] = ()

    def __init__(self, here: Here, load: EngineLoad, here_s: float) -> None:
        self.here = here
        self.load = load
        self.here_s = here_s
        """Predicted seconds to the first token at this site."""
        self.estimate_s = here_s
        """The same where it goes; if it is shed, the best there was."""

    @property
    def site(self) -> str:
        """Where it goes unless it is shed."""
        return self.here.name if self.peer is None else self.peer.name

    @property
    def runner_up(self) -> PeerView | None:
        """Another peer in which it fits: to turn to if the first refuses, or to hedge."""
        for one in self.considered:
            if one.verdict == _FITS and one.view is not self.peer:
                return one.view
        return None

    def estimate_at(self, peer: PeerView) -> float:
        """Predicted seconds to the first token at a peer that was looked at, or inf."""
        return next((one.estimate_s for one in self.considered if one.view is peer), inf)

    def decision(self, ask: Ask, budget_s: float | None, now_s: float) -> RouteDecision:
        """The record: every place that was looked at, with the figures it was judged by."""
        here, remaining_s = self.here, ask.remaining_s
        age_s = max(0.0, now_s - self.load.as_of_s)
        margin_s = here.residuals.margin_s(ask.rank, self.here_s)
        verdict = self.bar or _verdict(self.here_s, margin_s, remaining_s)
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


_RULES = Rules()


def choose(
    ask: Ask,
    load: EngineLoad,
    here: Here,
    peers: Peers,
    *,
    now_s: float,
    random: Callable[[], float],
    rules: Rules = _RULES,
) -> Choice:
    """Decide on a turn. Nothing is booked yet; whoever acts on the choice books it at once.

    `load` is the exact state of this site's engine, `random` gives numbers in [0, 1).
    """
    here_s = first_token_s(load, ask.prompt_tokens - ask.cached_tokens, ask.rank)
    choice = Choice(here, load, here_s)
    remaining_s = ask.remaining_s
    if (
        here_s <= rules.comfort_s
        and here_s <= rules.comfort_ratio * remaining_s
        and load.num_active < load.num_slots
        and here.is_open
        and (not ask.not_at or here.name not in ask.not_at)
        and (ask.regions is None or here.region in ask.regions)
        and (ask.sites is None or here.name in ask.sites)
    ):
        return choice
    if ask.may_forward and remaining_s > 0.0:
        choice.considered = _consider(ask, peers, now_s, random)
    bar = choice.bar = _bar(ask, load, here)
    margin_s = here.residuals.margin_s(ask.rank, here_s)
    verdict = _OVER_BUDGET if bar else _verdict(here_s, margin_s, remaining_s)
    if not _place(choice, verdict, random, rules):
        _resort(choice, ask, bar, rules)
    return choice


def _consider(
    ask: Ask, peers: Peers, now_s: float, random: Callable[[], float]
) -> list[Considered]:
    """Look at peers in random order, the prompt's home first, until two fit."""
    home = peers.get(ask.home) if ask.home else None
    considered = [] if home is None else [_look_at(home, ask, now_s)]
    num_fitting = sum(one.verdict == _FITS for one in considered)
    for view in peers.drawn(random):
        if view is home:
            continue
        one = _look_at(view, ask, now_s)
        considered.append(one)
        if one.verdict is _FITS:
            num_fitting += 1
            if num_fitting >= 2:
                break
    return considered


def _look_at(view: PeerView, ask: Ask, now_s: float) -> Considered:
    """A peer's estimate, and what speaks against it, if anything."""
    rank, num_tokens, remaining_s = ask[:3]
    if ask.home and view.name == ask.home:
        num_tokens -= ask.home_tokens
    estimate_s = view.ahead_s[rank] + num_tokens * view.prefill_s_per_token
    margin_s = view.margin_s(rank, estimate_s, now_s)
    if not view.ejected_until_s <= now_s <= view.open_until_s:
        verdict = view.health(now_s)
    elif ask.not_at and view.name in ask.not_at:
        verdict = "visited"
    elif ask.model and ask.model not in view.models:
        verdict = "other_model"
    elif ask.regions is not None and view.region not in ask.regions:
        verdict = "other_region"
    elif ask.sites is not None and view.name not in ask.sites:
        verdict = "other_tenant"
    elif view.credit_s[rank] <= 0.0:
        verdict = "no_credit"
    else:
        verdict = _verdict(estimate_s, margin_s, remaining_s)
        if verdict is _OVER_BUDGET and estimate_s - view.age_s(now_s) <= remaining_s:
            verdict = _UNCERTAIN  # it may have worked off since what it last spoke of
    return Considered(view, estimate_s, margin_s, verdict)


def _verdict(estimate_s: float, margin_s: float, remaining_s: float) -> str:
    if estimate_s + margin_s <= remaining_s:
        return _FITS
    return _UNCERTAIN if estimate_s <= remaining_s else _OVER_BUDGET


def _place(choice: Choice, here: str, random: Callable[[], float], rules: Rules) -> bool:
    """Send it where it fits for certain, else where it may; here unless a peer gains.

    `here` is the verdict on this site. False if it fits nowhere.
    """
    for verdict in (_FITS, _UNCERTAIN):
        best = _better(choice, verdict, random, rules)
        if best is not None and (
            here != verdict or best.estimate_s + best.view.cost_s + rules.gain_s < choice.here_s
        ):
            choice.verdict, choice.peer = _PEER, best.view
            choice.estimate_s, choice.margin_s = best.estimate_s, best.margin_s
            return True
        if here == verdict:
            choice.reason = _FITTING if verdict is _FITS else Reason.UNCERTAIN
            return True
    return False


def _better(
    choice: Choice, verdict: str, random: Callable[[], float], rules: Rules
) -> Considered | None:
    """The soonest peer of that verdict; of two that fit, now and then the other."""
    best: Considered | None = None
    other: Considered | None = None
    for one in choice.considered:
        if one.verdict == verdict:
            if best is None or one.estimate_s + one.view.cost_s < _cost_s(best):
                best, other = one, best
            else:
                other = one
    choice.reason = _SOONER if verdict is _FITS else Reason.UNCERTAIN
    if other is not None and verdict is _FITS and random() < rules.exploration_ratio:
        choice.reason = Reason.EXPLORED
        return other
    return best


def _cost_s(one: Considered) -> float:
    return one.estimate_s + one.view.cost_s


def _bar(ask: Ask, load: EngineLoad, here: Here) -> Reason | None:
    """Why it cannot be answered here, whatever the estimate."""
    if ask.not_at and here.name in ask.not_at:
        return Reason.RULED_OUT
    if ask.regions is not None and here.region not in ask.regions:
        return Reason.PLACE_NOT_ALLOWED
    if ask.sites is not None and here.name not in ask.sites:
        return Reason.PLACE_NOT_ALLOWED
    if here.state is SiteState.DRAINING:
        return Reason.DRAINING
    if here.capacity_ratio <= 0.0:
        return Reason.NO_CAPACITY
    # All that waits is looked at first: it is cheaper, and rarely so much.
    voice, agent, batch = load.backlog
    if voice.num_queued + agent.num_queued + batch.num_queued < here.max_num_queued:
        return None
    num_ahead = load.ahead_of(SERVICE_ORDER[ask.rank]).num_queued
    if num_ahead >= here.max_num_queued and load.num_active + num_ahead >= load.num_slots:
        return Reason.QUEUE_FULL
    return None


def _resort(choice: Choice, ask: Ask, bar: Reason | None, rules: Rules) -> None:
    """It fits nowhere: shortened here, waiting here, or not at all."""
    here_s, remaining_s = choice.here_s, ask.remaining_s
    if ask.has_begun and bar not in (Reason.PLACE_NOT_ALLOWED, Reason.RULED_OUT):
        choice.verdict, choice.reason = Verdict.QUEUED, Reason.HAS_BEGUN
        return
    if bar is None and remaining_s > 0.0:
        choice.reason = Reason.NOTHING_FITS
        short_s = first_token_s(choice.load, ask.shortened_tokens, ask.rank)
        if ask.shortened_tokens and short_s <= remaining_s:
            choice.verdict, choice.estimate_s = Verdict.SHORTENED, short_s
            return
        if ask.may_wait and ask.rank and here_s <= rules.overrun_ratio * remaining_s:
            choice.verdict = Verdict.QUEUED
            return
    choice.verdict = Verdict.SHED
    choice.reason = Reason.BUDGET_SPENT if remaining_s <= 0.0 else bar or Reason.NOTHING_FITS
    late = [one.estimate_s for one in choice.considered if one.verdict == _OVER_BUDGET]
    choice.estimate_s = min([*late, here_s])


def refusal(
    ask: Ask, load: EngineLoad, here: Here, *, is_last_resort: bool = False
) -> Reason | None:
    """Why this site does not take a turn that a peer offers, or None if it does.

    It must fit with its margin, because the peer, told at once, may still find a better place;
    where the peer knows of none (`is_last_resort`) the estimate alone must fit.
    """
    if bar := _bar(ask, load, here):
        return bar
    if ask.remaining_s <= 0.0:
        return Reason.BUDGET_SPENT
    here_s = first_token_s(load, ask.prompt_tokens - ask.cached_tokens, ask.rank)
    if not is_last_resort:
        here_s += here.residuals.margin_s(ask.rank, here_s)
    return None if here_s <= ask.remaining_s else Reason.NOTHING_FITS
