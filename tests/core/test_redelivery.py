from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.redelivery import Passage, Redelivery


def test_only_what_was_not_received_goes_out() -> None:
    redelivery = Redelivery("Your bi")
    assert [redelivery.feed(text).text for text in ("Your", " bill", " is 64")] == [
        "",
        "ll",
        " is 64",
    ]
    assert redelivery.end() == Passage("")


def test_another_answer_begins_anew() -> None:
    redelivery = Redelivery("Your bi")
    assert redelivery.feed("Your ") == Passage("")
    assert redelivery.feed("balance") == Passage("Your balance", is_restart=True)
    assert redelivery.feed(" is") == Passage(" is")


def test_an_answer_shorter_than_what_was_received_begins_anew() -> None:
    redelivery = Redelivery("Your bill")
    redelivery.feed("Your")
    assert redelivery.end() == Passage("Your", is_restart=True)
    assert Redelivery("Your").end() == Passage("", is_restart=True)


@given(st.text("ab", max_size=6), st.lists(st.text("ab", max_size=3), max_size=6))
def test_the_client_ends_with_the_answer(received: str, deltas: list[str]) -> None:
    redelivery, has = Redelivery(received), received
    for passage in [*map(redelivery.feed, deltas), redelivery.end()]:
        has = passage.text if passage.is_restart else has + passage.text
    assert has == "".join(deltas)
