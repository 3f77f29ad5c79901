"""The last turns that missed: late, shed or failed. What a console lists, second by second."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from gateway.core.stages import Outcome

if TYPE_CHECKING:
    from gateway.telemetry.records import KeptTurn

_MAX_NUM_TURNS: Final = 1000
_UNSERVED: Final = frozenset({Outcome.SHED, Outcome.FAILED})


class MissedTurns:
    """The newest of them, numbered in the order in which they ended. Keeping one is O(1)."""

    def __init__(self) -> None:
        self._turns: deque[KeptTurn] = deque(maxlen=_MAX_NUM_TURNS)
        self.num_seen = 0
        """Since the site started."""

    def keep(self, turn: KeptTurn) -> None:
        """Take a turn that has ended, if it missed."""
        record = turn.record
        is_met = record.within_budget
        if is_met is False or (is_met is None and record.outcome in _UNSERVED):
            self._turns.append(turn)
            self.num_seen += 1

    def after(self, number: int, *, tenant: str | None, limit: int) -> list[KeptTurn]:
        """The newest `limit` of those seen after the first `number`, the newest first.

        `tenant` None: everyone's.
        """
        new = islice(reversed(self._turns), max(0, self.num_seen - number))
        wanted = (turn for turn in new if tenant is None or turn.record.tenant == tenant)
        return list(islice(wanted, limit))
