import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.clauses import Clauses, spoken_form


def cut(text: str, step: int | None = None) -> list[str]:
    clauses = Clauses()
    step = step or max(1, len(text))
    found = [one for at in range(0, len(text), step) for one in clauses.feed(text[at : at + step])]
    return [*found, clauses.finish()]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Sure, I can do that, of course. Which day?",
         ["Sure, ", "I can do that, of course. ", "Which day?"]),
        ("That is $1,204.50, all of it.", ["That is $1,204.50, ", "all of it."]),
        ("Dr. Smith comes at 6 p.m. on Monday. Fine?",
         ["Dr. Smith comes at 6 p.m. on Monday. ", "Fine?"]),
        ("Version 2.5 is out.", ["Version 2.5 is out."]),
        ("One line\nand another", ["One line\n", "and another"]),
        ("… well, yes", ["… well, ", "yes"]),
    ],
)  # fmt: skip
def test_the_first_clause_goes_at_once_and_later_ones_are_sentences(
    text: str, clauses: list[str]
) -> None:
    assert cut(text) == clauses
    assert cut(text, 1) == clauses


def test_text_without_marks_is_cut_between_words_but_not_between_numbers() -> None:
    text = "word " * 31 + "12 34 56 78 " + "word " * 20
    first, *_ = cut(text)
    assert first == "word " * 30
    assert len(cut("x" * 1000)) == 1


@given(st.text(alphabet="ab1 .,;?!\n()'", max_size=400), st.integers(1, 7))
def test_nothing_is_lost_or_changed_and_pieces_do_not_matter(text: str, step: int) -> None:
    assert "".join(cut(text, step)) == text
    assert len(max(cut(text, step), key=len)) <= 400


def test_what_is_for_eyes_only_is_not_spoken() -> None:
    assert spoken_form("Shall I go ahead? (ref K7Q2P)") == "Shall I go ahead?"
    assert spoken_form("(ref K7Q2P)") == ""
    assert spoken_form("**Sure**, ") == "Sure,"
    assert spoken_form(" … ") == ""
