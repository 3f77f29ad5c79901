"""Where a request goes: the border to the routing decision, and the arms it is compared with.

A policy decides at the entry site from what that site can know: its own load, the reports it has
received, round trips it has measured. Only references look at the exact state of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.core.estimate import estimate_first_token_s

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from gateway.core.budget import TurnClass
    from gateway.core.generation import EngineLoad

NOWHERE = -1


class Ask(NamedTuple):
    """A request at the site it entered."""

    key: int
    entry: int
    prompt_tokens: int
    turn_class: TurnClass
    remaining_s: float | None
    """Left of the first-token budget, the way back to the client already taken off."""
    tried: tuple[int, ...]
    """Sites that refused or lost it."""


class Report(NamedTuple):
    """What a site said of itself, at `at_s`."""

    load: EngineLoad
    at_s: float
    is_draining: bool


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

    def rtt_s(self, a: int, b: int) -> float:
        """The measured round trip between two sites, without jitter."""
        ...

    def exact(self, site: int) -> Report | None:
        """The true state of any site now, offers on their way included; None if it is down.

        For a site's own load, and for references.
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


class Local:
    """Every site for itself."""

    uses_reports = False

    def route(self, ask: Ask, view: View) -> Route:
        """Here."""
        return Route(ask.entry)


class ExactGreedy:
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


class TwoChoices:
    """Baseline: here if it fits, else the better of two random peers whose reports say it fits.

    Reports are taken as they are, however old, without correction for what was sent since.
    """

    uses_reports = True

    def route(self, ask: Ask, view: View) -> Route:
        """Here, a peer, or nowhere."""
        remaining_s = float("inf") if ask.remaining_s is None else ask.remaining_s
        here = view.exact(ask.entry)
        if (
            here is not None
            and not here.is_draining
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


POLICIES: dict[str, type[Local] | type[ExactGreedy] | type[TwoChoices]] = {
    "local": Local,
    "two_choices": TwoChoices,
    "exact_greedy": ExactGreedy,
}
