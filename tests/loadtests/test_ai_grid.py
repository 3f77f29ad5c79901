"""The shape of the published benchmark: sides at their own load, and at the forwarding grid's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loadtests import ai_grid
from loadtests.progress_line import ProgressLine
from loadtests.sim.scenario import Scenario

if TYPE_CHECKING:
    import pytest

SCENARIO = {
    "duration_s": 3.0,
    "drain_s": 1.0,
    "sites": {"count": 2, "profile": "edge-accelerator"},
    "load": {"rate_hz": 5.0, "surges": [{"at_s": 1.0, "until_s": 2.0, "factor": 1.5}]},
    "slos": [{"turn_class": "voice", "first_token_s": 0.2}],
}


def test_at_the_load_of_the_forwarding_grid_a_pool_too_far_away_attains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ai_grid, "_RTTS_MS", (300.0,))
    monkeypatch.setattr(ai_grid, "_TOLERANCE", 0.3)
    scenario = msgspec.convert(SCENARIO, Scenario)
    found = ai_grid._searched(scenario, 1, ProgressLine())
    far, forwarding = found["central 300 ms"], found["grid_forwarding"]
    assert far["tok_per_s"] == 0.0 < forwarding["tok_per_s"]
    assert far["at_forwardings_load"]["attained"] == 0.0
    assert forwarding["at_forwardings_load"]["attained"] >= 0.99
    assert forwarding["at_forwardings_load"]["p99_ms_by_seed"][0] <= 200.0

    load = msgspec.structs.replace(scenario.load, surges=())
    steady = ai_grid._searched(msgspec.structs.replace(scenario, load=load), 1, ProgressLine())
    assert "at_forwardings_load" not in steady["grid_forwarding"]
