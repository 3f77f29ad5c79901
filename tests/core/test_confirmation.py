import pytest

from gateway.core.confirmation import Consent, read_consent, unless_unsure


@pytest.mark.parametrize(
    "reply",
    [
        "yes",
        "Yes, please.",
        "yeah go ahead",
        "ok",
        "OK do it",
        "sure, thanks",
        "that's right",
        "um yes",
        "Yep!",
        "please do",
        "of course",
        "yes that is correct",
        "go ahead",
        "do it",
        "absolutely",
        "alright yes",
        "yes it is",
        "sure why not",
        "yes, perfect",
        "yes that's fine",
        "that's okay, go ahead",
    ],
)
def test_agreement_and_filler_only_is_yes(reply: str) -> None:
    assert read_consent(reply) is Consent.YES


@pytest.mark.parametrize(
    "reply",
    [
        "no",
        "No thanks.",
        "nope",
        "don't",
        "please don't do it",
        "cancel that",
        "stop",
        "never mind",
        "wait",
        "not now",
        "yes no",
        "of course not",
        "I'm not sure",
        "hold on",
        "no don’t do that",
    ],
)
def test_refusal_is_no(reply: str) -> None:
    assert read_consent(reply) in (Consent.NO, Consent.UNCLEAR)
    assert read_consent(reply) is not Consent.YES


@pytest.mark.parametrize("reply", ["no", "No thanks.", "nope", "cancel that", "stop", "not now"])
def test_plain_refusal_is_recognised_as_such(reply: str) -> None:
    assert read_consent(reply) is Consent.NO


@pytest.mark.parametrize(
    "reply",
    [
        "yes but fifty",
        "make it fifty",
        "50",
        "yes fifty dollars",
        "what does it cost",
        "yes and book a technician",
        "the other plan",
        "sure why not ask my wife first",
        "is it ok if I pay tomorrow",
        "okay but only twenty",
        "no, forty five",
        "ok？",
        "yes؟",
        "yes it is 👎",
        "~~yes~~",
        "yes ✗",
        "is it good?",
        "нет, ok",
        "不要 ok",
        "ok да",
        "yes🙂no?",
        "go to basic",
    ],
)
def test_anything_with_content_of_its_own_is_unclear(reply: str) -> None:
    assert read_consent(reply) is Consent.UNCLEAR


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "...",
        "is that correct",
        "Is that correct?",
        "ok?",
        "yes?",
        "do i confirm",
        "um",
        "please",
        "thank you",
        "right",
        "great",
        "fine",
        "that's fine",
        "that's fine, thank you",
        "that's okay, thanks",
        "that's ok",
        "go on",
        "it is",
        "you can",
        "yes but wait",
        "yes but",
        "sure, why not?",
    ],
)
def test_neither_yes_nor_no_nor_a_request_is_hesitant(reply: str) -> None:
    assert read_consent(reply) is Consent.HESITANT


def test_a_reply_is_read_in_time_in_proportion_to_its_length() -> None:
    assert read_consent("yes it is " * 5000 + "zzz") is Consent.UNCLEAR
    assert read_consent("yes it is " * 5000) is Consent.YES


def test_a_yes_that_was_not_heard_well_is_asked_about_again() -> None:
    assert read_consent(unless_unsure("yes please", 0.3)) is Consent.HESITANT
    assert unless_unsure("yes please", 0.9) == "yes please"
    assert unless_unsure("yes please", None) == "yes please"
    assert unless_unsure("no", 0.1) == "no"
    assert unless_unsure("pay my bill", 0.1) == "pay my bill"
