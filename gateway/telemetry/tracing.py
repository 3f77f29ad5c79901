"""Traces, built only from finished records: nothing is spent on a turn whose trace nobody wants.

A trace is built for every turn that was slow, shed or failed, or whose caller samples it, and for
one in a hundred of the rest.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from gateway.core.stages import Outcome

if TYPE_CHECKING:
    from gateway.telemetry.records import KeptTurn

_logger = logging.getLogger(__name__)

DEFAULT_SAMPLE_RATIO: Final = 0.01
MAX_TRACES_PER_S: Final = 50.0
"""A burst that sheds everything must not pay for a trace of every refusal, here and at the
collector's: beyond this rate traces are only counted."""
_MAX_NUM_WAITING: Final = 1024
"""Turns for a collector that is slow or not there; the oldest are dropped first."""
_MAX_NUM_SENT: Final = 64
"""Turns in one request, of some 3 KB each."""
_RATIO_BITS: Final = 56
"""W3C trace context level 2: at least the last 56 bits of a trace id are random."""


def is_wanted(turn: KeptTurn, *, ratio: float = DEFAULT_SAMPLE_RATIO) -> bool:
    """Whether the turn's trace is worth building; the same answer for the same turn, always."""
    record = turn.record
    if record.within_budget is False or record.outcome in (Outcome.SHED, Outcome.FAILED):
        return True
    root = turn.trace.root
    dice = root.trace_id & ((1 << _RATIO_BITS) - 1)
    return root.sampled or dice < ratio * (1 << _RATIO_BITS)


class TurnExporter(Protocol):
    """Sends turns to where traces are kept."""

    def export(self, turns: list[KeptTurn]) -> None:
        """Send them; returns when they are there or given up, and does not raise."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class TurnTracer:
    """Hands wanted turns to the exporter, in a thread of its own, every `export_interval_s`."""

    def __init__(
        self,
        exporter: TurnExporter,
        *,
        sample_ratio: float = DEFAULT_SAMPLE_RATIO,
        max_traces_per_s: float = MAX_TRACES_PER_S,
        export_interval_s: float = 1.0,
    ) -> None:
        self._exporter = exporter
        self._sample_ratio = sample_ratio
        self._max_traces_per_s = max_traces_per_s
        self._allowance = max_traces_per_s
        self._allowance_at_s = 0.0
        self._interval_s = export_interval_s
        self._waiting: deque[KeptTurn] = deque()
        self._ended = threading.Event()
        self.num_dropped = 0
        """Wanted traces that were not sent: too many a second, or the collector did not keep up."""
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def record(self, turn: KeptTurn) -> bool:
        """Have the turn's spans sent if they are wanted; whether they are on their way."""
        record = turn.record
        if not is_wanted(turn, ratio=self._sample_ratio):
            return False
        if not self._take_allowance(record.started_s + record.duration_s):
            self.num_dropped += 1
            return False
        if len(self._waiting) >= _MAX_NUM_WAITING:
            self._waiting.popleft()
            self.num_dropped += 1
        self._waiting.append(turn)
        return True

    def close(self) -> None:
        """Send what was not sent yet; waits for the exporter, at most its own timeout a request."""
        self._ended.set()
        self._thread.join()
        self._exporter.close()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ended.wait(self._interval_s)
            self._send()

    def _send(self) -> None:
        while self._waiting:
            turns = [self._waiting.popleft() for _ in range(min(_MAX_NUM_SENT, len(self._waiting)))]
            try:
                self._exporter.export(turns)
            except Exception:
                _logger.exception("traces_not_sent")

    def _take_allowance(self, now_s: float) -> bool:
        grown = max(0.0, now_s - self._allowance_at_s) * self._max_traces_per_s
        self._allowance_at_s = max(self._allowance_at_s, now_s)
        self._allowance = min(self._max_traces_per_s, self._allowance + grown)
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True
