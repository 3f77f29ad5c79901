"""Frames on the socket: what goes in comes out, however the bytes are cut."""

from __future__ import annotations

import struct
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.generation import (
    Backlog,
    Constraint,
    ConstraintKind,
    EngineLoad,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    Refusal,
    Sampling,
    TokenFrame,
    TokenLogprob,
)
from gateway.engine.frames import (
    Batch,
    Cancel,
    Failed,
    Load,
    Ready,
    SiteFrame,
    Start,
    Submit,
    WorkerFrame,
    site_frames,
    worker_frames,
)
from gateway.runtime.frames import MAX_FRAME_BYTES, FrameError, encode

_REQUEST = GenerationRequest(
    "a",
    (1, 2, 3),
    9,
    Sampling(temperature=0.5, seed=-(1 << 63), logit_bias={7: -3.0}, top_logprobs=2),
    Constraint(ConstraintKind.REGEX, "a+"),
    first_token_deadline_s=1.5,
    resume=(4, 5),
)
_LOAD = EngineLoad(
    1.0, 8, 2, 0.001, 0.01, 17.5, 9.0, (Backlog(1, 40), Backlog(), Backlog(2, 7)), 0.5
)
_SITE: list[SiteFrame] = [
    Start("dir", num_slots=4),
    Submit(1, _REQUEST, True),
    Cancel(1),
]
_WORKER: list[WorkerFrame] = [
    Ready(2048, 263, 8, 0.5, _LOAD),
    Batch(
        (
            (1, TokenFrame(0, (5,), (TokenLogprob(5, -0.5, ((6, -1.5),)),), 0.1, 0.2)),
            (1, GenerationEnd(FinishReason.STOP, 3, 1)),
            (2, GenerationEnd(FinishReason.EXPIRED, 3, 0, refusal=Refusal.QUEUE_FULL)),
        )
    ),
    Load(_LOAD, 12),
    Failed("no"),
]


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    return [data[low:high] for low, high in pairwise(edges)]


@given(st.lists(st.integers(0, 1 << 16), max_size=20))
def test_frames_survive_any_cut(cuts: list[int]) -> None:
    to_worker, to_site = site_frames(), worker_frames()
    sent = b"".join(encode(frame) for frame in _SITE)
    assert [f for piece in _pieces(sent, cuts) for f in to_worker.feed(piece)] == _SITE
    sent = b"".join(encode(frame) for frame in _WORKER)
    assert [f for piece in _pieces(sent, cuts) for f in to_site.feed(piece)] == _WORKER


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", MAX_FRAME_BYTES + 1),
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        encode(Failed("a frame of the other direction")),
        struct.pack(">I", 11) + msgspec.msgpack.encode(["submit", "x"])[:11].ljust(11, b"\0"),
    ],
    ids=["too long", "no MessagePack", "wrong direction", "wrong field"],
)
def test_what_is_no_frame_is_an_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        site_frames().feed(data)


def test_values_out_of_range_do_not_enter_the_worker() -> None:
    body = encode(Submit(1, _REQUEST)).replace(struct.pack(">d", 0.5), struct.pack(">d", 9.5))
    with pytest.raises(FrameError, match="temperature"):
        site_frames().feed(body)


def test_a_frame_over_the_limit_is_not_sent() -> None:
    with pytest.raises(FrameError):
        encode(Failed("x" * (MAX_FRAME_BYTES + 1)))
