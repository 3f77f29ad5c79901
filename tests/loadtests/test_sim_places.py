"""Arms of one comparison: the same requests, each arm's own distance and place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from loadtests.arm_search import _settings
from loadtests.comparison.crossover import Axes, sweep
from loadtests.sim.arms import Place
from loadtests.sim.grid import TooManyMissed
from loadtests.sim.outcome import Fate, Outcome
from loadtests.sim.prepared import Prepared
from loadtests.sim.scenario import Scenario, Surge, load_scenario
from loadtests.sim.sustainable import highest_load, is_sustained

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
duration_s = 8.0
arms = ["central"]
[sites]
count = 4
profile = "edge-accelerator"
[clients]
access_delay_s = 0.005
failover_s = 0.05
[central]
path = { delay_s = 0.03 }
regional_path = { delay_s = 0.0125 }
playout_s = 0.02
[load]
rate_hz = 20.0
"""
CALLS = """
[[slos]]
turn_class = "voice"
first_token_s = 0.5
speech = { mean_s = 0.1, voice_s = 0.05 }
"""


def scenario(tmp_path: Path, more: str = "") -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(TEXT + more, encoding="utf-8")
    return load_scenario(path)


def first_s(outcome: Outcome) -> np.ndarray:
    return np.frombuffer(outcome.first_token_s)


def test_a_pool_is_as_far_as_its_path(tmp_path: Path) -> None:
    prepared = Prepared(scenario(tmp_path))
    near, regional, far = (
        first_s(prepared.run(arm)).min() for arm in ("pool", "central_regional", "central")
    )
    assert regional - near == pytest.approx(0.025, abs=2e-3)
    assert far - near == pytest.approx(0.06, abs=2e-3)
    assert sum(link.delay_s for link in prepared.path(Place.CENTRAL)) == pytest.approx(0.035)


def test_all_arms_see_the_same_requests_from_the_same_homes(tmp_path: Path) -> None:
    prepared = Prepared(scenario(tmp_path))
    central, grid = prepared.run("central"), prepared.run("grid")
    assert central.workload is grid.workload
    assert central.num_forwarded == 0


def test_a_call_pays_for_its_media_where_they_end(tmp_path: Path) -> None:
    prepared = Prepared(scenario(tmp_path, CALLS))
    pool, central, edge = (
        first_s(prepared.run(arm)).min() for arm in ("pool", "central", "central_edge_media")
    )
    assert pool > 0.15  # what the ear and the mouth take, beside the model
    assert central - edge == pytest.approx(0.02, abs=2e-3)
    assert edge - pool == pytest.approx(0.06, abs=2e-3)


def test_sites_that_know_no_peers_forward_nothing(tmp_path: Path) -> None:
    hot = scenario(tmp_path, "hot_ratio = 0.9\n")
    prepared = Prepared(msgspec.structs.replace(hot, duration_s=20.0))
    alone, forwarding = prepared.run("grid"), prepared.run("grid_forwarding")
    assert alone.num_forwarded == 0 < forwarding.num_forwarded
    assert alone.attained().mean() < 0.8 < forwarding.attained().mean()


def test_a_partition_cuts_clients_off_from_the_centre_and_not_from_their_site(
    tmp_path: Path,
) -> None:
    fault = '[[faults]]\nkind = "partition"\nsites = [1]\nat_s = 2.0\nuntil_s = 5.0\n'
    prepared = Prepared(scenario(tmp_path, fault))
    sent_s = np.frombuffer(prepared.workload.sent_s)
    home = np.frombuffer(prepared.workload.home, np.int64)
    cut = (home == 1) & (sent_s >= 2.0) & (sent_s < 5.0)
    central = prepared.run("central")
    failed = np.frombuffer(central.fate, np.uint8) == Fate.FAILED
    assert cut.any()
    assert (failed == cut).all()
    assert prepared.run("grid_forwarding").attained().all()


