"""The sink of every turn's record: from the event loop, in batches, to whoever counts turns.

The loop only appends. A thread does the counting a few times a second, with the code and data it
takes at hand for the whole batch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from gateway.telemetry.records import KeptTurn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.stages import TurnRecord

_logger = logging.getLogger(__name__)

_SETTLE_EVERY_S: Final = 0.05
"""At 500 turns a second, 25 turns wait then: half a millisecond's work."""
MAX_NUM_WAITING: Final = 4096


class TurnBatches:
    """Hands turns to all recorders soon, in order; none of them can stop another."""

    def __init__(self, recorders: Sequence[Callable[[KeptTurn], None]]) -> None:
        self._recorders = tuple(recorders)
        self._waiting: deque[KeptTurn] = deque()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="turn-batches", daemon=True)
        self._thread.start()

    def put(self, turn: KeptTurn) -> None:
        """Have it recorded soon; when too many wait, all of them now. Never raises."""
        self._waiting.append(turn)
        if len(self._waiting) > MAX_NUM_WAITING:
            self.settle()

    def settle(self) -> None:
        """Return when all that was put in is recorded: for readers. Never raises."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                for recorder in self._recorders:
                    try:
                        recorder(turn)
                    except Exception:
                        named = {"turn": turn.record.request_id}
                        _logger.exception("turn_record_failed", extra=named)

    def close(self) -> None:
        """Record what waits, and end."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ended.wait(_SETTLE_EVERY_S)
            self.settle()


class RecordSink:
    """The TurnSink of a site: `keeps` have every record at once, `batches` hand it on soon."""

    def __init__(
        self,
        keeps: Sequence[Callable[[KeptTurn], None]],
        batches: TurnBatches,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._takers = (*keeps, batches.put)
        self._monotonic = monotonic
        self._wall_ns = wall_ns

    def record(self, record: TurnRecord) -> None:
        """Place it on the wall clock and hand it over. Never waits, never raises."""
        age_ns = int((self._monotonic() - record.started_s) * 1e9)
        turn = KeptTurn(record, self._wall_ns() - age_ns)
        for take in self._takers:
            take(turn)
