"""The grid's latency of the last minutes: whoever opens a console sees what has led to this."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from gateway.edge.console.glance import all_sites
from gateway.edge.grid_view import sites_seen
from gateway.edge.turn_view import optional_ms

if TYPE_CHECKING:
    from gateway.core.service_report import ClassService
    from gateway.edge.site_source import SiteSource

POINT_S: Final = 5.0
_KEPT_S: Final = 300.0

Point = tuple[float | None, float | None]
"""P50 and P99 of the minute that ends there, ms; None where there were no turns."""


class RecentLatency:
    """Of all sites together, a point every POINT_S for each class, also while nobody looks."""

    def __init__(self, source: SiteSource) -> None:
        self._source = source
        self.points: deque[tuple[Point, ...]] = deque(maxlen=int(_KEPT_S / POINT_S))
        """The oldest first, by class in `SERVICE_ORDER`."""

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            await self.note()
            await asyncio.sleep(POINT_S)

    async def note(self) -> None:
        """How it is now."""
        source = self._source
        told, _ = await all_sites(source.service(), sites_seen(source.grid()))
        self.points.append(tuple(_point(one) for one in told.report.by_class))


def _point(service: ClassService) -> Point:
    latencies = service.first_content
    return optional_ms(latencies.quantile_s(0.5)), optional_ms(latencies.quantile_s(0.99))
