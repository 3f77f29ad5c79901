"""The sites, their clients and what passes between them, on one virtual clock."""

from __future__ import annotations

import random
from array import array
from math import inf, isnan
from typing import TYPE_CHECKING

import numpy as np

from gateway.core.generation import add_backlogs, subtract_backlogs
from gateway.core.load_report import NOTHING_RECEIVED, with_turn
from loadtests.sim.engine import Cancel, Ended, FirstToken, Submit, backlog_of
from loadtests.sim.outcome import Fate, Outcome
from loadtests.sim.policy import NOWHERE, Ask, News
from loadtests.sim.site import Shed
from loadtests.sim.view import SitesInView
from loadtests.sim.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.core.generation import ClassBacklogs
    from gateway.core.step_time import StepTimes
    from loadtests.sim.engine import EngineEvent
    from loadtests.sim.links import Links
    from loadtests.sim.policy import Policy
    from loadtests.sim.reports import Reporting
    from loadtests.sim.site import SiteEffect, SiteSpec
    from loadtests.sim.view import Node
    from loadtests.sim.ways import Clients
    from loadtests.sim.workload import Workload


class TooManyMissed(Exception):
    """A run was given up: it has missed more requests than it was allowed to."""


class Grid(SitesInView):
    """One run of one policy."""

    max_num_tries = 3
    """Other sites a request is offered to."""

    def __init__(
        self,
        workload: Workload,
        sites: Sequence[tuple[SiteSpec, StepTimes]],
        links: Links,
        policy: Policy,
        *,
        clients: Clients,
        reporting: Reporting,
        seed: int,
        ways: Ways | None = None,
        cut_off: Collection[int] = (),
        max_num_missed: float = inf,
    ) -> None:
        """`ways` other than the clients' access; requests `cut_off` reach no site.

        `run` raises TooManyMissed once more than `max_num_missed` are shed or lost.
        """
        super().__init__(sites, links, reporting, seed)
        self.outcome = Outcome(workload)
        self._network = random.Random(f"{seed} network")
        self._workload = workload
        self._policy = policy
        self._clients = clients
        self._ways = ways or Ways.drawn(workload, [clients.access], seed=seed)
        self._answers_s = array("d", self._ways.answers_s.tobytes())
        self._voice_s = array("d", self._ways.voice_s.tobytes())
        self._cut_off = cut_off
        self._num_left_to_miss = max_num_missed
        self._entry = array("q", workload.home)
        self._served_at = array("q", [NOWHERE]) * len(workload)
        self._tried: dict[int, tuple[int, ...]] = {}

    def run(self, until_s: float) -> Outcome:
        """Let clients send and sites work until `until_s`."""
        if self._policy.uses_reports:
            for index in range(len(self.nodes)):
                self._mailboxes.publish(index, self.reported(index))  # as links come up
                # Sites start at different times, so their reports do not coincide.
                self.events.at(self.rng.random() * self._reporting.interval_s, self._report, index)
        arrivals_s = np.frombuffer(self._workload.sent_s) + self._ways.asks_s
        keys = np.argsort(arrivals_s, kind="stable")
        order = keys.tolist()
        self.events.run(
            until_s=until_s,
            arrivals_s=array("d", arrivals_s[keys].tobytes()),
            arrive=lambda place: self._arrive(order[place]),
        )
        return self.outcome

    # A request's way.

    def _arrive(self, key: int) -> None:
        """A request reaches its entry site."""
        node = self.nodes[self._entry[key]]
        if key in self._cut_off:
            self._end(key, Fate.FAILED, "cut_off")
        elif not node.is_alive:
            self._client_turns_away(key)
        elif node.frozen_since_s is not None:
            node.held.append((self._arrive, key))
        else:
            self._route(key, ())

    def _route(self, key: int, tried: tuple[int, ...]) -> None:
        entry = self._entry[key]
        request = self._submission(key, entry)
        site, reason = self._policy.route(self._ask(request, tried), self)
        if site == NOWHERE:
            self._end(key, Fate.SHED, reason)
        elif site == entry:
            self._submit(entry, request)
        elif len(tried) >= self.max_num_tries:
            self._end(key, Fate.SHED, "too_many_tries")
        else:
            self._forward(key, site)

    def _ask(self, request: Submit, tried: tuple[int, ...] = ()) -> Ask:
        """The request as it stands at the site that sees it so."""
        deadline_s = request.deadline_s
        remaining_s = None if deadline_s is None else deadline_s - self.events.now_s
        return Ask(
            request.key,
            self._entry[request.key],
            request.prompt_tokens,
            request.turn_class,
            remaining_s,
            tried,
            may_forward=len(tried) < self.max_num_tries,
        )

    def _submission(self, key: int, site: int) -> Submit:
        """The request as `site` sees it: the ways back are taken off its budget."""
        workload = self._workload
        slo = workload.slos[workload.slo[key]]
        deadline_s: float | None = None
        if slo.first_token_s is not None:
            entry = self._entry[key]
            way_back_s = self.links.delay_s(site, entry) + self._ways.delay_s
            way_back_s += self._astray_s(key) + self._voice_s[key]
            deadline_s = workload.sent_s[key] + slo.first_token_s - way_back_s
        return Submit(
            key,
            workload.prompt_tokens[key],
            workload.output_tokens[key],
            slo.turn_class,
            deadline_s,
        )

    def _forward(self, key: int, site: int) -> None:
        """Offer the request to another site."""
        entry = self._entry[key]
        self.outcome.num_forwarded += 1
        self._tried[key] = (*self._tried.get(key, ()), site)
        if not self.links.are_joined(entry, site):
            self._answer_late(key)
            return
        node = self.nodes[site]
        node.coming = add_backlogs(node.coming, self._backlog_of(key))
        delay_s = self.links.sample_s(entry, site, self._network)
        self.events.at(self.events.now_s + delay_s, self._offered, key)

    def _offered(self, key: int) -> None:
        """An offer reaches the site it was sent to."""
        site = self._tried[key][-1]
        node = self.nodes[site]
        node.coming = subtract_backlogs(node.coming, self._backlog_of(key))
        if node.is_alive:
            entry, here = self._entry[key], self._submission(key, site)
            received = node.received.get(entry, NOTHING_RECEIVED)
            received = with_turn(received, here.turn_class, here.prompt_tokens)
            node.received = {**node.received, entry: received}
        self._accept(key)

    def _backlog_of(self, key: int) -> ClassBacklogs:
        workload = self._workload
        turn_class = workload.slos[workload.slo[key]].turn_class
        return backlog_of(turn_class, workload.prompt_tokens[key])

    def _accept(self, key: int) -> None:
        site = self._tried[key][-1]
        node = self.nodes[site]
        if not node.is_alive:
            self._answer_late(key)
            return
        if node.frozen_since_s is not None:
            node.held.append((self._accept, key))
            return
        request = self._submission(key, site)
        if self._policy.refuses(self._ask(request), site, self):
            self._refuse(site, key)
        else:
            self._submit(site, request)

    def _answer_late(self, key: int) -> None:
        """Nobody answers the offer: the entry notices after twice the usual round trip."""
        rtt_s = self.links.rtt_s(self._entry[key], self._tried[key][-1])
        self.events.at(self.events.now_s + 2.0 * rtt_s, self._unanswered, key)

    def _unanswered(self, key: int) -> None:
        site = self._tried[key][-1]
        self._came_to_nothing(key, News.UNANSWERED if self.nodes[site].is_alive else News.BROKEN)

    def _refused(self, key: int) -> None:
        self._came_to_nothing(key, News.REFUSED)

    def _came_to_nothing(self, key: int, news: News) -> None:
        """The entry learns it of its offer, once it does anything at all."""
        node = self.nodes[self._entry[key]]
        if not node.is_alive:
            self._client_turns_away(key)
        elif node.frozen_since_s is not None:
            node.held.append((lambda key: self._came_to_nothing(key, news), key))
        else:
            tried = self._tried[key]
            self._policy.told(self._entry[key], key, tried[-1], news, self.events.now_s)
            self._route(key, tried)

    def _client_turns_away(self, key: int) -> None:
        """The entry is dead: the client goes to the nearest living site, or gives up."""
        failover_s = self._clients.failover_s
        home = self._workload.home[key]
        if failover_s is not None:
            for other in self.links.nearest_to(home, self.num_sites - 1):
                if self.nodes[other].is_alive:
                    self._entry[key] = other
                    self._tried.pop(key, None)
                    delay_s = failover_s + self.links.delay_s(home, other)
                    self.events.at(self.events.now_s + delay_s, self._arrive, key)
                    return
        self._end(key, Fate.FAILED, "entry_is_down")

    def _end(self, key: int, fate: Fate, reason: str) -> None:
        self.outcome.fate[key] = fate
        self.outcome.reasons[reason] += 1
        self._tried.pop(key, None)
        self._num_left_to_miss -= 1
        if self._num_left_to_miss < 0:
            raise TooManyMissed

    def _astray_s(self, key: int) -> float:
        """One way between the client's home site and the one it had to turn to."""
        return self.links.delay_s(self._workload.home[key], self._entry[key])

    # A site's work.

    def _submit(self, site: int, request: Submit) -> None:
        self._served_at[request.key] = site
        self._tell(site, request)

    def _tell(self, site: int, event: EngineEvent) -> None:
        node = self.nodes[site]
        effects = node.site.receive(event, self.events.now_s)
        if effects:
            self._apply(site, effects)
        self._plan(site, node)

    def _plan(self, site: int, node: Node) -> None:
        wake_at_s = node.site.engine.wake_at_s
        if wake_at_s != node.planned_s:
            node.planned_s = wake_at_s
            if wake_at_s != inf:
                self.events.at(wake_at_s, self._wake, site)

    def _wake(self, site: int) -> None:
        """A step may be over. One that was moved since, or a frozen site, has nothing to do."""
        node, now_s = self.nodes[site], self.events.now_s
        engine = node.site.engine
        if engine.wake_at_s > now_s or node.frozen_since_s is not None:
            return
        effects = node.site.wake(now_s)
        if effects:
            self._apply(site, effects)
        self._plan(site, node)

    def _apply(self, site: int, effects: Sequence[SiteEffect]) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is FirstToken or kind is Ended:
                self._deliver((site, effect.key, kind is Ended))
            elif site != self._entry[effect.key]:
                self._refuse(site, effect.key)
            else:
                reason = effect.reason if isinstance(effect, Shed) else kind.__name__.lower()
                self._policy.told(site, effect.key, site, News.REFUSED, self.events.now_s)
                self._end(effect.key, Fate.SHED, reason)

    def _deliver(self, tokens: tuple[int, int, bool]) -> None:
        """First or last tokens leave a site for the client: (site, key, whether the last)."""
        site, key, is_last = tokens
        if self._served_at[key] != site:
            return  # the stream broke before
        entry = self._entry[key]
        arrives_s = self.events.now_s
        if site != entry:
            entrance = self.nodes[entry]
            if entrance.frozen_since_s is not None:
                entrance.held.append((self._deliver, tokens))
                return
            if not entrance.is_alive or not self.links.are_joined(site, entry):
                self._lose(key, site)
                self._tell(site, Cancel(key))
                return
            arrives_s += self._answer_s(site, entry)
        if not is_last:
            if site == entry:
                self._first_token((entry, key, site))
            else:
                self.events.at(arrives_s, self._first_token, (entry, key, site))
        at_client_s = arrives_s + self._astray_s(key) + self._answers_s[key]
        self._note(key, site, at_client_s, is_last=is_last)

    def _first_token(self, answer: tuple[int, int, int]) -> None:
        """It has reached the entry: (entry, key, who gave it)."""
        entry, key, site = answer
        node = self.nodes[entry]
        if node.frozen_since_s is not None:
            node.held.append((self._first_token, answer))
        elif node.is_alive:
            self._policy.told(entry, key, site, News.FIRST_TOKEN, self.events.now_s)

    def _note(self, key: int, site: int, at_client_s: float, *, is_last: bool) -> None:
        """Tokens reach the client; later ones never overtake earlier ones."""
        outcome = self.outcome
        seconds = at_client_s - self._workload.sent_s[key]
        if not is_last:
            outcome.first_token_s[key] = seconds
            outcome.served_by[key] = site
            return
        outcome.last_token_s[key] = max(seconds, outcome.first_token_s[key])
        outcome.fate[key] = Fate.DONE
        self._tried.pop(key, None)

    def _answer_s(self, site: int, entry: int) -> float:
        """How long an answer of a site travels to the entry; it carries the site's report."""
        travel_s = self.links.sample_s(site, entry, self._network)
        if self._policy.uses_reports:
            report = self.reported(site)
            arrives_s = self.events.now_s + travel_s
            self._mailboxes.piggy_back(entry, site, report, arrives_s)
        return travel_s

    def _refuse(self, site: int, key: int) -> None:
        """A refusal travels back to the entry, with the site's report on it."""
        entry = self._entry[key]
        if not self.links.are_joined(site, entry):
            self._answer_late(key)
            return
        arrives_s = self.events.now_s + self._answer_s(site, entry)
        self.events.at(arrives_s, self._refused, key)

    def _report(self, site: int) -> None:
        node = self.nodes[site]
        if node.is_alive and node.frozen_since_s is None:
            self._mailboxes.publish(site, self.reported(site))
        self.events.at(self.events.now_s + self._reporting.interval_s, self._report, site)

    # What befalls sites: called by the fault plan.

    def kill(self, site: int) -> None:
        """Lose everything at a site; its own clients and the entries it worked for notice."""
        node = self.nodes[site]
        node.is_alive = False
        held, node.held = node.held, []
        node.frozen_since_s = None
        for key in node.site.kill():
            self._lose(key, site)
        for call, argument in held:
            call(argument)
        self._plan(site, node)

    def _lose(self, key: int, site: int) -> None:
        """The stream from `site` broke. Before its first token a request can be asked again
        elsewhere.
        """
        self._served_at[key] = NOWHERE
        if not isnan(self.outcome.first_token_s[key]):
            self._end(key, Fate.FAILED, "stream_broke")
        elif site != self._entry[key]:
            self._answer_late(key)
        else:
            self._client_turns_away(key)

    def restart(self, site: int) -> None:
        """A killed site is back, empty."""
        node = self.nodes[site]
        node.is_alive = True
        node.num_starts += 1
        node.received = {}

    def freeze(self, site: int) -> None:
        """Nothing happens at a site from now on."""
        node = self.nodes[site]
        if node.frozen_since_s is None:
            node.frozen_since_s = self.events.now_s

    def thaw(self, site: int) -> None:
        """A frozen site goes on where it stood."""
        node = self.nodes[site]
        if node.frozen_since_s is None:
            return
        node.site.engine.pause(self.events.now_s - node.frozen_since_s)
        node.frozen_since_s = None
        self._plan(site, node)
        held, node.held = node.held, []
        for call, argument in held:
            call(argument)

    def slow_down(self, site: int, factor: float, *, is_known: bool) -> None:
        """Steps at a site take `factor` times what its profile says."""
        node = self.nodes[site]
        node.site.set_slowness(factor, self.events.now_s, is_known=is_known)
        self._plan(site, node)

    def drain(self, site: int, is_draining: bool) -> None:
        """A site takes nothing new, or again does."""
        self.nodes[site].site.is_draining = is_draining
