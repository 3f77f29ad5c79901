"""`firsthop simulate` and `firsthop sweep`: programs of the repository, run as children."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gateway.cli import load_tests
from gateway.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

SCENARIO = """
duration_s = 3.0
drain_s = 2.0
arms = ["central", "grid_forwarding"]
[sites]
count = 2
profile = "edge-accelerator"
[load]
rate_hz = 5.0
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


def test_simulate_writes_a_report(scenario: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = scenario.parent / "out"
    assert main(["simulate", str(scenario), "--out", str(out), "--seeds", "1", "--spare"]) == 0
    assert {path.name for path in out.iterdir()} == {
        "summary.json",
        "requests.jsonl.zst",
        "report.html",
    }
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["arms"]) == {"central", "grid_forwarding"}
    assert summary["kind"] == "simulated"
    whole, less = (
        summary[key]["arms"]["grid_forwarding"]["rate_hz"]
        for key in ("sustainable", "sustainable_with_one_lost")
    )
    assert 0.0 < less < whole
    assert "one dead" in (out / "report.html").read_text(encoding="utf-8")
    assert "report: " in capfd.readouterr().out


def test_a_seed_gives_the_same_run_again(scenario: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def arms(seed: str) -> object:
        words = ["simulate", str(scenario), "--out", str(scenario.parent / seed), "--json"]
        assert main([*words, "--seeds", "0", "--seed", seed]) == 0
        return json.loads(capfd.readouterr().out)["arms"]

    assert arms("4") == arms("4")
    assert arms("4") != arms("5")


@pytest.mark.parametrize("command", ["simulate", "sweep"])
def test_a_broken_scenario_is_one_line(
    scenario: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    scenario.write_text(SCENARIO.replace("count = 2", "count = 0"), encoding="utf-8")
    assert main([command, str(scenario), "--out", str(scenario.parent / "out")]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "small.toml:6: sites.count: " in error


def test_without_the_repository_the_command_says_so(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load_tests, "ROOT", scenario.parent)
    assert main(["simulate", str(scenario)]) == 1
    assert "run them from a clone of the repository" in capfd.readouterr().err
