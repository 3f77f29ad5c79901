from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.number_words import numbers_in
from gateway.core.spoken_text import number_in_words, spoken


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Okay, nothing was paid.", "Okay, nothing was paid."),
        ("$12.50", "twelve dollars and fifty cents"),
        ("$1", "one dollar"),
        ("$0.99", "ninety nine cents"),
        ("£0.01", "one penny"),
        ("832$", "eight hundred and thirty two dollars"),
        ("pay $1,234 now", "pay one thousand two hundred and thirty four dollars now"),
        ("due 2026-12-01", "due December first, twenty twenty six"),
        ("by Nov 3rd", "by November third"),
        ("on May 21", "on May twenty first"),
        ("2026-13-01", "two zero two six one three zero one"),
        ("call 555-0142", "call five five five, zero one four two"),
        ("at 2:05 pm", "at two oh five p m"),
        ("at 14:30", "at fourteen thirty"),
        ("9:00", "nine o'clock"),
        ("8 am", "eight am"),
        ("reference T48-2", "reference T four eight, two"),
        ("94.3 Mbit/s", "ninety four point three megabits a second"),
        ("5 GB of 20 GB", "five gigabytes of twenty gigabytes"),
        ("1 min", "one minute"),
        ("20%", "twenty percent"),
        ("007", "zero zero seven"),
        ("the 21st", "the twenty first"),
        ("12345678901234", "one two three four five six seven eight nine zero one two three four"),
    ],
)
def test_figures_are_said_in_words(written: str, said: str) -> None:
    assert spoken(written) == said


@given(st.integers(0, 9999))
def test_numbers_are_understood_as_they_were_said(number: int) -> None:
    (heard,) = numbers_in(number_in_words(number).split())

    assert heard.value == number


@given(st.text(max_size=80) | st.from_regex(r"[a-z $€£.,:%+-]*[0-9,.:/$%-]{1,20}[a-z ]*"))
def test_no_figure_is_left(text: str) -> None:
    assert not any(character in "0123456789" for character in spoken(text))
