"""Codes as callers say them, and what a conversation says of its caller."""

from __future__ import annotations

import pytest

from gateway.core.caller_check import QUESTION, KeyedCode, check_caller, spelled_digits
from gateway.core.turn import Message, Role

CODE = "4277"
REQUEST = Message(Role.USER, "what do I owe")
ASKED = Message(Role.ASSISTANT, f"Sorry. {QUESTION}")


def user(text: str) -> Message:
    return Message(Role.USER, text)


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("four two seven seven", "4277"),
        ("it's four two double seven please", "4277"),
        ("42 77", "4277"),
        ("4277.", "4277"),
        ("forty two seventy seven", "4277"),
        ("Forty-two seven seven", "4277"),
        ("oh nine triple one", "09111"),
        ("forty seventy", "4070"),
        ("forty", "40"),
        ("nineteen eighty four", "1984"),
        ("thirty oh one", "3001"),
        ("I don't know it", ""),
    ],
)
def test_digits_as_they_are_said(said: str, digits: str) -> None:
    assert spelled_digits(said) == digits


def test_the_right_code_verifies_and_leaves_no_trace() -> None:
    told = Message(Role.ASSISTANT, "Your open balance is 64 dollars.")
    checked = check_caller([REQUEST, ASKED, user("four two double seven"), told], CODE)
    assert checked.is_verified
    assert checked.messages == (REQUEST, told)
    assert not checked.wrong_codes


def test_a_wrong_code_may_be_followed_by_the_right_one() -> None:
    wrong = check_caller([REQUEST, ASKED, user("1234")], CODE)
    assert (wrong.is_verified, wrong.is_wrong_now) == (False, True)
    assert wrong.wrong_codes == {"1234"}
    right = check_caller([REQUEST, ASKED, user("1234"), ASKED, user("4277")], CODE)
    assert (right.is_verified, right.is_wrong_now) == (True, False)
    assert right.messages == (REQUEST,)


def test_another_reply_is_a_request_of_its_own() -> None:
    checked = check_caller([REQUEST, ASKED, user("pause the wifi for 20 minutes")], CODE)
    assert checked.messages == (REQUEST, user("pause the wifi for 20 minutes"))
    assert (checked.is_verified, checked.is_wrong_now) == (False, False)


def test_a_code_that_nobody_asked_for_is_none() -> None:
    for said in ([user("4277")], [REQUEST, Message(Role.ASSISTANT, "Sure?"), user("4277")]):
        assert not check_caller(said, CODE).is_verified


def test_a_code_is_keyed_in_digit_by_digit() -> None:
    keys = KeyedCode()
    assert [keys.press(key, at_s) for at_s, key in enumerate("42#42774277")] == [
        *[""] * 6,
        "4277",
        *[""] * 3,
        "4277",
    ]


def test_a_code_that_was_given_up_is_begun_anew() -> None:
    keys = KeyedCode()
    keys.press("9", 0.0)
    assert [keys.press(key, 10.0) for key in "4277"] == ["", "", "", "4277"]
