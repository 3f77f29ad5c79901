"""Where a turn goes: here while it fits comfortably, else the better of two peers in which it fits.

Two at random, not the best of all: figures are a little old for everybody, and whoever looks best
to all is flooded by all (Mitzenmacher, "How useful is old information?", 2000). What does not fit
anywhere is refused at once; work that will be late only makes other work late.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

from gateway.core.estimate import first_token_s
from gateway.core.generation import SERVICE_ORDER
from gateway.core.load_report import SiteState
from gateway.core.route_choice import (
    FITS,
    OVER_BUDGET,
    UNCERTAIN,
    Choice,
    Considered,
    Reason,
    Verdict,
    fit_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.generation import EngineLoad
    from gateway.core.peer_view import PeerView
    from gateway.core.peers import Peers
    from gateway.core.route_choice import Ask, Here


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
    overrun_ratio: float = 1.0
    """What fits nowhere, and is not voice, waits here if its estimate takes at most this part of
    what is left: by the margin it may be in time still. 1: it is shed."""


# Members of an enumeration take long to look up on every decision.
_PEER = Verdict.PEER
_FITTING, _SOONER, _UNSURE = Reason.FITS, Reason.SOONER, Reason.UNCERTAIN
_EXPLORED = Reason.EXPLORED
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
    choice = Choice(here, load, here_s, here_s)
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
    verdict = OVER_BUDGET if bar else fit_of(here_s, margin_s, remaining_s)
    if not _place(choice, verdict, random, rules):
        _resort(choice, ask, bar, rules)
    return choice


def _consider(
    ask: Ask, peers: Peers, now_s: float, random: Callable[[], float]
) -> list[Considered]:
    """Look at peers in random order, the prompt's home first, until two fit."""
    considered: list[Considered] = []
    rank, num_tokens, remaining_s, model = ask[:4]
    is_picky = bool(ask.not_at) or ask.regions is not None or ask.sites is not None
    terms, num_fitting = ask if is_picky else None, 0
    home = peers.get(ask.home) if ask.home else None
    if home is not None:
        num_new = num_tokens - ask.home_tokens
        one = _look_at(home, rank, num_new, remaining_s, model, terms, now_s)
        considered.append(one)
        num_fitting += one.verdict is FITS
    # Fisher and Yates in place, from the end: whoever stops after two has paid for two.
    shuffled, num_left = peers.shuffled, len(peers.shuffled)
    while num_left:
        chosen = int(random() * num_left)
        num_left -= 1
        view = shuffled[chosen]
        shuffled[chosen], shuffled[num_left] = shuffled[num_left], view
        if view is home:
            continue
        one = _look_at(view, rank, num_tokens, remaining_s, model, terms, now_s)
        considered.append(one)
        if one.verdict is FITS:
            num_fitting += 1
            if num_fitting >= 2:
                break
    return considered


def _look_at(
    view: PeerView,
    rank: int,
    num_tokens: int,
    remaining_s: float,
    model: bytes,
    terms: Ask | None,
    now_s: float,
) -> Considered:
    """A peer's estimate, and what speaks against it, if anything.

    `terms` are those of a turn that may not go everywhere.
    """
    estimate_s = view.ahead_s[rank] + num_tokens * view.prefill_s_per_token
    margin_s = view.margin_s(rank, estimate_s, now_s)
    if not view.ejected_until_s <= now_s <= view.open_until_s:
        verdict = view.health(now_s)
    elif model and model not in view.models:
        verdict = "other_model"
    elif terms is not None and (barred := _barred(view, terms)):
        verdict = barred
    elif view.credit_s[rank] <= 0.0:
        verdict = "no_credit"
    elif estimate_s + margin_s <= remaining_s:
        verdict = FITS
    # It may have worked off since what it last spoke of.
    elif estimate_s <= remaining_s or estimate_s - view.age_s(now_s) <= remaining_s:
        verdict = UNCERTAIN
    else:
        verdict = OVER_BUDGET
    return Considered(view, estimate_s, margin_s, verdict)


