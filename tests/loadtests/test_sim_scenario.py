"""Scenario files and profiles: what is shipped runs, what is broken is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gateway.core.errors import ConfigError
from loadtests.sim.faults import Kill
from loadtests.sim.prepared import Prepared
from loadtests.sim.scenario import load_scenario

ROOT = Path(__file__).parents[2]
LONG = "duration_s = 300.0"
SHIPPED = sorted((ROOT / "loadtests" / "scenarios").glob("*.toml"))

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


def prepared(tmp_path: Path, *pairs: tuple[str, str]) -> Prepared:
    text = SMALL
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return Prepared(load_scenario(write(tmp_path, text)))


def test_faults_befall_the_run_and_its_bound(tmp_path: Path) -> None:
    heavy = ("rate_hz = 20.0", "rate_hz = 400.0")
    broken = prepared(tmp_path, heavy).results()
    whole = prepared(tmp_path, heavy, ("at_s = 1.0", "at_s = 80.0")).results()
    assert broken["arms"]["local"]["failed"] > whole["arms"]["local"]["failed"] == 0
    assert broken["pooled_bound"]["attained"] < whole["pooled_bound"]["attained"] < 1.0


def test_gaps_vary_as_asked_for(tmp_path: Path) -> None:
    def cv(value: str) -> float:
        kind = ("mmpp_correlated", f'gamma"\ncv = {value} #')
        one = prepared(tmp_path, kind, ("count = 3", "count = 2"), ("duration_s = 3.0", LONG))
        sent_s, home = (
            np.frombuffer(one.workload.sent_s),
            np.frombuffer(one.workload.home, np.int64),
        )
        gaps_s = np.diff(sent_s[home == 0])
        return float(gaps_s.std() / gaps_s.mean())

    assert cv("0.0") == pytest.approx(0.0, abs=1e-6)
    assert cv("3.0") == pytest.approx(3.0, rel=0.2)


def test_neighbours_burst_together(tmp_path: Path) -> None:
    def correlation(sites_per_region: int) -> float:
        region = ("rate_hz = 20.0", f"rate_hz = 20.0\nsites_per_region = {sites_per_region}")
        one = prepared(tmp_path, region, ("duration_s = 3.0", LONG)).workload
        second = np.frombuffer(one.sent_s).astype(np.int64)
        home = np.frombuffer(one.home, np.int64)
        one_hz, other_hz = (np.bincount(second[home == site], minlength=300) for site in (0, 1))
        covariance = float(np.mean(one_hz * other_hz) - one_hz.mean() * other_hz.mean())
        return covariance / float(one_hz.std() * other_hz.std())

    assert correlation(3) > 0.5
    assert correlation(1) < 0.3


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_are_valid(path: Path) -> None:
    load_scenario(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("count = 3", "count = 0", "6: sites.count: Expected `int` >= 1 (allowed: 1 to 10000)"),
        (
            "count = 3",
            "cuont = 3",
            "6: sites.cuont: Object contains unknown field `cuont` (allowed: count, profile,",
        ),
        ("count = 3\n", "", "5: sites: Object missing required field `count`"),
        ("edge-accelerator", "warp-drive", "7: sites.profile: there is no step-time profile"),
        ("rate_hz = 20.0", "rate_hz = -1.0", "10: load.rate_hz: "),
        ('"two_choices"', '"oracle"', "4: arms.1: Invalid enum value 'oracle' (allowed: central,"),
        ('["local", "two_choices"]', "[]", "4: arms: Expected `array` of length >= 1"),
        ("site = 1", "site = 3", "18: faults.0: a site outside 0..2"),
        (
            'kind = "kill"',
            'kind = "meteor"',
            "19: faults.0.kind: Invalid value 'meteor' (allowed: kill,",
        ),
        ("at_s = 1.0", "at_s = 1.0\nuntil_s = 0.5", "18: faults.0: a fault needs"),
        (
            "[[faults]]",
            '[[faults]]\nkind = "kill"\nsite = 1\nat_s = 0.5\n[[faults]]',
            "22: faults.1: two at once: kill",
        ),
        ("share = 3.0", "share = 0.0", "13: slos.0.share: "),
        ('"agent"\n', '"agent"\nshare = 0.0\n', "17: slos.1.share: "),
        ("seed = 3", "seed = ", "2: not valid TOML: "),
        ("seed = 3", "seed = -3", "2: seed: "),
        ("rate_hz = 20.0", "rate_hz = inf", "10: load.rate_hz: "),
        ("rate_hz = 20.0", "rate_hz = 1e15", "10: load.rate_hz: "),
        ("duration_s = 3.0\n", "duration_s = 8e7\n", "3: duration_s: "),
        ("rate_hz = 20.0", "rate_hz = 20.0\nburst_mean_s = inf", "11: load.burst_mean_s: "),
        ("share = 3.0", "share = inf", "13: slos.0.share: "),
        (
            "count = 3",
            "count = 3\nchunk_tokens = 100",
            "7: sites.chunk_tokens: `chunk_tokens` must",
        ),
        ("[[slos]]", "prompts = { mean_tokens = 9.0, max_tokens = 99999999999 }\n[[slos]]", "11: "),
        ("[[slos]]", "hot_ratio = 1.0\n[[slos]]", "11: load.hot_ratio: "),
        (
            "[[slos]]",
            "[[load.surges]]\nat_s = 2.0\nuntil_s = 1.0\nfactor = 2.0\n[[slos]]",
            "13: load.surges.0.until_s: `until_s` must be after",
        ),
        (
            "[[slos]]",
            "[[load.surges]]\nat_s = 1.0\nuntil_s = 2.0\nfactor = 2.0\nsites = [3]\n[[slos]]",
            "11: load.surges.0: a site outside 0..2",
        ),
        (
            "[[slos]]",
            "[central]\npath = { delay_s = 11.0 }\n[[slos]]",
            "12: central.path.delay_s: ",
        ),
        ("[[slos]]", "[prices]\nedge_usd_per_hour = 0.0\n[[slos]]", "12: prices.edge_usd"),
        ("share = 3.0", "speech = { mean_s = -1.0 }", "13: slos.0.speech"),
        (
            "[[slos]]",
            'trace = { path = "x", format = "azure" }\n[[slos]]',
            "11: load.trace: `trace` and",
        ),
    ],
)
def test_a_broken_scenario_names_file_line_and_key(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in SMALL
    path = write(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(ConfigError, match=re.escape(f"scenario.toml:{said}")):
        load_scenario(path)


def traced(tmp_path: Path, name: str, text: str, trace_format: str) -> Prepared:
    (tmp_path / name).write_text(text, encoding="utf-8")
    table = f'rate_hz = 20.0\ntrace = {{ path = "{name}", format = "{trace_format}" }}'
    return prepared(
        tmp_path,
        ('"mmpp_correlated"', '"trace"'),
        ("rate_hz = 20.0", table),
        ("seed = 3", "seed = 4"),
    )


TRACES = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    + "".join(f"2023-11-16 18:{n // 60:02}:{n % 60:02},{n + 1},7\n" for n in range(400)),
    "burstgpt": "Timestamp,Request tokens,Response tokens\n"
    + "".join(f"{n},{n + 1},7\n" for n in range(400)),
    "mooncake": "".join(
        json.dumps({"timestamp": 1000 * n, "input_length": n + 1, "output_length": 7}) + "\n"
        for n in range(400)
    ),
}


@pytest.mark.parametrize("trace_format", sorted(TRACES))
def test_a_trace_gives_times_and_sizes_at_the_rate_asked_for(
    tmp_path: Path, trace_format: str
) -> None:
    load = traced(tmp_path, "requests.txt", TRACES[trace_format], trace_format).workload
    assert len(load) == pytest.approx(20 * 3 * 3, abs=1)
    assert np.diff(np.frombuffer(load.sent_s)) == pytest.approx(1 / 60)
    assert list(load.prompt_tokens) == list(range(1, len(load) + 1))
    assert set(load.output_tokens) == {7}
    assert set(load.home) == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("short.csv", "\n".join(TRACES["burstgpt"].split("\n")[:50]), "lasts 0.8 s at that rate"),
        ("broken.csv", "Timestamp,Request tokens,Response tokens\n1,x,2\n", "broken.csv:2: "),
        ("one.csv", "Timestamp,Request tokens,Response tokens\n1,1,2\n", "needs two instants"),
    ],
)
def test_a_trace_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as raised:
        traced(tmp_path, name, text, "burstgpt")
    assert name in str(raised.value)


def test_more_requests_than_memory_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"toml:10: load\.rate_hz: 1800000000 requests"):
        prepared(tmp_path, ("rate_hz = 20.0", "rate_hz = 60000.0"), ("count = 3", "count = 10_000"))


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
    costly = write(tmp_path, SMALL.replace("3.0", "80000.0", 1))
    nowhere = run(costly, "--out", str(tmp_path / "missing" / "result.json"))
    assert nowhere.returncode == 1
    assert "missing" in nowhere.stderr
    failed = run(tmp_path / "nowhere.toml")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "nowhere.toml: cannot be read" in failed.stderr
