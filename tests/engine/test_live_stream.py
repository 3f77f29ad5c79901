"""What another engine process is asked to go on with."""

from __future__ import annotations

import msgspec

from gateway.core.generation import GenerationRequest, TokenFrame
from gateway.engine.live_stream import LiveStream

_REQUEST = GenerationRequest("r", (1, 2, 3), 10, first_token_deadline_s=5.0)


def test_a_stream_that_has_not_begun_keeps_its_deadline() -> None:
    assert LiveStream(1, _REQUEST).remaining_request() == _REQUEST


def test_a_stream_that_has_begun_cannot_expire_any_more() -> None:
    stream = LiveStream(1, _REQUEST)
    stream.receive(TokenFrame(0, (7, 8)))
    assert stream.remaining_request() == msgspec.structs.replace(
        _REQUEST, resume=(7, 8), first_token_deadline_s=None
    )