def _barred(view: PeerView, ask: Ask) -> str:
    """Why the turn may not go there, or ""."""
    if view.name in ask.not_at:
        return "visited"
    if ask.regions is not None and view.region not in ask.regions:
        return "other_region"
    if ask.sites is not None and view.name not in ask.sites:
        return "other_tenant"
    return ""


def _place(choice: Choice, here: str, random: Callable[[], float], rules: Rules) -> bool:
    """Send it where it fits for certain, else where it may; here unless a peer gains.

    `here` is the verdict on this site. False if it fits nowhere.
    """
    for verdict in (FITS, UNCERTAIN):
        best = _better(choice, verdict, random, rules)
        if best is not None and (
            here != verdict or best.estimate_s + best.view.cost_s + rules.gain_s < choice.here_s
        ):
            choice.verdict, choice.peer = _PEER, best.view
            choice.estimate_s, choice.margin_s = best.estimate_s, best.margin_s
            return True
        if here == verdict:
            choice.reason = _FITTING if verdict is FITS else _UNSURE
            return True
    return False


def _better(
    choice: Choice, verdict: str, random: Callable[[], float], rules: Rules
) -> Considered | None:
    """The soonest peer of that verdict; of two that fit, now and then the other."""
    best: Considered | None = None
    other: Considered | None = None
    best_s = inf
    for one in choice.considered:
        if one.verdict is verdict:
            cost_s = one.estimate_s + one.view.cost_s
            if cost_s < best_s or best is None:
                best, best_s, other = one, cost_s, best
            else:
                other = one
    if verdict is not FITS:
        choice.reason = _UNSURE
    elif other is None or random() >= rules.exploration_ratio:
        choice.reason = _SOONER
    else:
        choice.reason = _EXPLORED
        return other
    return best


def _bar(ask: Ask, load: EngineLoad, here: Here) -> Reason | None:
    """Why it cannot be answered here, whatever the estimate."""
    if ask.not_at and here.name in ask.not_at:
        return Reason.RULED_OUT
    if ask.regions is not None and here.region not in ask.regions:
        return Reason.PLACE_NOT_ALLOWED
    if ask.sites is not None and here.name not in ask.sites:
        return Reason.PLACE_NOT_ALLOWED
    if not here.is_open:
        return Reason.DRAINING if here.state is SiteState.DRAINING else Reason.NO_CAPACITY
    # All that waits is looked at first: it is cheaper, and rarely so much.
    voice, agent, batch = load.backlog
    if voice.num_queued + agent.num_queued + batch.num_queued < here.max_num_queued:
        return None
    num_ahead = load.ahead_of(SERVICE_ORDER[ask.rank]).num_queued
    if num_ahead >= here.max_num_queued and load.num_active + num_ahead >= load.num_slots:
        return Reason.QUEUE_FULL
    return None


def _resort(choice: Choice, ask: Ask, bar: Reason | None, rules: Rules) -> None:
    """It fits nowhere: waiting here, or not at all."""
    here_s, remaining_s = choice.here_s, ask.remaining_s
    if ask.has_begun and bar not in (Reason.PLACE_NOT_ALLOWED, Reason.RULED_OUT):
        choice.verdict, choice.reason = Verdict.QUEUED, Reason.HAS_BEGUN
        return
    if bar is None and remaining_s > 0.0:
        choice.reason = Reason.NOTHING_FITS
        if ask.rank and here_s <= rules.overrun_ratio * remaining_s:
            choice.verdict = Verdict.QUEUED
            return
    choice.verdict = Verdict.SHED
    choice.reason = Reason.BUDGET_SPENT if remaining_s <= 0.0 else bar or Reason.NOTHING_FITS
    late = [one.estimate_s for one in choice.considered if one.verdict == OVER_BUDGET]
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
