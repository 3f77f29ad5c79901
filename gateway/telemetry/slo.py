"""The site's own turns, held against its objectives while they end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from gateway.core.service_report import Fate
from gateway.core.slo import SloRecord
from gateway.core.stages import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.service_report import ServiceReport
    from gateway.core.slo import ClassState, Objectives
    from gateway.core.stages import TurnRecord

_ANSWERED: Final = Outcome.ANSWERED
_UNANSWERED: Final = {Outcome.SHED: Fate.SHED, Outcome.FAILED: Fate.FAILED}
_HERE: Final = Fate.HERE


class SloKeeper:
    """Written by one thread, read by whoever collects."""

    def __init__(
        self,
        site: str,
        objectives: Objectives,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._record = SloRecord(objectives)
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def record(self, record: TurnRecord) -> None:
        """Count one turn; what was discarded is none."""
        if record.outcome is Outcome.DISCARDED:
            return
        with self._lock:
            self._record.add(
                record.turn_class,
                is_met=record.within_budget,
                first_content_s=record.ttft_s,
                answer_tokens=record.completion_tokens,
                fate=self._fate(record),
                now_s=self._monotonic(),
            )

    def _fate(self, record: TurnRecord) -> Fate | None:
        if record.outcome is not _ANSWERED:
            return _UNANSWERED.get(record.outcome)
        if record.escalation and not record.escalation_error:
            return Fate.ESCALATED
        return _HERE if record.site in ("", self._site) else Fate.FORWARDED

    def states(self) -> tuple[ClassState, ...]:
        """Every class as it stands now; takes up to a millisecond."""
        with self._lock:
            return self._record.states(self._monotonic())

    def report(self) -> ServiceReport:
        """What other sites are told now."""
        with self._lock:
            return self._record.report(self._monotonic())
