"""The arm under test: at every site the shipped decision, and nothing of its own."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gateway.core.generation import CLASS_RANK
from gateway.core.load_report import NOTHING_RECEIVED, Credits, SiteState, report_load
from gateway.core.peer_view import PeerView, Trust
from gateway.core.peers import Peers
from gateway.core.routing import Ask as Question
from gateway.core.routing import Here, Reason, Rules, Verdict, choose, refusal
from loadtests.sim.policy import NOWHERE, Ask, News, Report, Route, View

if TYPE_CHECKING:
    from gateway.core.budget import TurnClass

_CREDITS = Credits()
_MAX_NUM_QUEUED = 64


class Shipped:
    """`core.routing` at every site, fed with the reports and answers that reach the site."""

    uses_reports = True

    def __init__(self, rules: Rules | None = None, trust: Trust | None = None) -> None:
        self._rules = rules or Rules()
        self._trust = trust or Trust(silent_after_s=inf)
        self._desks: dict[int, _Desk] = {}
        self.named_slow_s: dict[int, float] = {}
        """When each site was first called slow by another."""

    def route(self, ask: Ask, view: View) -> Route:
        """What `choose` says; what it sends to a peer is booked there."""
        desk = self._desk(ask.entry, view)
        own = view.own(ask.entry)
        desk.here.state = SiteState.DRAINING if own.is_draining else SiteState.READY
        desk.read_reports(view)
        self._name_slow(desk, view.now_s)
        choice = choose(
            Question(
                CLASS_RANK[ask.turn_class],
                ask.prompt_tokens,
                inf if ask.remaining_s is None else ask.remaining_s,
                not_at=tuple(map(str, ask.tried)),
                may_forward=ask.may_forward,
                may_wait=False,
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
        site = ask.entry
        if peer is not None:
            peer.book(ask.turn_class, ask.prompt_tokens)
            if choice.reason is Reason.UNCERTAIN:
                desk.last_resorts.add(ask.key)
            site = int(peer.name)
        desk.sent[ask.key] = (view.now_s, choice.estimate_s, ask.turn_class, ask.prompt_tokens)
        return Route(site, "" if peer is None else choice.reason)

    def refuses(self, ask: Ask, site: int, view: View) -> str:
        """The receiver's own look at its exact state."""
        if ask.remaining_s is None:
            return ""
        question = Question(CLASS_RANK[ask.turn_class], ask.prompt_tokens, ask.remaining_s)
        here = self._desk(site, view).here
        is_last_resort = ask.key in self._desk(ask.entry, view).last_resorts
        return refusal(question, view.own(site).load, here, is_last_resort=is_last_resort) or ""

    def told(self, entry: int, key: int, site: int, news: News, now_s: float) -> None:
        """Residuals from first tokens, health from everything."""
        desk = self._desks[entry]
        sent_s, estimate_s, turn_class, prompt_tokens = desk.sent.pop(key)
        if site == entry:
            if news is News.FIRST_TOKEN:
                desk.here.residuals.add(CLASS_RANK[turn_class], estimate_s, now_s - sent_s)
            return
        peer = desk.views[site]
        match news:
            case News.FIRST_TOKEN:
                peer.answered(turn_class, estimate_s, now_s - sent_s, now_s)
            case News.REFUSED:
                peer.refused(now_s, was_certain=key not in desk.last_resorts)
            case News.UNANSWERED:
                peer.unbook(turn_class, prompt_tokens)
                peer.failed()
            case News.BROKEN:
                peer.lost()
        desk.peers.judge(peer, now_s)

    def _desk(self, site: int, view: View) -> _Desk:
        desk = self._desks.get(site)
        if desk is None:
            desk = self._desks[site] = _Desk(site, view, self._trust)
        return desk

    def _name_slow(self, desk: _Desk, now_s: float) -> None:
        for site, peer in desk.views.items():
            if peer.is_slow or peer.num_ejections:
                self.named_slow_s.setdefault(site, now_s)


class _Desk:
    """What one site knows."""

    def __init__(self, site: int, view: View, trust: Trust) -> None:
        self.site = site
        self.here = Here(str(site), max_num_queued=_MAX_NUM_QUEUED)
        self.views = {peer: PeerView(str(peer), trust=trust) for peer in view.peers(site)}
        self.peers = Peers(self.views.values())
        self.sent: dict[int, tuple[float, float, TurnClass, int]] = {}
        """By request: when it was sent on, the estimate, and what was booked."""
        self.last_resorts: set[int] = set()
        """Requests that fitted nowhere for certain, as their offers say."""
        self._read: dict[int, Report] = {}
        for peer, known in self.views.items():
            known.timed(view.rtt_s(site, peer), view.now_s)

    def read_reports(self, view: View) -> None:
        """Take what has arrived since the last decision."""
        for site, peer in self.views.items():
            report = view.report(self.site, site)
            if report is None or report is self._read.get(site):
                continue
            self._read[site] = report
            if not peer.is_connected and report.num_starts == peer.epoch:
                continue  # it left before the connection broke
            arrived_s = report.at_s + peer.round_trip.min_s / 2.0
            if not peer.is_connected:
                peer.connected(arrived_s)
            peer.take(
                report_load(
                    report.load,
                    now_s=report.at_s,
                    epoch=report.num_starts,
                    seq=round(report.at_s * 1e6),
                    max_num_queued=_MAX_NUM_QUEUED,
                    credits=_CREDITS,
                    state=SiteState.DRAINING if report.is_draining else SiteState.READY,
                    received=report.received.get(self.site, NOTHING_RECEIVED),
                ),
                arrived_s,
            )
