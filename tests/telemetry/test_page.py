"""docs/telemetry.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from gateway.core.service_report import Tally
from gateway.core.slo import BURN_RULES, WindowState
from gateway.telemetry.instruments import INSTRUMENTS
from gateway.telemetry.tracing import DEFAULT_SAMPLE_RATIO, MAX_TRACES_PER_S

PAGE = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")


def test_every_metric_is_on_the_page_and_no_other() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(("| `gen_ai.", "| `firsthop."))]
    assert rows == [
        f"| `{row.name}` | {row.kind} | {row.unit} | "
        f"{', '.join(f'`{name}`' for name in row.attributes)} | {row.description} |"
        for row in INSTRUMENTS
    ]


def test_the_page_has_the_rates_of_traces() -> None:
    assert f"- {DEFAULT_SAMPLE_RATIO:.0%} of the rest".replace("%", " %") in PAGE
    assert f"At most {MAX_TRACES_PER_S:.0f} turns a second" in PAGE


def test_the_page_has_the_burn_rate_rules() -> None:
    def label(seconds: float) -> str:
        return WindowState(seconds, Tally(), None).label

    rows = [
        f"| `{rule.name}` | {label(rule.short_s)} and {label(rule.long_s)} | {rule.rate:g} "
        f"| {rule.min_num_turns} |"
        for rule in BURN_RULES
    ]
    assert [row for row in rows if row not in PAGE] == []
