"""What callers are told when they are refused: short, and in the numbers they gave."""

from __future__ import annotations

import pytest

from gateway.core.budget import BudgetDefaults, TurnClass, budget_for
from gateway.core.errors import (
    MAX_MESSAGE_CHARS,
    InvalidRequest,
    RateLimited,
    RegionNotAllowed,
    SloUnattainable,
    UnknownModel,
)
from gateway.core.generation import Sampling


def test_a_message_does_not_repeat_a_long_value() -> None:
    message = UnknownModel("m" * 100_000, ("tiny",)).message
    assert len(message) < 200
    assert message.endswith("m…' is not served here; served: tiny")


def test_no_message_is_long() -> None:
    message = RegionNotAllowed("", ("r" * 100_000,)).message
    assert len(message) == MAX_MESSAGE_CHARS
    assert message.endswith("…")


def test_a_range_is_told_in_whole_numbers() -> None:
    with pytest.raises(InvalidRequest, match=r"at most 1048576, not 2000000000$"):
        Sampling(top_k=2_000_000_000)
    with pytest.raises(InvalidRequest, match=f"at most {2**63 - 1}, not {2**63}$"):
        Sampling(seed=2**63)


def test_a_limit_is_told_in_whole_numbers() -> None:
    error = RateLimited(limit="tokens a minute", allowed=1_234_567.0, retry_after_s=1.0)
    assert "limit of 1234567 tokens" in error.message


def test_a_budget_is_told_in_milliseconds() -> None:
    with pytest.raises(InvalidRequest, match=r"not -5 ms$"):
        budget_for(TurnClass.AGENT, BudgetDefaults(), started_s=0.0, requested_s=-0.005)


@pytest.mark.parametrize(("budget_s", "told"), [(0.0005, "0.5"), (2.0, "2000"), (0.1 + 0.2, "300")])
def test_a_small_budget_is_not_told_as_none(budget_s: float, told: str) -> None:
    for reason in ("budget_spent", "nothing_fits"):
        shed = SloUnattainable(estimate_s=1.0, budget_s=budget_s, reason=reason, retry_after_s=1.0)
        assert f"budget {told} ms" in str(shed).replace("budget of", "budget")


def test_a_spent_budget_is_told_without_an_estimate() -> None:
    error = SloUnattainable(estimate_s=0.0, budget_s=0.5, reason="budget_spent", retry_after_s=1.0)
    assert error.message == (
        "shed (budget_spent): the budget of 500 ms was over before the turn had a place"
    )
