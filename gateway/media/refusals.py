"""A refusal on its way from the worker to whoever offered the call."""

from __future__ import annotations

from gateway.core.call_errors import (
    CallsTooFast,
    InvalidOffer,
    LinesBusy,
    OfferRefused,
    VoiceUnavailable,
)
from gateway.media.frames import Refused


def refused(call: int, error: OfferRefused) -> Refused:
    """The frame that says why."""
    match error:
        case InvalidOffer():
            return Refused(call, error.code, str(error), error.param)
        case LinesBusy():
            return Refused(call, error.code, str(error), limit=error.max_num_calls)
        case CallsTooFast():
            return Refused(
                call,
                error.code,
                str(error),
                limit=error.calls_per_s,
                retry_after_s=error.retry_after_s,
            )
        case _:
            return Refused(call, error.code, str(error))


def error_of(frame: Refused) -> OfferRefused:
    """The error that the frame was made from."""
    match frame.code:
        case InvalidOffer.code:
            return InvalidOffer(frame.message, param=frame.param)
        case LinesBusy.code:
            return LinesBusy(max_num_calls=int(frame.limit))
        case CallsTooFast.code:
            return CallsTooFast(calls_per_s=frame.limit, retry_after_s=frame.retry_after_s)
        case VoiceUnavailable.code:
            return VoiceUnavailable(frame.message)
        case _:
            return OfferRefused(frame.message)
