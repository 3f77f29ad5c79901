"""What one request tells of a server's pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.upstream_pace import UpstreamPace


class Stopwatch:
    """Follows one request, from sending it to the end of its answer."""

    def __init__(
        self,
        pace: UpstreamPace,
        waiting: dict[Stopwatch, float],
        *,
        limit_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._pace = pace
        self._waiting = waiting
        self._monotonic = monotonic
        self._sent_s = monotonic()
        self._until_s = self._sent_s + limit_s
        self._first_content_s = 0.0
        waiting[self] = self._sent_s

    @property
    def left_s(self) -> float:
        """What is left of the time for the whole answer."""
        return self._until_s - self._monotonic()

    def content(self) -> None:
        """Part of the answer is here."""
        if self._waiting.pop(self, None) is not None:
            self._first_content_s = now_s = self._monotonic()
            self._pace.first_content(now_s - self._sent_s, now_s)

    def ended(self, num_tokens: int) -> None:
        """The answer is whole."""
        if self._first_content_s:
            now_s = self._monotonic()
            self._pace.ended(
                took_s=now_s - self._sent_s,
                decode_s=now_s - self._first_content_s,
                num_tokens=num_tokens,
            )

    def failed(self) -> None:
        """The server is not there."""
        self._pace.failed(self._monotonic())
        self.left()

    def refused_for(self, wait_s: float) -> None:
        """The server asked to be left alone for so long."""
        self._pace.refused_for(wait_s, self._monotonic())

    def left(self) -> None:
        """Nobody waits for this answer any more."""
        self._waiting.pop(self, None)