def test_less_load_is_a_part_of_more(tmp_path: Path) -> None:
    prepared = Prepared(scenario(tmp_path))
    half, most = (set(prepared.at_load(part).workload.sent_s) for part in (0.5, 0.9))
    assert half < most < set(prepared.workload.sent_s)
    assert len(half) == pytest.approx(0.5 * len(prepared.workload), rel=0.15)


def test_gamma_arrivals_keep_their_gaps_at_less_load(tmp_path: Path) -> None:
    beat = Prepared(scenario(tmp_path, 'arrivals = "gamma"\ncv = 0.0\n')).at_load(0.5)
    home = np.frombuffer(beat.workload.home, np.int64)
    gaps_s = np.diff(np.frombuffer(beat.workload.sent_s)[home == 0])
    assert gaps_s == pytest.approx(0.1)


def test_the_highest_load_is_between_one_that_is_sustained_and_one_that_is_not(
    tmp_path: Path,
) -> None:
    prepared = Prepared(scenario(tmp_path, "hot_ratio = 0.9\n"))
    found = highest_load(prepared, "grid", tolerance=0.05)
    assert not found.is_at_most
    assert is_sustained(prepared.at_load(found.ratio).run("grid"))
    assert not is_sustained(prepared.at_load(found.ratio + 0.05).run("grid"))
    assert highest_load(prepared, "pool", tolerance=0.05).is_at_most


def test_a_quiet_rest_does_not_make_up_for_a_burst(tmp_path: Path) -> None:
    prepared = Prepared(scenario(tmp_path))
    outcome = prepared.run("pool")
    surge = Surge(at_s=4.0, until_s=4.5, factor=1.0)
    assert is_sustained(outcome, [surge])
    within = np.frombuffer(prepared.workload.sent_s).searchsorted(4.2)
    outcome.fate[within] = Fate.SHED
    assert is_sustained(outcome)
    assert not is_sustained(outcome, [surge])


def test_a_run_that_misses_too_much_is_given_up(tmp_path: Path) -> None:
    prepared = Prepared(scenario(tmp_path, "hot_ratio = 0.9\n"))
    with pytest.raises(TooManyMissed):
        prepared.run("grid", max_num_missed=3)


def test_a_sweep_holds_the_pool_against_the_grid_in_every_cell(tmp_path: Path) -> None:
    axes = Axes(
        rtts_ms=(10.0, 600.0),
        site_rtts_ms=(8.0,),
        hot_ratios=(0.7,),
        bursts=("steady",),
        loads=(0.7,),
    )
    shown: list[str] = []
    small = msgspec.structs.replace(scenario(tmp_path), duration_s=1.5, drain_s=1.0)
    (cell,) = sweep(small, axes, num_seeds=1, done=shown.append)
    assert len(shown) == 1
    assert list(sweep(small, axes, num_seeds=1, done=shown.append, num_known=1)) == []
    assert len(shown) == 1
    near, far = cell["central"]
    assert near["forwarding_over_central"]["mean"] == pytest.approx(1.0, abs=0.2)
    assert far["rate_hz"] == 0.0  # no answer from so far is in time
    assert far["forwarding_over_central"]["mean"] is None
    assert 10.0 <= cell["crossover_rtt_ms"]["mean"] <= 600.0
    assert cell["forwarding_over_grid"]["mean"] > 1.5
    (forwarding,) = cell["forwarding"]
    assert 0.8 < forwarding["of_exact_state"]["mean"] < 1.2
    at_near, at_far = cell["at_load"]
    assert at_near["points"] < at_far["points"] == pytest.approx(100.0, abs=2.0)


@pytest.mark.parametrize(
    ("arm", "words"), [(arm, words) for arm, given in _settings().items() for words in given]
)
def test_every_setting_of_the_search_runs(tmp_path: Path, arm: str, words: str) -> None:
    prepared = Prepared(msgspec.structs.replace(scenario(tmp_path), duration_s=2.0))
    assert prepared.run(_settings()[arm][words]).attained().mean() > 0.9
