"""What is known of another server by having used it: how long it takes, whether it is there.

Such a server says nothing of its load, so everything is measured from outside and includes its
queue and the way to it. Instants are monotonic seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.core.admission import Admission, AdmissionReason

if TYPE_CHECKING:
    from collections.abc import Iterable

_WEIGHT = 0.2
"""Of the newest of the exponentially weighted observations."""
_HALF_LIFE_S = 10.0
"""An estimate that nothing confirms halves in this time: a server whose turns are all shed as too
slow would otherwise never be measured again."""
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.25, 30.0
_FIRST_ANSWER_S = 1.0
"""How long an answer is taken to last until one was seen (assumed)."""


class UpstreamPace:
    """Observations of one server, and the estimates they allow."""

    def __init__(self) -> None:
        self.token_s = 0.0
        """Between two tokens of an answer."""
        self.answer_tokens = 0.0
        self._first_content_s = 0.0
        self._answer_s = _FIRST_ANSWER_S
        self._observed_s = 0.0
        self._num_failures = 0
        self._closed_until_s = 0.0

    @property
    def is_failing(self) -> bool:
        """Whether the server failed when it was last asked."""
        return self._num_failures > 0

    def closed_for_s(self, now_s: float) -> float:
        """How long the server is left alone still, after failures or at its own wish."""
        return max(0.0, self._closed_until_s - now_s)

    def estimate_s(
        self, now_s: float, *, limit: int, has_place: bool, num_ahead: int, sent_s: Iterable[float]
    ) -> float:
        """Predicted seconds to the first content of a turn that is sent now.

        `num_ahead` wait for one of `limit` places before it; `sent_s` are the instants at which
        those were sent that have no content yet. The oldest of them tells that the server has
        become slow before any answer does.
        """
        wait_s = 0.0 if has_place else (num_ahead + 1) / limit * self._answer_s
        age_s = now_s - self._observed_s
        faded_s = self._first_content_s * math.exp2(-age_s / _HALF_LIFE_S)
        overdue_s = now_s - min(sent_s, default=now_s)
        return self.closed_for_s(now_s) + wait_s + max(faded_s, overdue_s)

    def first_content(self, took_s: float, now_s: float) -> None:
        """The first content of an answer came so long after the request was sent."""
        self._first_content_s = _mix(self._first_content_s, took_s)
        self._observed_s = now_s
        self._num_failures = 0
        self._closed_until_s = 0.0

    def ended(self, *, took_s: float, decode_s: float, num_tokens: int) -> None:
        """A whole answer of so many tokens; `decode_s` of it after its first content."""
        self._answer_s = took_s if not self.answer_tokens else _mix(self._answer_s, took_s)
        self.answer_tokens = _mix(self.answer_tokens, float(num_tokens))
        if num_tokens > 1:
            self.token_s = _mix(self.token_s, decode_s / (num_tokens - 1))

    def failed(self, now_s: float) -> None:
        """The server was not there: leave it alone, longer each time in a row."""
        pause_s = min(_FIRST_PAUSE_S * 2.0**self._num_failures, _MAX_PAUSE_S)
        self._num_failures = min(self._num_failures + 1, 16)
        self._closed_until_s = max(self._closed_until_s, now_s + pause_s)

    def refused_for(self, wait_s: float, now_s: float) -> None:
        """The server asked to be left alone for so long."""
        wait_s = min(max(0.0, wait_s), _MAX_PAUSE_S)
        self._closed_until_s = max(self._closed_until_s, now_s + wait_s)


def admit_upstream(
    estimate_s: float,
    remaining_s: float | None,
    *,
    has_place: bool,
    num_ahead: int,
    max_num_queued: int,
) -> Admission:
    """Decide on a turn with `remaining_s` left of its budget (None: unlimited)."""
    if num_ahead >= max_num_queued and not has_place:
        return Admission(False, AdmissionReason.QUEUE_FULL, estimate_s)
    if remaining_s is None:
        return Admission(True, AdmissionReason.NO_BUDGET, estimate_s)
    if remaining_s <= 0.0:
        return Admission(False, AdmissionReason.BUDGET_SPENT, estimate_s)
    if estimate_s > remaining_s:
        return Admission(False, AdmissionReason.ESTIMATE_OVER_BUDGET, estimate_s)
    return Admission(True, AdmissionReason.FITS, estimate_s)


def _mix(mean: float, newest: float) -> float:
    return newest if mean == 0.0 else mean + _WEIGHT * (newest - mean)
