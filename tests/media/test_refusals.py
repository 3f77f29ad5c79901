"""What a worker refuses is the same error at the site."""

from __future__ import annotations

import pytest

from gateway.core.call_errors import (
    CallsTooFast,
    InvalidOffer,
    LinesBusy,
    OfferRefused,
    VoiceUnavailable,
)
from gateway.media.refusals import error_of, refused


@pytest.mark.parametrize(
    "error",
    [
        InvalidOffer("no", param="a=setup"),
        LinesBusy(max_num_calls=3),
        CallsTooFast(calls_per_s=2.0, retry_after_s=0.5),
        VoiceUnavailable("the voice worker ended; call again"),
        OfferRefused("something else"),
    ],
)
def test_a_refusal_is_the_same_error_at_the_other_end(error: OfferRefused) -> None:
    told = error_of(refused(1, error))
    assert (type(told), told.code, str(told)) == (type(error), error.code, str(error))
    assert vars(told) == vars(error)
