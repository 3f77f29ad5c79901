"""The recent turns of this site, kept whole, and the one sink that every turn's record goes to."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from gateway.core.stages import TurnRecord
from gateway.telemetry.trace_context import TurnTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


logger = logging.getLogger(__name__)


class KeptTurn(msgspec.Struct, frozen=True):
    """A turn's record, placed on the wall clock.

    The record's own instants are monotonic; this is the only place where they are translated.
    """

    record: TurnRecord
    started_ns: int
    """When the turn began: nanoseconds since 1970, UTC."""

    @property
    def trace(self) -> TurnTrace:
        """Where the turn stands among traces."""
        record = self.record
        return TurnTrace.of(record.request_id, record.started_s, record.traceparent)


class RecordRing:
    """The last `max_num_turns` turns, by age and by request id. Keeping one is O(1)."""

    def __init__(self, max_num_turns: int) -> None:
        self._turns: deque[KeptTurn] = deque(maxlen=max_num_turns)
        self._by_id: dict[str, KeptTurn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def keep(self, turn: KeptTurn) -> None:
        """Take the newest turn; the oldest goes when there are too many."""
        if len(self._turns) == self._turns.maxlen:
            oldest = self._turns[0]
            if self._by_id.get(oldest.record.request_id) is oldest:
                del self._by_id[oldest.record.request_id]
        self._turns.append(turn)
        self._by_id[turn.record.request_id] = turn

    def find(self, request_id: str) -> KeptTurn | None:
        """The newest turn with this id, or None."""
        return self._by_id.get(request_id)

    def newest_first(self) -> Iterator[KeptTurn]:
        """All kept turns. The ring must not change meanwhile: iterate without awaiting."""
        return reversed(self._turns)


class RecordFanOut:
    """The TurnSink of a site: every record goes to every recorder, and none can stop another."""

    def __init__(
        self,
        recorders: Sequence[Callable[[KeptTurn], None]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._recorders = tuple(recorders)
        self._monotonic = monotonic
        self._wall_ns = wall_ns

    def record(self, record: TurnRecord) -> None:
        """Hand the record on. Never waits, never raises: a recorder's failure is logged."""
        age_ns = round((self._monotonic() - record.started_s) * 1e9)
        turn = KeptTurn(record, self._wall_ns() - age_ns)
        for recorder in self._recorders:
            try:
                recorder(turn)
            except Exception:
                logger.exception("turn_record_failed", extra={"turn": record.request_id})
