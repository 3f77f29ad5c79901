"""The recent turns of this site, kept whole."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from gateway.core.stages import TurnRecord
from gateway.telemetry.trace_context import TurnTrace

if TYPE_CHECKING:
    from collections.abc import Iterator


class KeptTurn(msgspec.Struct, frozen=True, gc=False):
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
        self._newest: dict[str, KeptTurn] = {}
        """By request id, whoever's it is."""

    def __len__(self) -> int:
        return len(self._turns)

    def keep(self, turn: KeptTurn) -> None:
        """Take the newest turn; the oldest goes when there are too many."""
        turns, newest = self._turns, self._newest
        if len(turns) == turns.maxlen:
            oldest = turns[0]
            request_id = oldest.record.request_id
            if newest.get(request_id) is oldest:
                del newest[request_id]
        turns.append(turn)
        newest[turn.record.request_id] = turn

    def find(self, request_id: str, *, tenant: str | None = None) -> KeptTurn | None:
        """The newest turn with this id, of one tenant or (None) of any; None when none is kept."""
        newest = self._newest.get(request_id)
        if newest is None or tenant is None or newest.record.tenant == tenant:
            return newest
        return next(
            (
                turn
                for turn in self.newest_first()
                if turn.record.request_id == request_id and turn.record.tenant == tenant
            ),
            None,
        )

    def newest_first(self) -> Iterator[KeptTurn]:
        """All kept turns. The ring must not change meanwhile: iterate without awaiting."""
        return reversed(self._turns)
