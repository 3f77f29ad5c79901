"""The sessions of a site: how many there may be, how fast they may begin, and their drain."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.core.call_errors import CallsTooFast, LinesBusy
from gateway.core.errors import SiteDraining
from gateway.core.limits import MINUTE_S, LimitMeter, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.edge.realtime.live_session import LiveSession


class Sessions:
    """The places of all sessions, whatever they came in by."""

    def __init__(
        self,
        *,
        max_num: int,
        max_starts_per_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_num = max_num
        self._max_starts_per_s = max_starts_per_s
        self._monotonic = monotonic
        limits = Limits(requests_per_minute=max_starts_per_s * MINUTE_S)
        self._meter = LimitMeter(limits, monotonic())
        self._live: set[LiveSession] = set()
        self._drains = False

    @property
    def num_live(self) -> int:
        """Sessions under way."""
        return len(self._live)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one session. Raises LinesBusy, CallsTooFast, SiteDraining."""
        if self._drains:
            raise SiteDraining
        if self._meter.num_running >= self._max_num:
            raise LinesBusy(max_num_calls=self._max_num)
        refused = self._meter.admit(self._monotonic())
        if refused is not None:
            raise CallsTooFast(
                calls_per_s=self._max_starts_per_s, retry_after_s=refused.retry_after_s
            )
        try:
            yield
        finally:
            self._meter.release()

    @contextmanager
    def living(self, session: LiveSession) -> Iterator[None]:
        """While the session goes on, it is drained with the others."""
        self._live.add(session)
        try:
            yield
        finally:
            self._live.discard(session)

    def drain(self) -> None:
        """End each session as soon as nothing is being answered in it; take no new ones."""
        self._drains = True
        for session in self._live:
            session.drain()
