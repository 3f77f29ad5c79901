import pytest

from gateway.core.completeness import (
    Completeness,
    Endings,
    features_of,
    judge_completeness,
    words_of,
)

ENDINGS = Endings({"1:bill": 2.0, "1:pay": -2.0, "1?:monday": 3.0}, 1.0, -1.0)


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


def test_numbers_are_told_apart_by_what_may_follow_them() -> None:
    assert words_of("twenty, 40, 45 $3 two hundred") == ["#10", "#10", "#1", "#1", "#1", "#100"]


def test_features_of_one_word() -> None:
    assert list(features_of(["no"], answers=True)) == [
        "n1?", "1:no", "1?:no", "2:< no", "3:< < no", "f:no", "g:no",
    ]  # fmt: skip
