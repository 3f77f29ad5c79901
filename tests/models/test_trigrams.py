from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.trigrams import BEGIN, END, arpa

WORDS = ("a", "b", "c")


def probability(gram: tuple[str, ...], model: dict[tuple[str, ...], tuple[float, float]]) -> float:
    """By the definition of a back-off model, from the file's own figures."""
    if gram in model:
        return 10 ** model[gram][0]
    if len(gram) == 1:
        return 0.0
    below = 10 ** model.get(gram[:-1], (0.0, 0.0))[1]
    return below * probability(gram[1:], model)


def read(text: str) -> dict[tuple[str, ...], tuple[float, float]]:
    model: dict[tuple[str, ...], tuple[float, float]] = {}
    order = 0
    for line in text.splitlines():
        if line.endswith("-grams:"):
            order = int(line[1])
        elif order and line and not line.startswith("\\"):
            logp, *rest = line.split()
            model[tuple(rest[:order])] = (float(logp), float(rest[order]) if rest[order:] else 0.0)
    return model


@given(
    st.dictionaries(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join),
        st.integers(1, 9),
        min_size=1,
        max_size=12,
    )
)
def test_after_any_history_the_words_probabilities_sum_to_one(sentences: dict[str, int]) -> None:
    model = read(arpa(sentences))
    said = sorted({word for sentence in sentences for word in sentence.split()})

    for history in ((), (BEGIN,), *product(said, repeat=1), *product(said, repeat=2)):
        whole = sum(probability((*history, word), model) for word in (*said, END))
        assert whole == pytest.approx(1, abs=0.02)


def test_what_is_said_more_often_is_likelier() -> None:
    model = read(arpa({"a b": 8, "a c": 1}))

    assert probability((BEGIN, "a", "b"), model) > probability((BEGIN, "a", "c"), model)
    assert probability((BEGIN, "a"), model) > 0.5


def test_the_header_counts_what_follows() -> None:
    text = arpa({"a b c": 5, "b c": 5})
    counted = Counter(len(gram) for gram in read(text))

    assert [f"ngram {n}={counted[n]}" for n in (1, 2, 3)] == text.splitlines()[1:4]
