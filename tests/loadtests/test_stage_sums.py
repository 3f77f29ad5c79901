"""How clients' times are held against records, and what makes a run miss its target."""

from __future__ import annotations

import pytest

from loadtests.stage_sums import Compared, figures, missed_by


def turns(num_close: int, num_far: int, *, is_over: bool = False) -> list[Compared]:
    close, far = (Compared("http", seen_s, 0.1, is_over) for seen_s in (0.105, 0.2))
    return [close] * num_close + [far] * num_far


def test_all_turns_and_those_over_budget_are_judged_apart() -> None:
    good = figures(turns(995, 5) + turns(20, 0, is_over=True))
    assert good["within_10_ms"] == pytest.approx(0.995, abs=1e-3)
    assert good["over_budget_within_10_ms"] == 1.0
    late = figures(turns(2000, 0) + turns(18, 2, is_over=True))
    assert late["within_10_ms"] > 0.99
    few = figures(turns(10, 0) + turns(0, 3, is_over=True))
    assert "over_budget_within_10_ms" not in few
    phases = {"steady": {"http": good, "grpc": late}}
    assert missed_by(phases) == ["steady over grpc: over_budget_within_10_ms 90.00%"]
