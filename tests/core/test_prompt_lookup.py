"""Guesses from what a text has said before."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.prompt_lookup import PromptLookup


def guesses(prompt: list[int], answer: list[int], *, least_hits: float = 0.0) -> list[list[int]]:
    """What was guessed behind the prompt and behind each token of the answer."""
    lookup = PromptLookup(prompt)
    made = []
    for count in range(len(answer) + 1):
        lookup.follow(answer[:count])
        made.append(list(lookup.guess(3, least_hits=least_hits)))
    return made


def test_a_quotation_goes_on_as_it_did() -> None:
    assert guesses([1, 2, 3, 4, 5, 6, 9], [2, 3]) == [[], [3, 4, 5], [4, 5, 6]]


def test_the_longest_match_counts_and_of_those_the_latest() -> None:
    assert guesses([1, 2, 7, 5, 2, 8, 4, 1, 2], []) == [[7, 5, 2]]
    assert guesses([3, 2, 7, 5, 2, 8, 4, 2], []) == [[8, 4, 2]]


def test_a_repetition_goes_on_behind_the_end_of_the_text() -> None:
    assert guesses([1, 2, 1, 2, 1, 2], [])[-1] == [1, 2, 1]
    assert guesses([4, 4], [])[-1] == [4, 4, 4]


def test_nothing_is_guessed_where_nothing_was_said_before() -> None:
    assert guesses(list(range(50)), [77, 78]) == [[], [], []]
    assert guesses([5], []) == [[]]


def test_guesses_that_fail_are_tried_no_more_and_those_that_hold_are() -> None:
    rng = random.Random(3)
    noise = [rng.randrange(4) for _ in range(200)]
    tried = guesses(noise[:20], noise[20:], least_hits=0.9)[50:]
    assert sum(map(bool, tried)) < 0.1 * len(tried)
    assert all(guesses([1, 2, 3], [1, 2, 3] * 50, least_hits=0.9)[10:])


def test_guesses_are_judged_although_they_are_not_tried() -> None:
    lookup = PromptLookup([1, 2, 3])
    answer = [1, 2, 3] * 20
    for count in range(len(answer)):
        lookup.follow(answer[:count])
        assert not lookup.guess(3, least_hits=3.0)
    lookup.follow(answer)
    assert lookup.guess(3, least_hits=2.5)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.lists(st.integers(0, 3)))
def test_a_guess_is_whole_and_of_tokens_that_were_there(
    prompt: list[int], answer: list[int]
) -> None:
    for count, guess in enumerate(guesses(prompt, answer)):
        assert len(guess) in {0, 3}
        assert set(guess) <= {*prompt, *answer[:count]}
