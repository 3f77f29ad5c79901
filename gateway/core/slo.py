"""Whether a site keeps its promise: attainment and burn rates over sliding windows, by class.

An objective says which part of the turns with a budget is to meet it. The burn rate is how many
times faster than that allows turns miss: at 1 the error budget is used up exactly at the end of its
period. A rule fires when a long window and a short one both burn: the long one shows that it
matters, the short one that it still goes on (Google, "The Site Reliability Workbook", chapter 5).
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import CLASS_RANK, SERVICE_ORDER
from gateway.core.latency_histogram import LatencyHistogram, bucket_of
from gateway.core.service_report import (
    LONG_S,
    SHORT_S,
    ClassService,
    Fate,
    ServiceReport,
    Tally,
)

_FINE_S, _COARSE_S = 1.0, 10.0
"""Lengths of the slices that windows are made of; a window is exact to one of its slices."""


class Objectives(msgspec.Struct, frozen=True):
    """Which part of the turns of each class is to meet its budget."""

    voice_ratio: float = 0.99
    agent_ratio: float = 0.99
    batch_ratio: float = 0.95

    def of(self, turn_class: TurnClass) -> float:
        """That of one class."""
        match turn_class:
            case TurnClass.VOICE:
                return self.voice_ratio
            case TurnClass.AGENT:
                return self.agent_ratio
            case TurnClass.BATCH:
                return self.batch_ratio


class BurnRule(NamedTuple):
    """Fires while both windows burn at `rate` or faster, over at least `min_num_turns`."""

    name: str
    short_s: float
    long_s: float
    rate: float
    min_num_turns: int

    def fires(self, short: Tally, long: Tally, objective_ratio: float) -> bool:
        """Whether it does for the turns of its two windows."""
        rates = [tally.burn_rate(objective_ratio) or 0.0 for tally in (short, long)]
        return min(rates) >= self.rate and sum(long) >= self.min_num_turns


FAST: Final = BurnRule("fast", SHORT_S, LONG_S, 14.4, 5)
BURN_RULES: Final = (
    FAST,
    BurnRule("page_1h", 300.0, 3600.0, 14.4, 20),
    BurnRule("page_6h", 1800.0, 21_600.0, 6.0, 50),
)
"""The pages are the workbook's; `fast` is for the grid itself, which cannot wait for minutes."""
WINDOWS_S: Final = tuple(sorted({s for rule in BURN_RULES for s in (rule.short_s, rule.long_s)}))
_PLACE: Final = {fate: place for place, fate in enumerate(Fate, start=2)}


class WindowState(msgspec.Struct, frozen=True):
    """One window of one class."""

    window_s: float
    tally: Tally
    burn_rate: float | None
    """None while there were no turns."""

    @property
    def label(self) -> str:
        """The window's length as people write it: `10s`, `5m`, `6h`."""
        for unit_s, unit in ((3600, "h"), (60, "m")):
            if self.window_s >= unit_s:
                return f"{self.window_s / unit_s:g}{unit}"
        return f"{self.window_s:g}s"


class ClassState(msgspec.Struct, frozen=True):
    """One class at one moment."""

    turn_class: TurnClass
    objective_ratio: float
    windows: tuple[WindowState, ...]
    """In the order of `WINDOWS_S`."""
    burning: tuple[str, ...]
    """The rules that fire."""
    first_content: LatencyHistogram
    """Over the last `LONG_S`."""


class SlidingTally:
    """Turns met and missed, in slices of `slice_s` seconds, for the last `kept_s`."""

    def __init__(self, slice_s: float, kept_s: float) -> None:
        self._slice_s = slice_s
        self._num_kept = round(kept_s / slice_s)
        self._slices: deque[list[int]] = deque()
        """Number of the slice, met, missed; the oldest first, empty ones left out."""

    def add(self, is_met: bool, now_s: float) -> None:
        """Count a turn that ended now."""
        number = int(now_s / self._slice_s)
        slices = self._slices
        if not slices or slices[-1][0] < number:
            slices.append([number, 0, 0])
            while slices[0][0] <= number - self._num_kept:
                slices.popleft()
        slices[-1][1 if is_met else 2] += 1

    def over(self, windows_s: tuple[float, ...], now_s: float) -> list[Tally]:
        """The turns of the last so many seconds, for each of the windows, the shortest first."""
        current, tallies = int(now_s / self._slice_s), []
        slices, met, missed = reversed(self._slices), 0, 0
        one = next(slices, None)
        for window_s in windows_s:
            oldest = current - round(window_s / self._slice_s)
            while one is not None and one[0] > oldest:
                met, missed = met + one[1], missed + one[2]
                one = next(slices, None)
            tallies.append(Tally(met, missed))
        return tallies


