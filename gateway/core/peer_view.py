"""What a site believes of one peer: its figures, what was sent there since, and its health.

Everything comes in as events with an instant on the reader's monotonic clock. Figures that are
old or missing lower trust, never raise it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

from gateway.core.generation import CLASS_RANK
from gateway.core.load_report import SiteState
from gateway.core.residuals import Residuals
from gateway.core.retry_budget import PeerRetries
from gateway.core.round_trip import RoundTrip

if TYPE_CHECKING:
    from gateway.core.budget import TurnClass
    from gateway.core.load_report import LoadReport

_NUM_CLASSES = len(CLASS_RANK)
_SPEED_WEIGHT = 0.02
_DRAINING = SiteState.DRAINING


class Trust(msgspec.Struct, frozen=True):
    """When a peer is believed. Times in seconds."""

    silent_after_s: float = 0.75
    """Heard nothing for so long, a peer gets no new work: three heartbeats."""
    max_num_errors: int = 3
    """Turns in a row that failed there that eject it."""
    outlier_ratio: float = 3.0
    """First tokens that take this many times the estimate eject it,"""
    outlier_s: float = 0.05
    """and by at least so much,"""
    outlier_num: int = 5
    """over so many."""
    max_num_refusals: int = 20
    """Refusals in a row of turns that by its own figures fit it with their margin eject it."""
    ejection_s: float = 5.0
    """For the first ejection; doubles with each that follows."""
    max_ejection_s: float = 60.0
    slow_ratio: float = 2.0
    """A peer that says it is this many times slower than it used to be is named."""
    growth_ratio: float = 0.05
    """Seconds by which a wait may have grown unseen, per second of age."""


_TRUST = Trust()


class PeerView:
    """One peer, as one site sees it. Not for several threads."""

    __slots__ = (
        "_growth_ratio",
        "_num_late",
        "_num_refusals",
        "_prefill_baseline_s",
        "_refused_s",
        "_resync",
        "_sent_tokens",
        "_sent_turns",
        "_trust",
        "_unseen_tokens",
        "_unseen_turns",
        "ahead_s",
        "as_of_s",
        "cost_s",
        "credit_s",
        "ejected_until_s",
        "epoch",
        "heard_s",
        "is_connected",
        "models",
        "name",
        "num_ejections",
        "num_errors",
        "open_until_s",
        "prefill_s_per_token",
        "region",
        "report",
        "residuals",
        "retries",
        "round_trip",
        "state",
    )

    def __init__(
        self, name: str, *, region: str = "", cost_s: float = 0.0, trust: Trust = _TRUST
    ) -> None:
        self.name = name
        self.region = region
        self.cost_s = cost_s
        """What turns rather wait for than go there (price, energy); its operator's word."""
        self.models: tuple[bytes, ...] = ()
        self.state = SiteState.READY
        self.report: LoadReport | None = None
        self.epoch = -1
        self.as_of_s = -inf
        """The instant the newest figures were true."""
        self.heard_s = -inf
        self.is_connected = True
        self.open_until_s = -inf
        """Until when it may be sent work if it says nothing more; `health` has the reason."""
        self.round_trip = RoundTrip()
        self.residuals = Residuals()
        self.retries = PeerRetries()
        self.num_errors = 0
        self.num_ejections = 0
        self.ejected_until_s = -inf
        self.prefill_s_per_token = 0.0
        self.ahead_s = [inf] * _NUM_CLASSES
        """By class: from now to the prefill of a turn sent there, and the step after it. The
        round trip, what is ahead by the peer's figures, and what was sent there since."""
        self._trust = trust
        self._growth_ratio = trust.growth_ratio
        self._prefill_baseline_s = 0.0
        self._num_late = 0
        self._num_refusals = 0
        self._refused_s = -inf
        """When the last refusal came that counts."""
        self.credit_s = [0.0] * _NUM_CLASSES
        """By class: what it said it will accept, less what was sent since."""
        self._resync = False
        # Sent and not yet in the peer's figures: totals by class, and sums over a class and
        # those before it, which is what a turn of the class has ahead.
        self._sent_turns = [0] * _NUM_CLASSES
        self._sent_tokens = [0] * _NUM_CLASSES
        self._unseen_turns = [0] * _NUM_CLASSES
        self._unseen_tokens = [0] * _NUM_CLASSES

    # What the peer says.

    def take(self, report: LoadReport, now_s: float) -> bool:
        """A report has arrived; False if it says nothing new.

        Of two reports the one with the higher (epoch, seq) counts, however they came.
        """
        known = self.report
        if known is not None and (report.epoch, report.seq) <= (known.epoch, known.seq):
            return False
        if report.epoch != self.epoch or self._resync:
            # What was sent to the epoch before is gone with it.
            self._sent_turns = [received.num_turns for received in report.received]
            self._sent_tokens = [received.prompt_tokens for received in report.received]
            self._resync = False
        self.epoch = report.epoch
        self.report = report
        self.state = report.state
        self._hear(now_s)
        self.as_of_s = now_s - report.age_us * 1e-6 - self.round_trip.min_s / 2.0
        self.models = report.models
        self._take_speed(report.prefill_ns_per_token * 1e-9)
        self._count_unseen(report)
        self._look_ahead()
        return True

    def timed(self, rtt_s: float, now_s: float) -> None:
        """A round trip to the peer ended. Raises ValueError if it cannot have taken so long."""
        self.round_trip.add(rtt_s, now_s)
        self._hear(now_s)
        self._look_ahead()

    def heard(self, now_s: float) -> None:
        """Something else came from the peer: it lives."""
        self._hear(now_s)

    def connected(self, epoch: int, now_s: float) -> None:
        """The link to this start of the peer is up; work on the old one is accounted anew.

        What another start said is void, also where its epoch was higher: the peer's clock may have
        been set back meanwhile.
        """
        if epoch != self.epoch:
            self.report = None
        self.is_connected = True
        self._hear(now_s)
        self._resync = True

    def lost(self) -> None:
        """The link is down: no new work until it is up again."""
        self.is_connected = False
        self.open_until_s = -inf

    # What was sent there, and what came of it.

    def book(self, turn_class: TurnClass, prompt_tokens: int) -> None:
        """A turn is on its way there. To be called before anything is awaited."""
        self._send(CLASS_RANK[turn_class], 1, prompt_tokens)

    def unbook(self, turn_class: TurnClass, prompt_tokens: int) -> None:
        """A turn that was booked never left this site."""
        self._send(CLASS_RANK[turn_class], -1, -prompt_tokens)

    def answered(
        self, turn_class: TurnClass, estimate_s: float, actual_s: float, now_s: float
    ) -> None:
        """A first token came from there, `actual_s` after it was asked for."""
        self._hear(now_s)
        self._num_refusals = 0
        self.retries.succeeded()
        trust = self._trust
        is_late = self._note_first_token(turn_class, estimate_s, actual_s)
        if not is_late and self.num_ejections and now_s > self.ejected_until_s + trust.ejection_s:
            self.num_ejections -= 1

    def finished(self) -> None:
        """A turn came to its end there: only that shows that it does what it begins."""
        self.num_errors = 0

    def outrun(self, turn_class: TurnClass, estimate_s: float, waited_s: float) -> None:
        """Another peer, asked later, had the first token before: it would have taken longer."""
        self._note_first_token(turn_class, estimate_s, waited_s)

    def refused(self, asked_s: float, now_s: float, *, was_certain: bool) -> None:
        """It will not, or no longer: it lives. `was_certain`: by its figures or word it had room.

        Who drains breaks no word, and who is asked often before the first refusal is known breaks
        one.
        """
        self._hear(now_s)
        self.num_errors = 0
        if was_certain and self.state is not _DRAINING and asked_s >= self._refused_s:
            self._num_refusals += 1
            self._refused_s = now_s

    def failed(self) -> None:
        """An error there, or no answer or token in time."""
        self.num_errors += 1
        self.retries.failed()

    @property
    def is_outlier(self) -> bool:
        """Whether it failed, was late or broke its word often enough in a row to be ejected."""
        trust = self._trust
        return (
            self.num_errors >= trust.max_num_errors
            or self._num_late >= trust.outlier_num
            or self._num_refusals >= trust.max_num_refusals
        )

    def eject(self, now_s: float) -> None:
        """Give it no work for a while, longer each time."""
        trust = self._trust
        length_s = min(trust.max_ejection_s, trust.ejection_s * 2.0**self.num_ejections)
        self.ejected_until_s = now_s + length_s
        self.num_ejections = min(self.num_ejections + 1, 10)
        self.num_errors = self._num_late = self._num_refusals = 0

    @property
    def growth_ratio(self) -> float:
        """Seconds by which its wait may have grown unseen, per second of age."""
        return self._growth_ratio

    # What is believed.

    def estimate_s(self, rank: int, prompt_tokens: int) -> float:
        """Predicted seconds from now to the first token of a turn sent there."""
        return self.ahead_s[rank] + prompt_tokens * self.prefill_s_per_token

    def margin_s(self, rank: int, estimate_s: float, now_s: float) -> float:
        """What the estimate may be short of: its usual error, and what age hides."""
        margin_s = (self.residuals.p95_ratio[rank] - 1.0) * estimate_s
        return margin_s + self._growth_ratio * (now_s - self.as_of_s)

    def age_s(self, now_s: float) -> float:
        """How old its figures are; infinite when there are none."""
        return now_s - self.as_of_s

    def health(self, now_s: float) -> str:
        """Why it gets no work, in a word, or "" if it may."""
        if now_s < self.ejected_until_s:
            return "ejected"
        if self.report is None:
            return "unknown"
        if not self.is_connected:
            return "lost"
        if self.state is _DRAINING:
            return "draining"
        return "silent" if now_s > self.open_until_s else ""

    @property
    def step_s(self) -> float:
        """Between two tokens of a turn there, at least; infinite when it has not said."""
        return inf if self.report is None else self.report.step_us * 1e-6

    @property
    def is_slow(self) -> bool:
        """Whether it says of itself that it is far slower than it used to be, or is DEGRADED."""
        limit_s = self._trust.slow_ratio * self._prefill_baseline_s
        return self.state is SiteState.DEGRADED or self.prefill_s_per_token > limit_s > 0.0

    def _hear(self, now_s: float) -> None:
        self.heard_s = max(self.heard_s, now_s)
        takes_work = self.is_connected and self.report and self.state is not _DRAINING
        self.open_until_s = self.heard_s + self._trust.silent_after_s if takes_work else -inf

    def _note_first_token(self, turn_class: TurnClass, estimate_s: float, actual_s: float) -> bool:
        """Whether it was far later than estimated."""
        self.residuals.add(CLASS_RANK[turn_class], estimate_s, actual_s)
        trust = self._trust
        is_late = actual_s > trust.outlier_ratio * estimate_s + trust.outlier_s
        self._num_late = self._num_late + 1 if is_late else 0
        return is_late

    def _take_speed(self, prefill_s_per_token: float) -> None:
        """The usual speed is learned slowly upwards and at once downwards."""
        self.prefill_s_per_token = prefill_s_per_token
        baseline_s = self._prefill_baseline_s
        if not 0.0 < baseline_s < prefill_s_per_token:
            self._prefill_baseline_s = prefill_s_per_token
        elif not self.is_slow:
            self._prefill_baseline_s += _SPEED_WEIGHT * (prefill_s_per_token - baseline_s)

    def _send(self, rank: int, num_turns: int, num_tokens: int) -> None:
        self._sent_turns[rank] += num_turns
        self._sent_tokens[rank] += num_tokens
        for later in range(rank, _NUM_CLASSES):
            self._unseen_turns[later] = max(0, self._unseen_turns[later] + num_turns)
            self._unseen_tokens[later] = max(0, self._unseen_tokens[later] + num_tokens)
        self._look_ahead()

    def _count_unseen(self, report: LoadReport) -> None:
        """A peer that claims more than it was sent takes nothing away from other classes."""
        num_turns = num_tokens = 0
        for rank, received in enumerate(report.received):
            num_turns += max(0, self._sent_turns[rank] - received.num_turns)
            num_tokens += max(0, self._sent_tokens[rank] - received.prompt_tokens)
            self._unseen_turns[rank] = num_turns
            self._unseen_tokens[rank] = num_tokens

    def _look_ahead(self) -> None:
        """Work out `ahead_s` and `credit_s` anew."""
        report = self.report
        if report is None:
            return
        way_s = self.round_trip.min_s + self.round_trip.jitter_s + report.step_us * 1e-6
        for rank, wait_us in enumerate(report.wait_us):
            num_unseen = self._unseen_turns[rank]
            num_without_slot = report.num_ahead[rank] + 1 - report.num_free
            num_waited = min(num_unseen, max(0, num_without_slot + num_unseen))
            unseen_s = self._unseen_tokens[rank] * self.prefill_s_per_token
            self.credit_s[rank] = report.credit_us[rank] * 1e-6 - unseen_s
            unseen_s += num_waited * report.slot_us * 1e-6
            self.ahead_s[rank] = way_s + wait_us * 1e-6 + unseen_s
