"""What clients send: surges, waves, geography, sizes and calls by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from loadtests.arrivals import RateProfile
from loadtests.sim.drawing import draw
from loadtests.sim.links import Link
from loadtests.sim.scenario import load_scenario
from loadtests.sim.ways import Ways, drawn_ways
from tests.loadtests.simulations import workload

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.sim.workload import Workload

BASE = """
duration_s = 100.0
[sites]
count = 4
profile = "edge-accelerator"
[load]
rate_hz = 50.0
"""


def drawn(tmp_path: Path, more: str) -> Workload:
    path = tmp_path / "scenario.toml"
    path.write_text(BASE + more, encoding="utf-8")
    return draw(load_scenario(path))


def rates_hz(load: Workload, site: int) -> np.ndarray:
    sent_s, home = np.frombuffer(load.sent_s), np.frombuffer(load.home, np.int64)
    return np.histogram(sent_s[home == site], bins=10, range=(0.0, 100.0))[0] / 10.0


def test_a_surge_multiplies_what_its_sites_send_while_it_lasts(tmp_path: Path) -> None:
    surge = "[[load.surges]]\nat_s = 40.0\nuntil_s = 60.0\nfactor = 4.0\nsites = [1]\n"
    load = drawn(tmp_path, surge)
    calm, hot = rates_hz(load, 0), rates_hz(load, 1)
    assert calm == pytest.approx(50.0, rel=0.3)
    assert hot[4:6] == pytest.approx(200.0, rel=0.2)
    assert np.delete(hot, [4, 5]) == pytest.approx(50.0, rel=0.3)
    assert (np.diff(np.frombuffer(load.sent_s)) >= 0.0).all()


def test_a_surge_of_nothing_is_silence(tmp_path: Path) -> None:
    load = drawn(tmp_path, "[[load.surges]]\nat_s = 30.0\nuntil_s = 70.0\nfactor = 0.0\n")
    assert rates_hz(load, 2)[3:7].sum() == 0.0
    assert rates_hz(load, 2)[7] == pytest.approx(50.0, rel=0.3)


def test_waves_peak_one_site_after_the_other(tmp_path: Path) -> None:
    text = "wave = { period_s = 100.0, amplitude_ratio = 0.9, phase_spread_ratio = 1.0 }\n"
    load = drawn(tmp_path, text)
    peaks = [int(np.argmax(rates_hz(load, site))) for site in range(4)]
    assert peaks[0] in (1, 2, 3)
    assert peaks[2] in (6, 7, 8)
    assert rates_hz(load, 0).mean() == pytest.approx(50.0, rel=0.1)


def test_a_hot_site_has_its_part_of_all_clients(tmp_path: Path) -> None:
    home = np.frombuffer(drawn(tmp_path, "hot_ratio = 0.7\n").home, np.int64)
    assert (home == 0).mean() == pytest.approx(0.7, abs=0.01)
    assert (home == 3).mean() == pytest.approx(0.1, abs=0.01)


def test_classes_have_sizes_and_speech_of_their_own(tmp_path: Path) -> None:
    load = drawn(
        tmp_path,
        """
[[slos]]
turn_class = "voice"
prompts = { mean_tokens = 50.0, max_tokens = 50 }
speech = { mean_s = 0.2, cv = 0.25, voice_s = 0.05 }
[[slos]]
turn_class = "agent"
outputs = { mean_tokens = 7.0, max_tokens = 7 }
""",
    )
    slo = np.frombuffer(load.slo, np.int64)
    prompt, output = (np.frombuffer(c, np.int64) for c in (load.prompt_tokens, load.output_tokens))
    listening_s, voice_s = np.frombuffer(load.listening_s), np.frombuffer(load.voice_s)
    assert set(prompt[slo == 0]) == {50} != set(prompt[slo == 1])
    assert set(output[slo == 1]) == {7} != set(output[slo == 0])
    assert listening_s[slo == 0].mean() == pytest.approx(0.2, rel=0.05)
    assert set(voice_s[slo == 0]) == {0.05}
    assert not listening_s[slo == 1].any()
    assert not voice_s[slo == 1].any()


def test_a_bent_process_sends_as_much_as_its_profile_holds() -> None:
    profile = RateProfile(np.array([0.0, 10.0, 20.0]), np.array([0.5, 1.5]))
    even = np.linspace(0.0, profile.mean_s(), 2001)
    bent = profile.bent(even)
    assert profile.mean_s() == pytest.approx(20.0)
    assert (bent < 10.0).mean() == pytest.approx(0.25, abs=1e-3)
    assert bent[-1] == pytest.approx(20.0)


def test_lost_packets_of_text_are_late_and_of_calls_concealed() -> None:
    links = [Link(0.01, loss_ratio=0.5)]
    there_s, back_s = drawn_ways(20_000, links, seed=1)
    late = np.concatenate((there_s, back_s)) > 0.1
    assert late.mean() == pytest.approx(0.5, abs=0.01)
    assert there_s[there_s > 0.1].min() == pytest.approx(0.21)
    calls_s, _ = drawn_ways(100, links, seed=1, is_repeated=np.zeros(100, np.bool_))
    assert calls_s == pytest.approx(0.01)


def test_one_request_is_as_unlucky_on_every_path() -> None:
    load = workload([(0.01 * n, 0) for n in range(200)])
    near = Ways.drawn(load, [Link(0.005, 0.001)], seed=3)
    far = Ways.drawn(load, [Link(0.005, 0.001), Link(0.03)], seed=3)
    assert far.asks_s - near.asks_s == pytest.approx(0.03)
    assert far.delay_s == pytest.approx(0.035)
