"""The simulator's short cut past the prefix index against the index itself."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.prefix_index import PrefixIndex
from loadtests.sim.unlike_prompts import UnlikePrompts

_PROMPTS = st.builds(lambda first, length: range(first, first + length), *[st.integers(0, 9)] * 2)


@settings(max_examples=200, deadline=None)
@given(
    block_tokens=st.integers(1, 4),
    changes=st.lists(st.tuples(st.integers(-2, 3), st.none() | _PROMPTS), max_size=12),
    sought=_PROMPTS,
)
def test_it_finds_what_the_index_does(
    block_tokens: int, changes: list[tuple[int, range | None]], sought: range
) -> None:
    index, short = PrefixIndex(block_tokens), UnlikePrompts(block_tokens)
    for key, prompt in changes:
        if prompt is None:
            index.remove(key)
            short.remove(key)
        else:
            assert short.put(key, prompt) == index.put(key, prompt)
        assert short.num_tokens(key) == index.num_tokens(key)
        assert (key in short) == (key in index)
        assert short.longest(sought) == index.longest(sought)
