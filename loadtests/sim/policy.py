"""Where a request goes: the border to the routing decision, and the arms it is compared with.

A policy decides at the entry site from what that site can know: its own load, the reports it has
received, round trips it has measured. Only references look at the exact state of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.estimate import estimate_first_token_s
from gateway.core.generation import EngineLoad
from gateway.core.load_report import ByClass, Credits

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Sequence

NOWHERE = -1


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A request at the site it entered."""

    key: int
    entry: int
    prompt_tokens: int
    turn_class: TurnClass
    remaining_s: float | None
    """Left of the first-token budget, the way back to the client already taken off."""
    tried: tuple[int, ...]
    """Sites that refused or lost it."""
    may_forward: bool = True
    """Whether it may be offered to one more."""


class Report(msgspec.Struct, frozen=True):
    """What a site said of itself, at `at_s`."""

    load: EngineLoad
    at_s: float
    is_draining: bool
    num_starts: int = 0
    """How often the site has been started again."""
    received: Mapping[int, ByClass] = {}
    """What it had received from every other site."""
    credits: Credits = Credits()
    """What its objectives leave of them."""


class News(Enum):
    """What became of a request at a site, in the order of how bad it is."""

    FIRST_TOKEN = auto()
    REFUSED = auto()
    UNANSWERED = auto()
    """No answer in time."""
    BROKEN = auto()
    """The connection was reset."""


class View(Protocol):
    """What a policy may look at."""

    @property
    def now_s(self) -> float:
        """Virtual time."""
        ...

    @property
    def rng(self) -> random.Random:
        """The policies' own source of chance."""
        ...

    def peers(self, site: int) -> Sequence[int]:
        """The sites a site exchanges reports with."""
        ...

    def report(self, site: int, peer: int) -> Report | None:
        """The newest report of `peer` that has reached `site`."""
        ...

    def watch(self, site: int, peers: Sequence[int]) -> None:
        """From now on `arrived` says of which of these `site` has something new."""
        ...

    def arrived(self, site: int) -> Collection[int]:
        """The watched peers of which `report` may say something new since the last call; at
        first, all.
        """
        ...

    def beating_until_s(self, site: int, peer: int) -> float:
        """Until when the heartbeats of `peer` have been sent that reach `site`; -inf: its link
        is broken.
        """
        ...

    def num_starts(self, site: int) -> int:
        """How often a site has been started again."""
        ...

    def max_num_queued(self, site: int) -> int:
        """What may wait at a site."""
        ...

    def rtt_s(self, a: int, b: int) -> float:
        """The measured round trip between two sites, without jitter."""
        ...

    def own(self, site: int) -> Report:
        """What a site knows of its load. For decisions made at that site."""
        ...

    def exact(self, site: int) -> Report | None:
        """The true state of any site now, offers on their way included; None if it is down.

        For references.
        """
        ...

    @property
    def num_sites(self) -> int:
        """Sites are 0..n-1."""
        ...


class Route(NamedTuple):
    """`site` is NOWHERE for shed. `reason` says why it was shed or sent elsewhere."""

    site: int
    reason: str = ""


class Policy(Protocol):
    """A routing decision."""

    uses_reports: bool
    """Whether sites must report to each other."""

    def route(self, ask: Ask, view: View) -> Route:
        """Decide. A request sent to its own entry is still admitted or shed there."""
        ...

    def refuses(self, ask: Ask, site: int, view: View) -> str:
        """Why `site` does not take an offer that has reached it, or ""."""
        ...

    def told(self, entry: int, key: int, site: int, news: News, now_s: float) -> None:
        """What the entry learns of a request that it sent to `site`, which may be itself."""
        ...


class Unmoved:
    """A policy that learns nothing from what becomes of requests."""

    def refuses(self, ask: Ask, site: int, view: View) -> str:
        """Nothing; the site's own admission decides."""
        return ""

    def told(self, entry: int, key: int, site: int, news: News, now_s: float) -> None:
        """Nothing."""


class Local(Unmoved):
    """Every site for itself."""

    uses_reports = False

    def route(self, ask: Ask, view: View) -> Route:
        """Here."""
        return Route(ask.entry)


