"""Hops never grow, and what was delivered is never delivered again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.delivered import Delivered
from gateway.core.generation import GenerationRequest, TokenFrame
from gateway.core.hops import MAX_HOPS, Hops

SITES = st.lists(st.sampled_from(["edge-a", "edge-b", "edge-c"]), max_size=MAX_HOPS)


@given(path=SITES, left=st.integers(0, MAX_HOPS))
def test_no_sender_can_give_a_turn_more_hops(path: list[str], left: int) -> None:
    hops = Hops(tuple(path), left).received()
    assert hops.left <= left
    num_more = 0
    while hops.left:
        hops = hops.onward("edge-d")
        num_more += 1
    assert len(path) + num_more <= MAX_HOPS
    with pytest.raises(ValueError, match="without hops left"):
        hops.onward("edge-d")


@given(
    num_before=st.integers(0, 5),
    cuts=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=30),
)
def test_each_token_is_passed_on_once_and_in_order(
    num_before: int, cuts: list[tuple[int, int]]
) -> None:
    request = GenerationRequest("r", (1,), 64, resume=tuple(range(num_before)))
    delivered, out = Delivered(request), list(request.resume)
    for start, length in cuts:
        frame = TokenFrame(start, tuple(range(start, start + length)))
        if start > len(out):
            with pytest.raises(ValueError, match="missing"):
                delivered.take(frame)
            continue
        fresh = delivered.take(frame)
        if fresh is not None:
            assert fresh.first_index == len(out)
            out += fresh.ids
    assert out == list(range(len(out)))
    rest = delivered.remaining_request()
    assert rest.resume == tuple(out)
    assert rest == msgspec.structs.replace(request, resume=tuple(out))
