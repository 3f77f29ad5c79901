"""The arm under test: at every site the shipped decision and settings, and nothing of its own.

What it leaves out: a refused offer goes back to its entry instead of onward; no conversation is
shortened or sent where its prompt is cached; prices, regions and tenants are all alike; a start
has the first round trips measured.
"""

from __future__ import annotations

from math import floor, inf
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.generation import CLASS_RANK
from gateway.core.load_report import NOTHING_RECEIVED, Credits, SiteState, report_load
from gateway.core.peer_view import PeerView, Trust
from gateway.core.peers import Peers
from gateway.core.route_choice import Ask as Question
from gateway.core.route_choice import Here, Reason, Verdict
from gateway.core.routing import Rules, choose, refusal
from loadtests.sim.policy import NOWHERE, Ask, News, Report, Route, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.budget import TurnClass

_CREDITS = Credits()
_BEAT_INTERVAL_S = 0.25
"""As of the links between sites."""


class Shipped:
    """`core.routing` at every site, fed with the reports and answers that reach the site."""

    def __init__(
        self,
        rules: Rules | None = None,
        trust: Trust | None = None,
        *,
        knows_peers: bool = True,
        brakes: bool = True,
    ) -> None:
        """Without `brakes` a site grants all its credit, however late its turns are."""
        self.uses_reports = knows_peers
        self._brakes = brakes
        self._rules = rules or Rules()
        self._trust = trust or Trust()
        self._desks: dict[int, _Desk] = {}
        self.named_slow_s: dict[int, float] = {}
        """When each site was first called slow by another."""

    def route(self, ask: Ask, view: View) -> Route:
        """What `choose` says; what it sends to a peer is booked there."""
        desk = self._desk(ask.entry, view)
        own = view.own(ask.entry)
        desk.here.state = SiteState.DRAINING if own.is_draining else SiteState.READY
        for site in desk.read_reports(view):
            self._name_slow(desk, site, view.now_s)
        choice = choose(
            Question(
                CLASS_RANK[ask.turn_class],
                ask.prompt_tokens,
                inf if ask.remaining_s is None else ask.remaining_s,
                not_at=tuple(map(str, ask.tried)),
                may_forward=ask.may_forward,
            ),
            own.load,
            desk.here,
            desk.peers,
            now_s=view.now_s,
            random=view.rng.random,
            rules=self._rules,
        )
        if choice.verdict is Verdict.SHED:
            return Route(NOWHERE, choice.reason)
        peer = choice.peer
        was_certain = choice.reason is not Reason.UNCERTAIN
        desk.sent[ask.key] = _Sent(
            view.now_s, choice.estimate_s, ask.turn_class, ask.prompt_tokens, was_certain
        )
        if peer is None:
            return Route(ask.entry)
        peer.book(ask.turn_class, ask.prompt_tokens)
        return Route(int(peer.name), choice.reason)

    def refuses(self, ask: Ask, site: int, view: View) -> str:
        """The receiver's own look at its exact state; the offer says if it is a last resort."""
        own, here = view.own(site), self._desk(site, view).here
        here.state = SiteState.DRAINING if own.is_draining else SiteState.READY
        remaining_s = inf if ask.remaining_s is None else ask.remaining_s
        question = Question(CLASS_RANK[ask.turn_class], ask.prompt_tokens, remaining_s)
        offer = self._desk(ask.entry, view).sent.get(ask.key)
        is_last_resort = offer is not None and not offer.was_certain
        return refusal(question, own.load, here, is_last_resort=is_last_resort) or ""

    def told(self, entry: int, key: int, site: int, news: News, now_s: float) -> None:
        """Residuals from first tokens, health from everything."""
        desk = self._desks[entry]
        sent = desk.sent.pop(key, None)
        if sent is None:
            return  # the entry has been started again since
        if site == entry:
            if news is News.FIRST_TOKEN:
                rank = CLASS_RANK[sent.turn_class]
                desk.here.residuals.add(rank, sent.estimate_s, now_s - sent.at_s)
            return
        peer = desk.views[site]
        match news:
            case News.FIRST_TOKEN:
                peer.answered(sent.turn_class, sent.estimate_s, now_s - sent.at_s, now_s)
                peer.finished()
            case News.REFUSED:
                peer.refused(sent.at_s, now_s, was_certain=sent.was_certain)
            case News.UNANSWERED:
                peer.unbook(sent.turn_class, sent.prompt_tokens)
                peer.failed()
            case News.BROKEN:
                peer.lost()
        if desk.peers.judge(peer, now_s):
            self._name_slow(desk, site, now_s)

    def _desk(self, site: int, view: View) -> _Desk:
        """What the site knows; started again, it knows nothing."""
        desk = self._desks.get(site)
        num_starts = view.num_starts(site)
        if desk is None or desk.num_starts != num_starts:
            peers = view.peers(site) if self.uses_reports else ()
            desk = self._desks[site] = _Desk(
                site, peers, view, self._trust, num_starts, brakes=self._brakes
            )
        return desk

    def _name_slow(self, desk: _Desk, site: int, now_s: float) -> None:
        peer = desk.views[site]
        if peer.num_ejections or peer.is_slow:
            self.named_slow_s.setdefault(site, now_s)