class _LastMinute:
    """Latencies and tokens of the last `LONG_S`, in slices of a second."""

    def __init__(self) -> None:
        self._slices: deque[tuple[int, dict[int, int]]] = deque()
        self._counts: dict[int, int] = {}

    def add(self, latency_s: float, now_s: float) -> None:
        number, bucket = int(now_s), bucket_of(latency_s)
        if not self._slices or self._slices[-1][0] < number:
            self._forget(number)
            self._slices.append((number, {}))
        counts = self._slices[-1][1]
        counts[bucket] = counts.get(bucket, 0) + 1
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    def histogram(self, now_s: float) -> LatencyHistogram:
        self._forget(int(now_s))
        return LatencyHistogram.of(self._counts)

    def _forget(self, number: int) -> None:
        while self._slices and self._slices[0][0] <= number - LONG_S:
            for bucket, count in self._slices.popleft()[1].items():
                self._counts[bucket] -= count
                if not self._counts[bucket]:
                    del self._counts[bucket]


class _ClassRecord:
    """What is kept of one class."""

    def __init__(self, turn_class: TurnClass, objective_ratio: float) -> None:
        self._turn_class = turn_class
        self._objective_ratio = objective_ratio
        self._fine = SlidingTally(_FINE_S, LONG_S)
        self._coarse = SlidingTally(_COARSE_S, WINDOWS_S[-1])
        self._first_content = _LastMinute()

    def add(self, is_met: bool | None, first_content_s: float | None, now_s: float) -> None:
        if is_met is not None:
            self._fine.add(is_met, now_s)
            self._coarse.add(is_met, now_s)
        if first_content_s is not None:
            self._first_content.add(first_content_s, now_s)

    def state(self, now_s: float) -> ClassState:
        fine = tuple(window_s for window_s in WINDOWS_S if window_s <= LONG_S)
        coarse = WINDOWS_S[len(fine) :]
        tallies = [*self._fine.over(fine, now_s), *self._coarse.over(coarse, now_s)]
        by_window = dict(zip(WINDOWS_S, tallies, strict=True))
        windows = (
            WindowState(window_s, tally, tally.burn_rate(self._objective_ratio))
            for window_s, tally in by_window.items()
        )
        burning = (
            rule.name
            for rule in BURN_RULES
            if rule.fires(by_window[rule.short_s], by_window[rule.long_s], self._objective_ratio)
        )
        return ClassState(
            self._turn_class,
            self._objective_ratio,
            tuple(windows),
            tuple(burning),
            self._first_content.histogram(now_s),
        )

    def service(self, now_s: float) -> ClassService:
        short, long = self._fine.over((SHORT_S, LONG_S), now_s)
        return ClassService(
            self._objective_ratio, short, long, self._first_content.histogram(now_s)
        )


class SloRecord:
    """How the turns of one site went. Instants are monotonic seconds and never go back."""

    def __init__(self, objectives: Objectives) -> None:
        self._by_class = tuple(_ClassRecord(one, objectives.of(one)) for one in SERVICE_ORDER)
        self._seconds: deque[list[int]] = deque(maxlen=int(LONG_S) + 1)
        """Of the turns that ended in a second: which one, answer tokens, and counts by `Fate`."""

    def add(
        self,
        turn_class: TurnClass,
        *,
        is_met: bool | None,
        first_content_s: float | None,
        answer_tokens: int,
        now_s: float,
        fate: Fate | None = None,
    ) -> None:
        """A turn has ended. `is_met` is None where there was no budget to meet."""
        self._by_class[CLASS_RANK[turn_class]].add(is_met, first_content_s, now_s)
        if not self._seconds or self._seconds[-1][0] < int(now_s):
            self._seconds.append([int(now_s), 0, *(0 for _ in Fate)])
        second = self._seconds[-1]
        second[1] += answer_tokens
        if fate is not None:
            second[_PLACE[fate]] += 1

    def states(self, now_s: float) -> tuple[ClassState, ...]:
        """Every class, in `SERVICE_ORDER`."""
        return tuple(record.state(now_s) for record in self._by_class)

    def report(self, now_s: float) -> ServiceReport:
        """What other sites are told."""
        voice, agent, batch = (record.service(now_s) for record in self._by_class)
        recent = [second for second in self._seconds if second[0] > int(now_s) - LONG_S]
        tokens, here, forwarded, escalated, shed, failed = (
            sum(second[place] for second in recent) for place in range(1, 2 + len(Fate))
        )
        num_by_fate = (here, forwarded, escalated, shed, failed)
        return ServiceReport((voice, agent, batch), tokens / LONG_S, num_by_fate)
