"""The prefix index against the plain definition of a longest common beginning."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.prefix_index import NO_MATCH, PrefixIndex

_TOKENS = st.lists(st.integers(0, 1), max_size=14).map(tuple)


def _common(one: tuple[int, ...], other: tuple[int, ...], block_tokens: int) -> int:
    """Tokens in the whole blocks that both begin with."""
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length - length % block_tokens


def test_only_whole_blocks_are_held_and_found() -> None:
    index = PrefixIndex(4)
    assert index.put(1, range(10)) == 8
    assert index.longest(range(7)) == (4, (1,))
    assert index.longest(range(100)) == (8, (1,))
    assert index.longest((0, 1, 2, 9)) == NO_MATCH
    assert index.put(2, (1, 2, 3)) == 0
    assert 2 not in index


def test_the_holder_that_was_added_last_comes_last() -> None:
    index = PrefixIndex(2)
    for key in (1, 2, 1):
        index.put(key, (5, 6, 7, 8))
    assert index.longest((5, 6)).keys == (2, 1)


def test_a_key_that_left_is_found_no_more_and_leaves_nothing_behind() -> None:
    index = PrefixIndex(2)
    index.put(1, (5, 6, 7, 8))
    index.put(2, (5, 6))
    index.remove(1)
    index.remove(1)
    assert index.longest((5, 6, 7, 8)) == (2, (2,))
    index.remove(2)
    assert index._root.children == {}


@settings(max_examples=150, deadline=None)
@given(
    block_tokens=st.integers(1, 4),
    changes=st.lists(st.tuples(st.integers(0, 4), st.none() | _TOKENS), max_size=12),
    sought=_TOKENS,
)
def test_it_finds_what_a_search_over_all_would(
    block_tokens: int, changes: list[tuple[int, tuple[int, ...] | None]], sought: tuple[int, ...]
) -> None:
    index = PrefixIndex(block_tokens)
    held: dict[int, tuple[int, ...]] = {}
    for key, tokens in changes:
        if tokens is None:
            index.remove(key)
            held.pop(key, None)
        else:
            index.put(key, tokens)
            held[key] = tokens
    common = {key: _common(tokens, sought, block_tokens) for key, tokens in held.items()}
    longest = max(common.values(), default=0)
    match = index.longest(sought)
    assert match.num_tokens == longest
    assert set(match.keys) == {key for key, length in common.items() if length == longest > 0}
