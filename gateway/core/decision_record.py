"""A routing decision with everything it was made from, so that it can be made again.

What is written down is what `core.routing.choose` saw: the question, this site's load, each peer as
it was believed to be, and the random numbers. Under the same rules the same choice comes out; under
others, what would have been done instead.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.core.generation import EngineLoad
from gateway.core.load_report import SiteState
from gateway.core.peer_view import PeerView, Trust
from gateway.core.peers import Peers
from gateway.core.route_choice import Ask, Here, Reason, Verdict
from gateway.core.routing import Rules, choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.route_choice import Choice


class HereState(msgspec.Struct, frozen=True, array_like=True):
    """This site, as its decision saw it."""

    name: str
    region: str
    max_num_queued: int
    state: SiteState
    p95_ratio: tuple[float, ...]
    capacity_ratio: float


class PeerState(msgspec.Struct, frozen=True, array_like=True):
    """A peer, as the decision saw it; instants are of the record's clock."""

    name: str
    region: str
    models: tuple[bytes, ...]
    health: str
    """Why it gets no work, or "" if it may."""
    as_of_s: float
    """When its figures were true; minus infinity when there are none."""
    ahead_s: tuple[float, ...]
    credit_s: tuple[float, ...]
    prefill_s_per_token: float
    p95_ratio: tuple[float, ...]
    cost_s: float
    growth_ratio: float

    @classmethod
    def of(cls, view: PeerView, now_s: float) -> PeerState:
        """The peer now."""
        return cls(
            view.name,
            view.region,
            view.models,
            view.health(now_s),
            view.as_of_s,
            tuple(view.ahead_s),
            tuple(view.credit_s),
            view.prefill_s_per_token,
            tuple(view.residuals.p95_ratio),
            view.cost_s,
            view.growth_ratio,
        )

    def view(self) -> PeerView:
        """The peer as it was, to decide by."""
        view = _RecordedPeer(
            self.name,
            region=self.region,
            cost_s=self.cost_s,
            trust=Trust(growth_ratio=self.growth_ratio),
        )
        view.recorded_health = self.health
        view.open_until_s = -inf if self.health else inf
        view.models = self.models
        view.as_of_s = self.as_of_s
        view.ahead_s = list(self.ahead_s)
        view.credit_s = list(self.credit_s)
        view.prefill_s_per_token = self.prefill_s_per_token
        view.residuals.p95_ratio = list(self.p95_ratio)
        return view


class _RecordedPeer(PeerView):
    """A peer whose health was written down."""

    __slots__ = ("recorded_health",)
    recorded_health: str

    def health(self, now_s: float) -> str:
        """What it was."""
        return self.recorded_health


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One decision; `now_s` and the load's `as_of_s` are of the site's own monotonic clock."""

    request_id: str
    now_s: float
    ask: Ask
    load: EngineLoad
    here: HereState
    peers: tuple[PeerState, ...]
    """In the order in which they would be drawn."""
    draws: tuple[float, ...]
    """The random numbers that were used, each in [0, 1)."""
    verdict: Verdict
    chosen: str
    """A site, or "" when it was shed."""
    reason: Reason
    estimate_s: float

    def again(self, rules: Rules, random: Callable[[], float]) -> Choice:
        """The choice under these rules. `random` is asked when the recorded numbers are used up."""
        here = Here(
            self.here.name, max_num_queued=self.here.max_num_queued, region=self.here.region
        )
        here.state = self.here.state
        here.capacity_ratio = self.here.capacity_ratio
        here.residuals.p95_ratio = list(self.here.p95_ratio)
        drawn = iter(self.draws)

        def draw() -> float:
            recorded = next(drawn, None)
            return random() if recorded is None else recorded

        return choose(
            self.ask,
            self.load,
            here,
            Peers(peer.view() for peer in self.peers),
            now_s=self.now_s,
            random=draw,
            rules=rules,
        )


class DecisionSink(Protocol):
    """Keeps decisions. Neither method waits or raises."""

    def wants(self, request_id: str) -> bool:
        """Whether the decisions on this request are kept."""
        ...

    def record(self, decision: DecisionRecord) -> None:
        """Keep it."""
        ...


def choose_on_record(
    request_id: str,
    ask: Ask,
    load: EngineLoad,
    here: Here,
    peers: Peers,
    *,
    now_s: float,
    random: Callable[[], float],
    rules: Rules,
) -> tuple[Choice, DecisionRecord]:
    """`core.routing.choose`, written down. Costs some microseconds for each peer."""
    states = tuple(PeerState.of(view, now_s) for view in peers.in_drawing_order())
    draws: list[float] = []

    def drawn() -> float:
        draws.append(random())
        return draws[-1]

    choice = choose(ask, load, here, peers, now_s=now_s, random=drawn, rules=rules)
    return choice, DecisionRecord(
        request_id=request_id,
        now_s=now_s,
        ask=ask,
        load=load,
        here=HereState(
            here.name,
            here.region,
            here.max_num_queued,
            here.state,
            tuple(here.residuals.p95_ratio),
            here.capacity_ratio,
        ),
        peers=states,
        draws=tuple(draws),
        verdict=choice.verdict,
        chosen=site_of(choice),
        reason=choice.reason,
        estimate_s=choice.estimate_s,
    )


def site_of(choice: Choice) -> str:
    """Where the choice sends the turn; "" when it sheds it."""
    return "" if choice.verdict is Verdict.SHED else choice.site