class _Sent(NamedTuple):
    """A request on its way, as the entry remembers it."""

    at_s: float
    estimate_s: float
    turn_class: TurnClass
    prompt_tokens: int
    was_certain: bool
    """Whether it fitted there with its margin; if not, its offer says so."""


class _Desk:
    """What one start of a site knows."""

    def __init__(
        self,
        site: int,
        peers: Sequence[int],
        view: View,
        trust: Trust,
        num_starts: int,
        *,
        brakes: bool,
    ) -> None:
        self.site = site
        self._brakes = brakes
        self.num_starts = num_starts
        self.here = Here(str(site), max_num_queued=view.max_num_queued(site))
        self.views = {peer: PeerView(str(peer), trust=trust) for peer in peers}
        self.peers = Peers(self.views.values())
        self.sent: dict[int, _Sent] = {}
        """By request, until it is known what became of it."""
        self._read: dict[int, Report] = {}
        self._way_s = {peer: view.rtt_s(site, peer) / 2.0 for peer in self.views}
        if peers:
            view.watch(site, peers)
        for peer, known in self.views.items():
            known.timed(view.rtt_s(site, peer), view.now_s)

    def read_reports(self, view: View) -> list[int]:
        """Take what has arrived since the last decision; of whom it was."""
        arrived = view.arrived(self.site) if self.views else ()
        read = [site for site in self.views if site in arrived] if arrived else []
        for site in read:
            report = view.report(self.site, site)
            if report is not None and report is not self._read.get(site):
                self._read[site] = report
                self._take(site, self.views[site], report, view)
        now_s = view.now_s
        for site, peer in self.views.items():
            if now_s - peer.heard_s >= _BEAT_INTERVAL_S and peer.is_connected:
                self._hear(site, peer, view)
        return read

    def _take(self, site: int, peer: PeerView, report: Report, view: View) -> None:
        if not peer.is_connected and report.num_starts == peer.epoch:
            return  # it left before the connection broke
        arrived_s = report.at_s + self._way_s[site]
        if not peer.is_connected:
            peer.connected(report.num_starts, arrived_s)
        peer.take(
            report_load(
                report.load,
                now_s=report.at_s,
                epoch=report.num_starts,
                seq=round(report.at_s * 1e6),
                max_num_queued=view.max_num_queued(site),
                credits=report.credits if self._brakes else _CREDITS,
                state=SiteState.DRAINING if report.is_draining else SiteState.READY,
                received=report.received.get(self.site, NOTHING_RECEIVED),
            ),
            arrived_s,
        )

    def _hear(self, site: int, peer: PeerView, view: View) -> None:
        """The last heartbeat that has come, reports or not."""
        way_s = self._way_s[site]
        sent_s = min(view.now_s - way_s, view.beating_until_s(self.site, site))
        if sent_s + way_s - peer.heard_s >= _BEAT_INTERVAL_S:
            peer.heard(floor(sent_s / _BEAT_INTERVAL_S) * _BEAT_INTERVAL_S + way_s)
