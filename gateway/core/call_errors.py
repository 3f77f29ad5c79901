"""Why a call is not set up. What the caller offered, or how much the site can take, is named."""

from __future__ import annotations

from gateway.core.errors import CapacityError, GatewayError, InvalidRequest


class OfferRefused(GatewayError):
    """A call that was offered is not set up; nothing of it is kept."""


class InvalidOffer(OfferRefused, InvalidRequest):
    """The session description cannot be answered; `param` is its attribute or line."""

    code = "invalid_offer"


class LinesBusy(OfferRefused, CapacityError):
    """As many calls as may be are under way."""

    code = "lines_busy"

    def __init__(self, *, max_num_calls: int) -> None:
        super().__init__(f"all {max_num_calls} lines are busy; call again later")
        self.max_num_calls = max_num_calls


class CallsTooFast(OfferRefused, CapacityError):
    """More calls begin at once than can be set up without disturbing those under way."""

    code = "calls_too_fast"

    def __init__(self, *, calls_per_s: float, retry_after_s: float) -> None:
        super().__init__(
            f"more than {calls_per_s:g} calls a second are being set up; "
            f"retry in {retry_after_s:.1f} s"
        )
        self.calls_per_s = calls_per_s
        self.retry_after_s = retry_after_s


class VoiceUnavailable(OfferRefused, CapacityError):
    """No voice worker takes calls now: none runs, or the one that was asked ended."""

    code = "voice_unavailable"
