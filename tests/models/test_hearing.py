from __future__ import annotations

import pytest

from tests.requirements import require


@pytest.fixture(autouse=True)
def _pocketsphinx() -> None:
    try:
        import pocketsphinx  # noqa: F401
    except ImportError:
        require("pocketsphinx", False, "run: make setup")


def test_the_recognisers_files_are_what_the_generator_makes() -> None:
    from models.subscriber_care.hearing import HERE, is_current

    assert is_current(HERE), "run: python -m models.subscriber_care.hearing"


def test_what_a_read_back_is_answered_with_can_be_heard() -> None:
    from gateway.core.confirmation import phrases
    from models.subscriber_care.hearing import DICTIONARY_FILE, said_words

    lines = DICTIONARY_FILE.read_text("utf-8").splitlines()
    known = {line.split()[0] for line in lines}
    missing = {word for phrase in phrases() for word in said_words(phrase).split()} - known

    assert missing <= {
        "okey",
        "dont",
        "erm",
        "hmm",
        "mm",
        "ok",
        "ya",
        "yup",
    }  # or written otherwise
    assert {"yes", "no", "stop", "wait", "dollars", "seventeen", "roaming", "wifi"} <= known


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Pay $12.50, please!", "pay twelve dollars and fifty cents please"),
        ("My Wi-Fi’s off", "my wifi's off"),
        ("'ello", "ello"),
        ("…", ""),
    ],
)
def test_the_words_a_caller_says(written: str, said: str) -> None:
    from models.subscriber_care.hearing import said_words

    assert said_words(written) == said