class ExactGreedy(Unmoved):
    """Reference: the earliest predicted first token over all sites, by their exact state now.

    No real policy can know this much. It is greedy, hence not an upper bound. Looks at every
    site for every request.
    """

    uses_reports = False

    def route(self, ask: Ask, view: View) -> Route:
        """The best of all sites, or nowhere if even that is late."""
        best, best_s = NOWHERE, float("inf")
        for site in range(view.num_sites):
            report = view.exact(site)
            if report is None or report.is_draining or site in ask.tried:
                continue
            estimate_s = view.rtt_s(ask.entry, site) + estimate_first_token_s(
                report.load, ask.prompt_tokens, ask.turn_class
            )
            if estimate_s < best_s:
                best, best_s = site, estimate_s
        if ask.remaining_s is not None and best_s > ask.remaining_s:
            return Route(NOWHERE, "estimate_over_budget")
        return Route(best, "" if best != NOWHERE else "no_site")


class TwoChoices(Unmoved):
    """Baseline: here if it fits, else the better of two random peers whose reports say it fits.

    Reports are taken as they are, however old, without correction for what was sent since.
    """

    uses_reports = True

    def route(self, ask: Ask, view: View) -> Route:
        """Here, a peer, or nowhere."""
        remaining_s = float("inf") if ask.remaining_s is None else ask.remaining_s
        here = view.own(ask.entry)
        if (
            not here.is_draining
            and estimate_first_token_s(here.load, ask.prompt_tokens, ask.turn_class) <= remaining_s
        ):
            return Route(ask.entry)
        fitting = self._fitting_peers(ask, view, remaining_s)
        if not fitting:
            return Route(NOWHERE, "no_peer_fits")
        if len(fitting) > 2:
            fitting = view.rng.sample(fitting, 2)
        return Route(min(fitting)[1], "here_is_late")

    def _fitting_peers(self, ask: Ask, view: View, remaining_s: float) -> list[tuple[float, int]]:
        fitting = []
        for peer in view.peers(ask.entry):
            report = view.report(ask.entry, peer)
            if report is None or report.is_draining or peer in ask.tried:
                continue
            estimate_s = view.rtt_s(ask.entry, peer) + estimate_first_token_s(
                report.load, ask.prompt_tokens, ask.turn_class
            )
            if estimate_s <= remaining_s:
                fitting.append((estimate_s, peer))
        return fitting


class TwoRandom(Unmoved):
    """Baseline: power of two choices over all places, the entry among them, by their reports."""

    uses_reports = True

    def route(self, ask: Ask, view: View) -> Route:
        """The sooner of two places drawn at random; it is for them to shed."""
        places = [ask.entry, *view.peers(ask.entry)]
        two = view.rng.sample(places, 2) if len(places) > 1 else places
        best, best_s = NOWHERE, float("inf")
        for site in two:
            estimate_s = _reported_s(ask, view, site)
            if estimate_s is not None and estimate_s < best_s:
                best, best_s = site, estimate_s
        return Route(best, "" if best != NOWHERE else "no_site")


class RoundRobin(Unmoved):
    """Baseline: every place in turn, whatever its load."""

    uses_reports = False

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def route(self, ask: Ask, view: View) -> Route:
        """The next of the entry and its peers that has not refused."""
        places = [ask.entry, *view.peers(ask.entry)]
        for _ in places:
            number = self._next[ask.entry] = self._next.get(ask.entry, -1) + 1
            site = places[number % len(places)]
            if site not in ask.tried:
                return Route(site, "" if site == ask.entry else "its_turn")
        return Route(NOWHERE, "no_site")


class RankedList(Unmoved):
    """Baseline: all places in the order of their reports; the first that has not refused.

    What a gateway does that is given a sorted list now and then.
    """

    uses_reports = True

    def route(self, ask: Ask, view: View) -> Route:
        """The head of the list."""
        ranked = [
            (estimate_s, site)
            for site in (ask.entry, *view.peers(ask.entry))
            if (estimate_s := _reported_s(ask, view, site)) is not None
        ]
        return Route(min(ranked)[1], "ranked_first") if ranked else Route(NOWHERE, "no_site")


def _reported_s(ask: Ask, view: View, site: int) -> float | None:
    """The first token there by its last report, which for the entry itself is as old as others'."""
    report = view.report(ask.entry, site)
    if site in ask.tried or (report is not None and report.is_draining):
        return None
    if report is None:
        return 0.0 if site == ask.entry else None
    return view.rtt_s(ask.entry, site) + estimate_first_token_s(
        report.load, ask.prompt_tokens, ask.turn_class
    )
