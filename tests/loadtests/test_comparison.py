"""Summaries, intervals, cost and the report of a run."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zstandard

from gateway.core.budget import TurnClass
from loadtests.comparison.cost import break_even_premium, usd_per_mtok
from loadtests.comparison.crossover import crossing
from loadtests.comparison.map_page import map_page
from loadtests.comparison.measured import NOWHERE, Measured
from loadtests.comparison.resampling import interval, over_seeds
from loadtests.comparison.run import LIVE, Run
from loadtests.comparison.summary import arm_summary, cdf_ms, compared
from loadtests.comparison.svg import Bar, bars
from loadtests.sim.outcome import Fate
from loadtests.sim.scenario import LoadTable, PricesTable, Scenario, SitesTable
from loadtests.sim.workload import Slo

if TYPE_CHECKING:
    from pathlib import Path

SCENARIO = Scenario(
    claim="a <claim>",
    duration_s=10.0,
    sites=SitesTable(count=2, profile="edge-accelerator"),
    load=LoadTable(rate_hz=1.0),
    prices=PricesTable(edge_usd_per_hour=3.6, core_usd_per_hour=1.8),
)


def measured(*rows: tuple[float, int, int, Fate, float]) -> Measured:
    """Rows of (sent_s, home, served_by, fate, first_token_s); 10 tokens each, limit 500 ms."""
    sent_s, home, served_by, fate, first_s = (np.array(c) for c in zip(*rows, strict=True))
    return Measured(
        slos=(Slo(TurnClass.VOICE, 0.5),),
        duration_s=10.0,
        sent_s=sent_s.astype(np.float64),
        slo=np.zeros(len(rows), np.int64),
        home=home.astype(np.int64),
        served_by=served_by.astype(np.int64),
        fate=fate.astype(np.uint8),
        output_tokens=np.full(len(rows), 10, np.int64),
        first_token_s=first_s.astype(np.float64),
        last_token_s=first_s.astype(np.float64) + 0.2,
        num_forwarded=1,
    )


ROWS = (
    (0.5, 0, 0, Fate.DONE, 0.1),
    (1.5, 0, 1, Fate.DONE, 0.3),
    (6.5, 1, 1, Fate.DONE, 0.7),
    (7.5, 1, NOWHERE, Fate.SHED, np.nan),
    (8.5, 1, NOWHERE, Fate.FAILED, np.nan),
)


def test_shed_failed_and_late_requests_are_missed() -> None:
    arm = arm_summary("grid_forwarding", measured(*ROWS), SCENARIO)
    assert (arm["offered"], arm["attained"], arm["shed"], arm["failed"]) == (5, 0.4, 1, 1)
    assert arm["ttft_ms"]["p50"] == 300.0
    assert arm["ttft_ms"]["p99"] == 700.0
    assert not arm["ttft_ms"]["p99_is_certain"]
    assert (arm["tok_per_s"], arm["goodput_tok_per_s"]) == (3.0, 2.0)
    assert arm["forward_ratio"] == 0.2
    assert arm["schedule_delay_ms"] == {"p99": 0.0}
    fates = {"at_home": 0.2, "elsewhere": 0.2, "late": 0.2, "shed": 0.2, "failed": 0.2}
    assert arm["fates"] == fates
    assert arm["served_by"] == [[1, 1], [0, 1]]
    assert arm["over_time"]["offered"] == [1, 1, 0, 0, 0, 0, 1, 1, 1, 0]
    assert arm["over_time"]["attained"] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_cdf_is_of_all_offered() -> None:
    cdf = cdf_ms(measured(*ROWS))
    assert cdf[0] == 100.0
    assert cdf[119] == 700.0  # 60 %
    assert cdf[120] is None


def test_a_limit_on_tokens_counts_the_last_one() -> None:
    one = measured(*ROWS)
    strict = Measured(**{**_fields(one), "slos": (Slo(TurnClass.VOICE, 0.5, 0.001),)})
    lax = Measured(**{**_fields(one), "slos": (Slo(TurnClass.VOICE, 0.5, 0.1),)})
    assert strict.attained().tolist() == [True, True, False, False, False]
    assert (lax.attained() == one.attained()).all()
    late = Measured(**{**_fields(strict), "last_token_s": one.first_token_s + 0.45})
    assert late.attained().tolist() == [False, False, False, False, False]


def _fields(one: Measured) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Measured.__dataclass_fields__}


def test_pools_pay_the_price_of_the_core() -> None:
    edge, core = (
        arm_summary(name, measured(*ROWS), SCENARIO)["usd_per_mtok"] for name in ("grid", "central")
    )
    # Two accelerators at 3.6 dollars an hour are 0.002 dollars a second, for two tokens.
    assert edge == pytest.approx(1000.0)
    assert core == pytest.approx(500.0)
    assert usd_per_mtok(1.0, 0.0) is None
    assert break_even_premium(42_362.0, 10_125.0) == pytest.approx(4.184, abs=1e-3)
    assert break_even_premium(1.0, 0.0) is None


def test_arms_are_compared_on_the_same_requests() -> None:
    better = measured(*((*row[:3], Fate.DONE, 0.1) for row in ROWS))
    other = measured(*ROWS)
    found = compared(
        {"grid_forwarding": better, "central": other, "odd": measured(*ROWS[:2])}, SCENARIO
    )
    assert found["central"]["attained_points"] == pytest.approx(60.0)
    assert found["central"]["goodput_ratio"] == pytest.approx(2.5)
    low, high = found["central"]["attained_points_ci95"]
    assert low <= 60.0 <= high
    assert "odd" not in found
    assert compared({"central": other}, SCENARIO) == {}


def test_requests_of_one_burst_make_an_interval_wide() -> None:
    sent_s = np.arange(0.0, 200.0, 0.01)
    lucky = np.random.default_rng(1).random(len(sent_s)) < 0.5
    bursty = (sent_s // 5.0).astype(int) % 2 == 0

    def width(values: np.ndarray) -> float:
        bounds = interval(sent_s, lambda rows: float(values[rows].mean()), seed=1)
        assert bounds is not None
        assert bounds[0] < 0.5 < bounds[1]
        return bounds[1] - bounds[0]

    assert width(bursty) > 5.0 * width(lucky)
    assert interval(sent_s[:100], lambda _: 0.0, seed=1) is None


def test_an_interval_over_seeds_is_students() -> None:
    assert over_seeds([1.0]) is None
    assert over_seeds([1.0, 2.0, 3.0]) == pytest.approx((-0.484, 4.484), abs=1e-3)


@pytest.mark.parametrize(
    ("leads", "at_ms"),
    [
        ([-1.0, -1.0, 1.0], 30.0),
        ([1.0, 2.0, 3.0], 10.0),
        ([-1.0, -1.0, -1.0], None),
        ([1.0, -3.0, 1.0], 35.0),  # for good only from there on
    ],
)
def test_the_crossover_is_where_a_lead_begins_for_good(
    leads: list[float], at_ms: float | None
) -> None:
    assert crossing([10.0, 20.0, 40.0], leads) == at_ms


class Tags(HTMLParser):
    """Every tag closed, nothing fetched from anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed at once."""


def check_page(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert tags.links == []
    assert "url(" not in html


def a_run() -> Run:
    made = Run("small", SCENARIO, LIVE, faults=["the host was <busy>"], is_partial=True)
    made.arms = {"central": measured(*ROWS), "grid_forwarding": measured(*ROWS)}
    made.network = {
        "backend": "netem",
        "paths": [{"from": "a", "to": "b", "nominal_rtt_ms": 1.0, "p50_ms": 1.0, "p99_ms": 2.0}],
    }
    return made


def test_a_run_is_kept_as_summary_requests_and_report(tmp_path: Path) -> None:
    summary = a_run().save(tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == summary
    assert summary["valid"] is False
    assert summary["invalid_because"] == ["the host was <busy>"]
    assert summary["comparison"]["break_even_edge_premium"] == {"grid_forwarding / central": 1.0}
    with (out / "requests.jsonl.zst").open("rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(file).read().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["arm"] for row in rows] == ["central"] * 5 + ["grid_forwarding"] * 5
    assert rows[3] == {
        "arm": "central",
        "sent_s": 7.5,
        "class": "voice",
        "slo": 0,
        "home": 1,
        "served_by": -1,
        "fate": "shed",
        "output_tokens": 10,
        "ttft_ms": None,
        "last_token_ms": None,
        "attained": False,
    }
    html = (out / "report.html").read_text(encoding="utf-8")
    check_page(html)
    assert "a &lt;claim&gt;" in html
    assert "the host was &lt;busy&gt;" in html
    assert "Partial" in html


@pytest.mark.parametrize("name", ["report.html", "requests.jsonl.zst"])
def test_a_full_disk_leaves_a_summary_that_says_partial(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    run = a_run()
    run.is_partial = False
    with pytest.raises(OSError, match=f"{name}: No space left on device"):
        run.save(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["partial"]
    (tmp_path / name).unlink()
    assert not run.save(tmp_path)["partial"]
    assert not json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["partial"]


def test_what_is_written_behind_a_bar_fits_the_plot() -> None:
    text = "48.2 / s (98.28 % of pool)"
    svg = bars("t", [Bar("a", "grid", 48.2, text), Bar("b", "grid", 1.0, "1")], width=640.0)
    begins = float(svg.partition(f">{text}")[0].rpartition('x="')[2].partition('"')[0])
    assert begins + 6.5 * len(text) < 640.0  # what 12 px letters take


def test_a_run_without_any_arm_still_has_a_page() -> None:
    run = a_run()
    run.arms.clear()
    summary = run.summary()
    assert summary["arms"] == {}


def test_a_map_shows_who_wins_in_each_cell() -> None:
    def ratio(mean: float | None, *bounds: float) -> dict[str, Any]:
        return {"mean": mean, "ci95": list(bounds) or None}

    sustained = {"rate_hz": 10.0, "ci95": [9.0, 11.0]}
    cell = {
        "hot_ratio": 0.7,
        "burst": "local",
        "pool": sustained,
        "grid": sustained,
        "forwarding_over_grid": ratio(3.0, 2.9, 3.1),
        "forwarding": [
            {
                "site_rtt_ms": 8.0,
                **sustained,
                "of_pool": ratio(0.98, 0.97, 0.99),
                "of_exact_state": ratio(0.99, 0.98, 1.0),
            }
        ],
        "central": [
            {"rtt_ms": 20.0, **sustained, "forwarding_over_central": ratio(0.95, 0.94, 0.96)},
            {"rtt_ms": 80.0, **sustained, "forwarding_over_central": ratio(1.4, 1.3, 1.5)},
            {"rtt_ms": 120.0, **sustained, "forwarding_over_central": ratio(None)},
        ],
        "crossover_rtt_ms": {"mean": 31.0, "ci95": [28.0, 34.0], "by_seed": [30.0, 32.0]},
        "at_load": [
            {"load": 0.7, "rtt_ms": rtt, "points": 0.1, "ci95": [-0.1, 0.3], "forwarding": 0.99}
            for rtt in (20.0, 80.0, 120.0)
        ],
    }
    result = {
        "scenario": "small",
        "claim": "",
        "partial": False,
        "cells": [cell],
        "command": "x",
        "num_seeds": 2,
        "seed": 1,
        "commit": "c",
        "machine": {"cpu": "x"},
    }
    page = map_page(result)
    check_page(page)
    assert '<span class="cell loses">0.950' in page
    assert '<span class="cell wins">1.400' in page
    assert '<span class="cell wins">∞' in page
    assert '<span class="cell even">0.10' in page
    assert "31 ms <small>28 to 34" in page

    nobody = {"rate_hz": 0.0, "ci95": None, "site_rtt_ms": 8.0}
    cell["forwarding"] = [nobody | {"of_pool": ratio(0.0), "of_exact_state": ratio(None)}]
    assert "∞" not in map_page(result)
