"""`firsthop loadtest`: short runs with real sites in namespaces, and how runs end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from loadtests.links import namespaces
from loadtests.local_site import ROOT, wait_until
from tests.links.alone import namespaces_of_ones_own

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(300)
_LIMIT_S = 240.0
_SCENARIO = """\
claim = "A short run ends well"
duration_s = {duration_s}
drain_s = 5.0
arms = {arms}
[sites]
count = 2
profile = "edge-accelerator-3b"
num_slots = 8
[clients]
access_delay_s = 0.005
failover_s = 0.05
[load]
rate_hz = 3.0
prompts = {{ mean_tokens = 40.0, cv = 0.5, max_tokens = 200 }}
outputs = {{ mean_tokens = 6.0, cv = 0.5, max_tokens = 20 }}
[[slos]]
turn_class = "agent"
first_token_s = 2.0
"""
_KILL = """\
[[faults]]
kind = "kill"
site = 1
at_s = 2.0
[[faults]]
kind = "slow_down"
site = 0
at_s = 1.0
until_s = 3.0
factor = 2.0
"""


@pytest.fixture(autouse=True)
def leaves_no_namespace() -> Iterator[None]:
    with namespaces_of_ones_own():
        before = set(namespaces.names())
        yield
        assert set(namespaces.names()) <= before


def _start(folder: Path, text: str, *arguments: str) -> subprocess.Popen[str]:
    scenario = folder / "short.toml"
    scenario.write_text(text)
    command = [sys.executable, "-m", "gateway", "loadtest", str(scenario), "--passes", "1"]
    return subprocess.Popen(
        [*command, "--out", str(folder / "out"), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "summary.json").read_text())
    return found


def test_every_arm_is_run_and_stands_beside_the_simulator(tmp_path: Path) -> None:
    text = _SCENARIO.format(duration_s=5.0, arms='["central", "grid_forwarding"]') + _KILL
    process = _start(tmp_path, text)
    printed, complained = process.communicate(timeout=_LIMIT_S)
    summary = _summary(tmp_path)
    assert complained == ""
    assert not summary["partial"], printed
    assert process.returncode == (0 if summary["valid"] else 1)
    central, grid = (summary["arms"][name] for name in ("central", "grid_forwarding"))
    assert central["offered"] == grid["offered"] > 10
    assert central["ttft_ms"]["p50"] > 60.0  # the round trip
    # The clients of the site that was killed turned to the other.
    assert grid["served_by"][1][0] > 0
    assert {path["arm"] for path in summary["network"]["paths"]} == set(summary["arms"])
    assert set(summary["beside_simulated"]) == set(summary["arms"])
    done = [[deed["what"] for deed in one["faults"]] for one in summary["passes"]]
    assert done[1] == ["slow edge-1 down 2 times", "kill edge-2", "slow edge-1 down 2 times: over"]
    with zstandard.open(tmp_path / "out" / "requests.jsonl.zst", "rt") as lines:
        assert sum(1 for _ in lines) == central["offered"] + grid["offered"]
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()


def test_ctrl_c_keeps_what_there_is_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = _start(tmp_path, _SCENARIO.format(duration_s=100.0, arms='["grid"]'))
    wait_until(lambda: bool(_clients_of(process.pid)), "requests are under way", 120.0)
    (client, *_) = _clients_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 1
    assert not Path(f"/proc/{client}").exists()
    if (tmp_path / "out" / "summary.json").exists():
        assert _summary(tmp_path)["partial"]
        assert "grid: stopped" in printed


def test_a_site_that_dies_ends_the_run_with_partial_results(tmp_path: Path) -> None:
    process = _start(tmp_path, _SCENARIO.format(duration_s=100.0, arms='["grid"]'))
    wait_until(lambda: len(_clients_of(process.pid)) == 2, "requests are under way", 120.0)
    (site, *_) = _descendants(process.pid, "gateway up")
    os.kill(site, signal.SIGKILL)
    printed, _ = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 1
    summary = _summary(tmp_path)
    assert summary["partial"]
    assert any("died" in reason for reason in summary["invalid_because"])
    assert "died" in printed


def test_what_only_the_simulator_carries_is_refused_at_once(tmp_path: Path) -> None:
    text = _SCENARIO.format(duration_s=5.0, arms='["two_choices"]')
    process = _start(tmp_path, text)
    _, complained = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 1
    assert "exists only in the simulator" in complained
    assert not (tmp_path / "out").exists()


def _clients_of(pid: int) -> list[int]:
    """Client processes that send: beside the loop and what waited for the word to start, a clock
    runs.
    """
    return [
        client
        for client in _descendants(pid, "loadtests.clients.process")
        if len(list(Path(f"/proc/{client}/task").iterdir())) > 2
    ]


def _descendants(pid: int, words: str) -> list[int]:
    found = []
    for child in _children(pid):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except FileNotFoundError:
            continue
        found += [child] if f"-m {words}" in command else []
        found += _descendants(child, words)
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(one) for task in tasks for one in (task / "children").read_text().split()]
    except FileNotFoundError:
        return []
