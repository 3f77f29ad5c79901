from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.engine import step_profiles
from gateway.engine.step_profiles import load_profile, read_profile, shipped_profiles
from loadtests.facts import RESULTS
from loadtests.step_times import fit, profile_toml

_PROFILE = """\
basis = "measured"
about = "a test"

[decode]
rows = [1, 8]
step_ms = [2.0, 4.0]
context_us_per_token = 0.5

[prefill]
tokens = [1, 64]
chunk_ms = [2.0, 14.6]
past_ns_per_pair = 3.0

[sources]
measurement = "results/x.json"
"""


def test_milliseconds_in_the_file_are_seconds_inside(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(_PROFILE)
    times = load_profile(str(path))
    assert (times.name, times.is_measured) == ("mine", True)
    assert times.decode_s(8, 2000) == pytest.approx(4e-3 + 2000 * 0.5e-6)
    assert times.prefill_s(64, 100) == pytest.approx(14.6e-3 + 64 * 100 * 3e-9)


def test_every_shipped_profile_reads_and_the_assumed_one_says_so() -> None:
    profiles = {name: load_profile(name) for name in shipped_profiles()}
    assert {name for name, times in profiles.items() if times.is_measured} == {"cpu-2core"}
    assert {"edge-accelerator", "rtx-pro-6000"} <= profiles.keys()


@pytest.mark.parametrize(
    ("change", "to", "complaint"),
    [
        ("step_ms = [2.0, 4.0]", "step_ms = [4.0, 2.0]", ":6: decode.step_ms: a larger count"),
        ("rows = [1, 8]", "rows = [1, 'x']", ":5: decode.rows.1: Expected `int`, got `str`"),
        ("rows = [1, 8]", "rows = [2, 8]", ":5: decode.rows: the counts must begin at 1"),
        ("rows = [1, 8]", f"rows = [1, {10**20}]", ":5: decode.rows"),
        ("step_ms = [2.0, 4.0]", "step_ms = [2.0, 1e300]", ":6: decode.step_ms.1: "),
        ("past_ns_per_pair = 3.0", "past_ns_per_pair = -3.0", ":12: prefill.past_ns_per_pair: "),
        ("past_ns_per_pair = 3.0", "past_ns_per_pair = nan", ":12: prefill.past_ns_per_pair: "),
        ("context_us_per_token = 0.5\n", "", ":4: decode: Object missing required field"),
        ('basis = "measured"', 'basis = "guessed"', ":1: basis: Invalid enum value"),
        ('basis = "measured"', 'basis = "assumed"', ":14: sources: basis 'assumed' needs"),
        ("measurement =", "guess =", ":14: sources: basis 'measured' needs 'm"),
        ("[decode]", "[decode", "not valid TOML"),
    ],
)
def test_a_bad_profile_is_named_by_file_line_and_key(
    tmp_path: Path, change: str, to: str, complaint: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(_PROFILE.replace(change, to, 1))
    with pytest.raises(ConfigError) as refused:
        read_profile(path)
    assert str(path) in str(refused.value)
    assert complaint in str(refused.value)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="cpu-2core, edge-accelerator, edge-accelerator-3b, rtx-pro-6000"
    ):
        load_profile("h100")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_profile(str(tmp_path / "none.toml"))


def test_the_measured_profile_is_the_fit_of_its_committed_measurement() -> None:
    name = "step_times_cpu-2core"
    result = json.loads((RESULTS / f"{name}.json").read_text())
    shipped = Path(step_profiles.__file__).with_name("profiles") / "cpu-2core.toml"
    assert shipped.read_text() == profile_toml(result, name)


def test_a_fit_finds_the_profile_that_made_the_times() -> None:
    figures = [
        {"count": count, "before": before, "ms": 1.0 + 0.25 * count + 0.002 * count * before}
        for count in (1, 4, 16)
        for before in (64, 448)
    ]
    counts, times_ms, slope_ms = fit(figures)
    assert counts == [1, 4, 16]
    assert times_ms == pytest.approx([1.25, 2.0, 5.0])
    assert slope_ms == pytest.approx(0.002)
    noise = [{"count": n, "before": b, "ms": 2.0 - b / 1e3} for n in (1, 2) for b in (0, 448)]
    assert fit(noise) == ([1, 2], [2.0, 2.0], 0.0)
