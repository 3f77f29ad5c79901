"""Scenario files and profiles: what is shipped runs, what is broken is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from loadtests.sim import scenario as scenario_module
from loadtests.sim.faults import Kill
from loadtests.sim.profile import PROFILES, InvalidInput, load_profile
from loadtests.sim.scenario import Prepared, load_scenario

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((Path(scenario_module.__file__).parent / "scenarios").glob("*.toml"))

SMALL = """
seed = 3
duration_s = 3.0
arms = ["local", "two_choices"]
[sites]
count = 3
profile = "edge-accelerator"
[load]
arrivals = "mmpp_correlated"
rate_hz = 20.0
[[slos]]
turn_class = "voice"
share = 3.0
token_interval_s = 0.05
[[slos]]
turn_class = "agent"
first_token_s = 2.0
[[faults]]
kind = "kill"
site = 1
at_s = 1.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "scenario.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_scenario_runs_all_its_arms_on_the_same_requests(tmp_path: Path) -> None:
    prepared = Prepared(load_scenario(write(tmp_path, SMALL)))
    assert prepared.scenario.faults == (Kill(site=1, at_s=1.0),)
    results = prepared.results()
    arms = results["arms"]
    assert set(arms) == {"local", "two_choices"}
    assert arms["local"]["offered"] == arms["two_choices"]["offered"] == len(prepared.workload)
    for arm in arms.values():
        assert arm["done"] + arm["shed"] + arm["failed"] + arm["unfinished"] == arm["offered"]
        assert arm["attained"] <= results["pooled_bound"]["attained"]
    json.dumps(results)


def test_classes_come_in_their_shares(tmp_path: Path) -> None:
    text = SMALL.replace("duration_s = 3.0", "duration_s = 60.0")
    workload = Prepared(load_scenario(write(tmp_path, text))).workload
    assert sum(slo == 0 for slo in workload.slo) / len(workload) == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize("kind", ["poisson", "gamma", "mmpp_local", "mmpp_correlated"])
def test_a_seed_fixes_the_requests(tmp_path: Path, kind: str) -> None:
    text = SMALL.replace("mmpp_correlated", kind)

    def sent(seed: int) -> bytes:
        path = write(tmp_path, text.replace("seed = 3", f"seed = {seed}"))
        return Prepared(load_scenario(path)).workload.sent_s.tobytes()

    assert sent(3) == sent(3)
    assert sent(3) != sent(4)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_are_valid(path: Path) -> None:
    load_profile(load_scenario(path).sites.profile)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("count = 3", "count = 0", r"\$\.sites\.count"),
        ("count = 3", "cuont = 3", "cuont"),
        ("rate_hz = 20.0", "rate_hz = -1.0", r"\$\.load\.rate_hz"),
        ('"two_choices"', '"oracle"', r"oracle.*\$\.arms"),
        ("site = 1", "site = 3", r"a fault names a site outside 0\.\.2"),
        ('kind = "kill"', 'kind = "meteor"', r"meteor.*\$\.faults"),
        ("at_s = 1.0", "at_s = 1.0\nuntil_s = 0.5", r"until_s.*\$\.faults"),
        (
            "[[faults]]",
            '[[faults]]\nkind = "kill"\nsite = 1\nat_s = 0.5\n[[faults]]',
            "two faults of a kind at once: kill",
        ),
        ("share = 3.0", "share = 0.0", r"\$\.slos"),
        ("seed = 3", "seed = ", "line 2"),
    ],
)
def test_a_broken_scenario_names_file_and_key(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in SMALL
    path = write(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(InvalidInput, match=f"scenario.toml: .*{said}"):
        load_scenario(path)


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_profiles_are_named_like_their_file_and_say_their_source(path: Path) -> None:
    assert load_profile(path.stem).name == path.stem


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("prefill_s_per_token", 0.0, "`prefill_s_per_token` must be above 0"),
        ("decode_base_s", -0.1, "`decode_base_s` must be at least 0"),
        ("decode_s_per_row", "fast", "decode_s_per_row"),
        ("source", "a friend", "`source` must begin with"),
        ("prefil_base_s", 1.0, "prefil_base_s"),
    ],
)
def test_a_broken_profile_names_file_and_key(
    tmp_path: Path, field: str, value: object, said: str
) -> None:
    fields = msgspec.to_builtins(load_profile("edge-accelerator"))
    path = tmp_path / "broken.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**fields, field: value}.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InvalidInput, match=f"broken.toml: .*{said}"):
        load_profile(str(path))


def test_an_unknown_profile_says_which_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"shipped are .*edge-accelerator"):
        load_profile("warp-drive")


def test_the_command_prints_json_and_names_what_is_wrong(tmp_path: Path) -> None:
    def run(path: Path, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "loadtests.sim", str(path), *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    out = tmp_path / "result.json"
    done = run(write(tmp_path, SMALL.replace("3.0", "1.5", 1)), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(out.read_text(encoding="utf-8"))
    failed = run(tmp_path / "nowhere.toml")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "nowhere.toml: No such file" in failed.stderr
