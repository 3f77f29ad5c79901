"""`firsthop replay` over the decisions of a router."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gateway.cli.main import main
from gateway.core.route_choice import Ask
from gateway.telemetry.decision_log import DecisionLog
from gateway.telemetry.segment_log import LogBounds
from tests.core.grid_figures import FULL, IDLE, peer
from tests.core.test_decision_record import AGENT, on_record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    """One turn that stayed and one that went to a peer."""
    directory = tmp_path / "decisions"
    log = DecisionLog(directory, LogBounds(32 << 20, 3600.0), kept_ratio=1.0)
    for load in (IDLE, FULL):
        log.record(on_record(Ask(AGENT, 100, 0.5), load, [peer("b")])[1])
    log.close()
    return directory


def test_without_a_policy_nothing_changes(
    decisions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(decisions)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 decisions, 0 otherwise under the policy",
        "",
        "                           as made    policy",
        "here                             1         1",
        "peer                             1         1",
        "mean estimate, not shed   110.0 ms  110.0 ms",
    ]


def test_another_policy_is_shown_with_what_it_changes(
    decisions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "eager.toml"
    policy.write_text("comfort_ms = 0\ngain_ms = 0\ncomfort_ratio = 0.0\n")
    (segment,) = decisions.glob("*.segment")
    assert main(["replay", str(segment), "--policy", str(policy), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_decisions"], found["num_reproduced"]) == (2, 2)
    assert found["before"] == {"here": 1, "peer": 1}


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        ("comfort = 1", "comfort"),
        ("comfort_ms = 'long'", "comfort_ms"),
        ("gain_ms = -5", "gain_ms"),
        ("[", "policy.toml"),
    ],
)
def test_a_policy_that_is_none_is_named(
    decisions: Path, tmp_path: Path, policy: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.toml").write_text(policy)
    assert main(["replay", str(decisions), "--policy", str(tmp_path / "policy.toml")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert word in line


def test_what_are_no_decisions_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    for path in (tmp_path / "nowhere", tmp_path / "notes.txt", tmp_path):
        assert main(["replay", str(path)]) == 1
    assert [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()]


def test_a_site_keeps_as_many_as_it_is_told(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, LogBounds(32 << 20, 3600.0), kept_ratio=0.1)
    kept = sum(log.wants(f"request-{number}") for number in range(10_000))
    log.close()
    assert 800 < kept < 1200
