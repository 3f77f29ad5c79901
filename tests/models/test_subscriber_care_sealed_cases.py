"""The sealed set is sound. Assertions name cases by id only, so that a failure does not open it."""

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from gateway.core.countries import COUNTRIES
from models.subscriber_care.cases import Case, read_cases
from models.subscriber_care.format import HERE, Called, Heard, Returned, Turn, problems_of

MIN_NUM_CASES = {
    "single_turn": 70,
    "values": 100,
    "slot_filling": 30,
    "correction": 25,
    "tool_failure": 12,
    "read_out": 10,
    "small_talk": 20,
    "outside": 30,
    "near_miss": 15,
    "adversarial": 15,
    "noise": 30,
}


@pytest.fixture(scope="module")
def sealed() -> Sequence[Case]:
    return read_cases(HERE / "sealed_cases.jsonl")


def _words_heard(case: Case) -> tuple[tuple[str, ...], ...]:
    heard = (turn.text.lower() for turn in case.turns if isinstance(turn, Heard))
    return tuple(tuple(re.findall(r"[\w']+", text)) for text in heard)


def _is_valid(turn: Turn | None) -> bool:
    if not isinstance(turn, Called):
        return True
    return not problems_of(turn) and turn.arguments.get("country", COUNTRIES[0]) in COUNTRIES


def test_every_category_has_its_cases(sealed: Sequence[Case]) -> None:
    counts = Counter(case.category for case in sealed)

    assert counts.keys() == MIN_NUM_CASES.keys()
    assert {c for c, at_least in MIN_NUM_CASES.items() if counts[c] < at_least} == set()


def test_both_sets_together_have_300_value_cases(sealed: Sequence[Case]) -> None:
    assert sum(case.category == "values" for case in [*sealed, *read_cases()]) >= 300


def test_no_case_is_there_twice_or_in_the_development_set(sealed: Sequence[Case]) -> None:
    num_ids, num_told_apart = len({c.id for c in sealed}), len({_words_heard(c) for c in sealed})
    development = {_words_heard(case) for case in read_cases()}
    num_cases = len(sealed)

    assert num_ids == num_told_apart == num_cases
    assert [case.id for case in sealed if _words_heard(case) in development] == []


def test_every_case_ends_where_the_assistant_speaks(sealed: Sequence[Case]) -> None:
    assert [c.id for c in sealed if not isinstance(c.turns[-1], Heard | Returned)] == []


def test_every_call_is_one_the_tools_allow(sealed: Sequence[Case]) -> None:
    assert [c.id for c in sealed if not all(map(_is_valid, [*c.turns, c.call]))] == []


def test_a_text_is_expected_by_a_pattern_that_silence_does_not_match(
    sealed: Sequence[Case],
) -> None:
    texts = [case for case in sealed if case.call is None]

    assert [case.id for case in texts if re.search(case.text_pattern, "")] == []
