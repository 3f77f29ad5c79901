"""`firsthop simulate` and `firsthop sweep`: programs of the repository, run as children."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.cli import load_tests
from gateway.cli.main import main
from loadtests import simulate, sweep
from loadtests.comparison.crossover import Burst, Cells
from loadtests.sim.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.sim.scenario import Scenario

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


def test_ctrl_c_while_requests_are_drawn_leaves_a_partial_result(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Prepared):
        def __init__(self, shaped: Scenario) -> None:
            if shaped.duration_s == 3.0:
                raise KeyboardInterrupt
            super().__init__(shaped)

    monkeypatch.setattr(simulate, "Prepared", Interrupted)
    assert simulate.main([str(scenario), "--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["partial"]


def test_a_trace_too_short_for_a_search_is_run_without_one(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        f'{{"timestamp": {100 * n}, "input_length": 50, "output_length": 9}}' for n in range(90)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(rows), encoding="utf-8")
    trace = 'arrivals = "trace"\ntrace = { path = "t.jsonl", format = "mooncake" }\n'
    scenario.write_text(SCENARIO + trace, encoding="utf-8")
    command = [str(scenario), "--out", str(tmp_path / "out"), "--seeds", "1"]
    assert simulate.main(command) == 0
    assert "no search for the highest load: load.trace: " in capsys.readouterr().out
    assert sweep.main(command) == 1
    assert "a sweep has its own, no trace's" in capsys.readouterr().err


def _cell(burst: Burst) -> dict[str, Any]:
    return Cells(None, burst, [10.0], [5.0], {8.0: [9.0]}, {8.0: [9.5]}, {20.0: [7.0]}).summary(
        seed=1
    )


def test_a_sweep_goes_on_where_it_was_ended(
    scenario: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    command = [str(scenario), "--out", str(out)]
    asked: list[int] = []

    def cells(*_: object, num_known: int, **__: object) -> Iterator[dict[str, Any]]:
        """The first is known, then the user ends it; the second, and it is done."""
        asked.append(num_known)
        yield _cell("local" if num_known else "steady")
        if not num_known:
            raise KeyboardInterrupt

    def kept() -> dict[str, Any]:
        read: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        return read

    monkeypatch.setattr(sweep, "sweep", cells)
    assert sweep.main(command) == 1
    begun = kept()
    assert begun["partial"]
    assert "Partial" in (out / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in begun["command"]

    assert sweep.main([*command, "--resume"]) == 0
    assert not kept()["partial"]
    assert [cell["burst"] for cell in kept()["cells"]] == ["steady", "local"]
    assert asked == [0, 1]

    assert sweep.main([*command, "--seed", "9", "--resume"]) == 1
    assert "is of another sweep" in capsys.readouterr().err


def test_without_the_repository_the_command_says_so(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load_tests, "ROOT", scenario.parent)
    assert main(["simulate", str(scenario)]) == 1
    assert "run them from a clone of the repository" in capfd.readouterr().err
