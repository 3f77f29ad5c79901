"""Every figure of a result is said, and no other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.countries import COUNTRIES, written
from gateway.session import phrases
from gateway.session.account import DECLINED_TEXT
from gateway.session.care import CARE_TOOLS, Account
from gateway.session.read_outs import read_out

_SUMS = st.integers(0, 9999)


def said(tool: str, **result: Any) -> str:
    return read_out(tool, json.dumps(result))


@given(total=_SUMS, open_sum=_SUMS, due=st.integers(0, 30))
def test_a_bill_is_read_out_in_its_own_figures(total: int, open_sum: int, due: int) -> None:
    text = said(
        "get_bill", period="current", total_dollars=total, open_dollars=open_sum, due_in_days=due
    )
    figures = {int(digits) for digits in re.findall(r"\d+", text)}
    assert figures <= {total, open_sum, due}
    assert ("paid" in text) == (open_sum == 0)
    assert open_sum == 0 or f"{open_sum} dollar" in text


@pytest.mark.parametrize(
    ("tool", "result", "text"),
    [
        (
            "get_bill",
            {"period": "current", "total_dollars": 64, "open_dollars": 24, "due_in_days": 9},
            "Your current bill is 64 dollars, 24 dollars still open, due in 9 days.",
        ),
        (
            "get_bill",
            {"period": "last", "total_dollars": 59, "open_dollars": 0},
            "Your last bill was 59 dollars, and it's paid.",
        ),
        (
            "pay_bill",
            {"paid_dollars": 63, "open_dollars": 1},
            "Done, you paid 63 dollars. 1 dollar remains open.",
        ),
        (
            "pay_bill",
            {"paid_dollars": 64, "open_dollars": 0},
            "Done, you paid 64 dollars. Nothing is open any more.",
        ),
        (
            "get_data_usage",
            {"used_gb": 12, "allowance_gb": 20, "next_plan": "plus"},
            "You've used 12 of your 20 gigabytes this month. "
            "Your Plus plan starts with your next bill.",
        ),
        (
            "change_plan",
            {"plan": "basic", "starts": "already"},
            "Done, you stay on the Basic plan.",
        ),
        ("pay_bill", {"error": "declined_by_caller"}, "Okay, nothing was paid."),
        (
            "book_technician",
            {"day": "monday", "window": "morning", "reference": "T4821"},
            "Done, a technician comes Monday morning. Your reference is T4821.",
        ),
        (
            "add_roaming",
            {"country": "trinidad and tobago", "days": 1, "price_dollars": 2},
            "Done, your pass for Trinidad and Tobago is active for 1 day, for 2 dollars.",
        ),
        (
            "cancel_technician",
            {"cancelled": True, "day": "tomorrow", "window": "evening"},
            "Done, your visit tomorrow evening is cancelled.",
        ),
        ("restart_device", {"error": "invalid_arguments"}, phrases.COULD_NOT),
    ],
)
def test_results_and_failures_have_their_sentences(
    tool: str, result: dict[str, Any], text: str
) -> None:
    assert said(tool, **result) == text


_ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "check_outage": [{"service": name} for name in ("internet", "tv", "mobile", "phone")],
    "restart_device": [{"device": name} for name in ("modem", "router", "tv_box")],
    "get_bill": [{"period": "current"}, {"period": "last"}],
    "pay_bill": [{}, {"amount": 5}, {"amount": 500}],
    "change_plan": [{"plan": "plus"}, {"plan": "basic"}],
    "book_technician": [{"day": "today", "window": "evening"}] * 2,
    "pause_wifi": [{"who": "kids", "minutes": 30}],
    "add_roaming": [{"country": name, "days": 3} for name in ("peru", "peru", "north korea", "x")],
    "block_sim": [{"reason": "lost"}] * 2,
}


@pytest.mark.parametrize("tool", CARE_TOOLS)
def test_whatever_a_tool_returns_can_be_read_out(tool: str) -> None:
    account = Account()
    for arguments in _ARGUMENTS.get(tool, [{}, {}]):
        account, result = CARE_TOOLS[tool].apply(account, arguments)
        text = said(tool, **result)
        assert text[0].isupper()
        assert text[-1] in ".?"
        assert text != phrases.COULD_NOT
    assert read_out(tool, DECLINED_TEXT)


def test_a_country_that_is_none_gets_no_pass() -> None:
    _, result = CARE_TOOLS["add_roaming"].apply(Account(), {"country": "hellocountry", "days": 40})
    assert result["error"] == "country_not_covered"


def test_countries_are_written_with_capitals() -> None:
    assert written("isle of man") == "Isle of Man"
    assert written("guinea-bissau") == "Guinea-Bissau"
    assert all(written(name).lower() == name for name in COUNTRIES)
