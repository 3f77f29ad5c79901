"""When the open-loop benchmark counts, and what its command line refuses."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loadtests import facts, open_loop, rtp_pacing, step_times
from loadtests.arrival_choice import ArrivalChoice
from loadtests.calls import missed_by
from loadtests.clients.run import Seen
from loadtests.clients.voice import CallReport
from loadtests.facts import conclude, verdict
from loadtests.host import HostGuard
from loadtests.open_loop import judged, mixed, parse, stall_faults

if TYPE_CHECKING:
    from pathlib import Path


def run(p50_ms: float, p99_ms: float) -> dict[str, Any]:
    calls = {"frames_per_s": 3000, "num_lost": 0, "num_sent": 3000}
    return {
        "ttft_ms": {"p50": p50_ms, "p99": p99_ms},
        "calls": calls,
        "valid": True,
        "invalid_because": [],
    }


def test_a_stall_shows_in_the_p99_or_the_run_does_not_count() -> None:
    assert stall_faults(run(20, 60), run(20, 140)) == []
    # More than half a stall above the steady median, and yet nothing of the stall is in it.
    (fault,) = stall_faults(run(20, 120), run(20, 110))
    assert fault == "stalls of 100 ms moved the P99 by -10.0 ms; 50 to 300 ms expected"
    assert stall_faults(run(20, 60), run(20, 800))
    nothing = run(0, 0) | {"ttft_ms": None}
    assert stall_faults(nothing, run(20, 140)) == ["nothing was answered, so no stall can show"]


def test_the_verdict_holds_stall_runs_and_targets_together() -> None:
    def judge(rate: float, stalled: dict[str, Any]) -> dict[str, Any]:
        args = argparse.Namespace(rate=rate, calls=60)
        figures = {"steady": run(20, 60), "stalled": stalled, "invalid_because": []}
        return judged(figures, args)

    good = judge(80.0, run(20, 140))
    assert (good["valid"], good["met"]) == (True, True)
    assert judge(80.0, run(20, 60))["valid"] is False
    slow = judge(40.0, run(20, 140))
    assert (slow["met"], slow["missed"]) == (False, ["40 requests/s; 80 wanted"])


def test_missed_frames_are_missed_targets() -> None:
    figures = {"frames_per_s": 2900, "num_lost": 4, "num_sent": 3000}
    assert missed_by(figures) == [
        "2900 frames/s; 3000 wanted",
        "4 of 3000 frames never came back",
    ]


@pytest.mark.parametrize(
    ("faults", "missed", "code"),
    [([], [], 0), (["late"], [], 1), ([], ["slow"], 1), ([], None, 0)],
)
def test_the_exit_code_is_the_verdict_and_all_is_saved(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    faults: list[str],
    missed: list[str] | None,
    code: int,
) -> None:
    monkeypatch.setattr(facts, "RESULTS", tmp_path)
    assert conclude("x", None, verdict(faults, missed=missed)) == code
    assert json.loads((tmp_path / "x.json").read_text())["invalid_because"] == faults


def test_a_full_disk_is_one_line_and_the_result_was_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").symlink_to("/dev/full")
    monkeypatch.setattr(facts, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match=r"x\.json: No space left on device"):
        conclude("x", None, verdict([]))
    assert json.loads(capsys.readouterr().out)["benchmark"] == "x"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "0"], "argument --rate: must be above 0"),
        (["--rate", "-1"], "argument --rate: must be above 0"),
        (["--seconds", "0"], "argument --seconds: must be above 0"),
        (["--profile", "nope"], "there is no step-time profile 'nope'"),
        (["--arrivals", "weekly"], "'weekly' is none of poisson, gamma:CV"),
        (["--arrivals", "gamma:-1"], "`cv` must be in 0..100"),
        (["--arrivals", "trace:azure:nowhere.csv"], "nowhere.csv: No such file"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_starts(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_other_command_lines_refuse_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rtp_pacing", "--calls", "0"])
    with pytest.raises(SystemExit):
        rtp_pacing.main()
    assert "argument --calls: must be at least 1, not 0" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["step_times", "nowhere", "--fit"])
    with pytest.raises(SystemExit, match="there is no result to fit"):
        step_times.main()


def test_a_host_without_time_fails_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = CallReport(1, 1, 0, 0, 0.0, [0.0], [0.02], [])
    monkeypatch.setattr(rtp_pacing, "echo", lambda: nullcontext(9))
    monkeypatch.setattr(
        rtp_pacing, "run_clients", lambda plans, out, on_start: Seen([], [report] * 3000, {})
    )
    monkeypatch.setattr(facts, "RESULTS", tmp_path)
    monkeypatch.setattr(HostGuard, "faults", lambda guard: ["busy"])
    monkeypatch.setattr("sys.argv", ["rtp_pacing", "--seconds", "1"])
    assert rtp_pacing.main() == 1
    result = json.loads((tmp_path / "rtp_pacing.json").read_text())
    assert (result["invalid_because"], result["missed"]) == (["busy"], [])
    monkeypatch.setattr(HostGuard, "faults", lambda guard: [])
    assert rtp_pacing.main() == 0
    monkeypatch.setattr("sys.argv", ["rtp_pacing", "--seconds", "2"])
    assert rtp_pacing.main() == 1


def test_without_root_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("sys.argv", ["open_loop", "--seconds", "1"])
    assert open_loop.main() == 1
    assert capsys.readouterr().err.startswith("open_loop: ")


@pytest.mark.parametrize("text", ["poisson", "gamma:3", "mmpp"])
def test_every_arrival_process_keeps_its_rate_and_the_mix(text: str) -> None:
    asks = mixed(ArrivalChoice.parse(text), 50.0, 400.0)
    assert len(asks) == pytest.approx(20_000, rel=0.25)
    assert sum(ask.turn_class == "voice" for ask in asks) / len(asks) == pytest.approx(
        0.5, abs=0.03
    )
    due_s = [ask.due_s for ask in asks]
    assert due_s == sorted(due_s)


def test_gamma_arrivals_are_as_uneven_as_was_said() -> None:
    gaps_s = np.diff([ask.due_s for ask in mixed(ArrivalChoice.parse("gamma:3"), 50.0, 400.0)])
    assert np.std(gaps_s) / np.mean(gaps_s) == pytest.approx(3.0, rel=0.2)


def test_a_trace_is_stretched_to_the_rate_and_must_be_long_enough(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    row = '{"timestamp": %d, "input_length": 5, "output_length": 5}\n'
    path.write_text("".join(row % (at * at) for at in range(101)))
    choice = ArrivalChoice.parse(f"trace:mooncake:{path}")
    asks = mixed(choice, 10.0, 5.0)
    assert [ask.due_s for ask in asks[:3]] == pytest.approx([0.0, 0.001, 0.004])
    with pytest.raises(ValueError, match=r"at 10 per second it lasts 10\.0 s, not 30 s"):
        mixed(choice, 10.0, 30.0)
