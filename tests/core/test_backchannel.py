import pytest

from gateway.core.backchannel import Talk, read_talk


@pytest.mark.parametrize(
    "text", ["uh-huh", "Uh huh.", "okay", "yeah", "yeah yeah", "mm-hm", "right, I see", "oh great"]
)
def test_signs_of_listening(text: str) -> None:
    assert read_talk(text) is Talk.BACKCHANNEL


@pytest.mark.parametrize(
    "text",
    ["no", "no wait", "stop", "yeah but my bill", "hold on", "what about tuesday", "okay stop",
     "yeah yeah yeah yeah yeah yeah yeah", "sorry"],
)  # fmt: skip
def test_somebody_says_something(text: str) -> None:
    assert read_talk(text) is Talk.WORDS


def test_one_odd_word_may_be_a_mishearing() -> None:
    assert read_talk("router") is Talk.FRAGMENT
    assert read_talk("and so") is Talk.FRAGMENT
    assert read_talk(" ") is Talk.NOTHING


def test_after_a_question_every_word_is_an_answer() -> None:
    assert read_talk("yeah", answers=True) is Talk.WORDS
    assert read_talk("", answers=True) is Talk.NOTHING
