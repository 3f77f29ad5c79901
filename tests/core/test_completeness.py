import pytest

from gateway.core.completeness import (
    Completeness,
    Endings,
    features_of,
    judge_completeness,
    words_of,
)

ENDINGS = Endings({"1:bill": 2.0, "1:pay": -2.0, "1?:<day>": 3.0}, 1.0, -1.0)


@pytest.mark.parametrize("text", ["I want to", "pay my", "restart the router um", "for the"])
def test_some_words_always_go_on(text: str) -> None:
    assert judge_completeness(text) is Completeness.INCOMPLETE
    assert judge_completeness(text, ENDINGS) is Completeness.INCOMPLETE


def test_endings_judge_the_rest() -> None:
    assert judge_completeness("pay my bill", ENDINGS) is Completeness.COMPLETE
    assert judge_completeness("let me pay", ENDINGS) is Completeness.INCOMPLETE
    assert judge_completeness("Monday", ENDINGS) is Completeness.UNCLEAR
    assert judge_completeness("Monday", ENDINGS, answers=True) is Completeness.COMPLETE
    assert judge_completeness("pay my bill") is Completeness.UNCLEAR
    assert judge_completeness("", ENDINGS) is Completeness.UNCLEAR


def test_yes_and_no_are_whole_answers_and_nothing_else() -> None:
    assert judge_completeness("yes", answers=True) is Completeness.COMPLETE
    assert judge_completeness("no thanks", answers=True) is Completeness.COMPLETE
    assert judge_completeness("yes") is Completeness.UNCLEAR


def test_features_of_an_answer() -> None:
    assert list(features_of(["no"], answers=True)) == [
        "n1?", "k:?", "k1: no", "1?:no", "f:no", "g:no", "1:no", "2:< no", "3:< < no", "4:< < < no",
    ]  # fmt: skip


def test_values_count_as_words_and_by_their_kind() -> None:
    words = words_of("pay 45 dollars, roaming in Costa Rica, twenty")
    assert words == ["pay", "45", "dollars", "roaming", "in", "costa", "rica", "twenty"]
    found = set(features_of(words, answers=False))
    assert {"k:<country>,<dollars>,<number>", "g:pay #1", "g:pay <dollars>"} <= found
    assert {"2:rica #10", "2:<country> <number>", "w:#1", "w:<dollars>", "w:costa"} <= found
    assert {"p:pay <number>", "p:<country> <number>"} <= found
    assert "p:costa #10" not in found
