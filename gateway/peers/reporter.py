"""What this site says of its load to each of its peers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.core.errors import EngineError
from gateway.core.load_report import (
    NOTHING_RECEIVED,
    Credits,
    report_load,
    with_turn,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.generation import EngineLoad, GenerationRequest
    from gateway.core.load_report import ByClass, LoadReport
    from gateway.core.route_choice import Here
    from gateway.core.service_report import ServiceReport

_MAX_NUM_READERS = 4096
"""Peers whose work is counted; beyond, the one that was counted first is forgotten."""


class LoadReporter:
    """Numbers the reports of one start of the site and counts what each peer has sent.

    `load` is the engine's; while it raises EngineError there is no report.
    """

    def __init__(
        self,
        load: Callable[[], EngineLoad],
        *,
        here: Here,
        epoch: int,
        models: tuple[bytes, ...],
        credits: Credits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._epoch = epoch
        self._here = here
        self._models = models
        self._credits = credits
        self._monotonic = monotonic
        self._seq = 0
        self._received: dict[str, ByClass] = {}
        self.service: Callable[[], ServiceReport | None] = lambda: None
        """How the site has served its own callers, for all peers alike."""

    def receive(self, site: str, request: GenerationRequest) -> None:
        """`site` has sent this turn, whether it is taken or not."""
        before = self._received.get(site, NOTHING_RECEIVED)
        self._received[site] = with_turn(before, request.turn_class, len(request.prompt))
        if len(self._received) > _MAX_NUM_READERS:
            del self._received[next(iter(self._received))]

    def report(self, site: str) -> LoadReport | None:
        """The figures of this moment for the site of that name."""
        try:
            load = self._load()
        except EngineError:
            return None
        self._seq += 1
        now_s = self._monotonic()
        return report_load(
            load,
            now_s=now_s,
            epoch=self._epoch,
            seq=self._seq,
            max_num_queued=self._here.max_num_queued,
            credits=self._credits.granted(self._here.brake, now_s),
            state=self._here.state,
            capacity_ratio=self._here.capacity_ratio,
            received=self._received.get(site, NOTHING_RECEIVED),
            models=self._models,
        )
