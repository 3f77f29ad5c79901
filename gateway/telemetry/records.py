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

_Name = tuple[str | None, str]
"""Tenant (None: whoever it is) and request id."""


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
    """The last `max_num_turns` turns, by age and by name. Keeping one is O(1).

    Callers choose request ids, so an id names a turn only together with its tenant.
    """

    def __init__(self, max_num_turns: int) -> None:
        self._turns: deque[KeptTurn] = deque(maxlen=max_num_turns)
        self._newest: dict[_Name, KeptTurn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def keep(self, turn: KeptTurn) -> None:
        """Take the newest turn; the oldest goes when there are too many."""
        if len(self._turns) == self._turns.maxlen:
            oldest = self._turns[0]
            for name in _names(oldest.record):
                if self._newest.get(name) is oldest:
                    del self._newest[name]
        self._turns.append(turn)
        for name in _names(turn.record):
            self._newest[name] = turn

    def find(self, request_id: str, *, tenant: str | None = None) -> KeptTurn | None:
        """The newest turn with this id, of one tenant or (None) of any; None when none is kept."""
        return self._newest.get((tenant, request_id))

    def newest_first(self) -> Iterator[KeptTurn]:
        """All kept turns. The ring must not change meanwhile: iterate without awaiting."""
        return reversed(self._turns)


def _names(record: TurnRecord) -> tuple[_Name, _Name]:
    """What a turn is found by: its tenant's name for it, and the operator's, who sees all."""
    return (record.tenant, record.request_id), (None, record.request_id)


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
