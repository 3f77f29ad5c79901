import asyncio
import shutil

import pytest

from loadtests.voice_sessions import PHASES, Phase, Voice, missed_by, run_phase
from tests.requirements import require


@pytest.mark.flow
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_each_phase_measures_what_it_says(phase: Phase) -> None:
    require("flite", shutil.which("flite") is not None, "apt-get install flite")
    figures = asyncio.run(run_phase(phase, Voice.record(), 2, 2.0))
    assert figures["cpu_ms_per_call_s"] > 0.0
    assert figures["packets"] > 100
    assert (figures["lost"] > 0) is (phase.loss > 0.0) or figures["late"] > 0
    assert bool(figures["sound_latency_ms"]["n"]) is not phase.takes_turns


def test_missed_targets_are_named() -> None:
    well = {
        "cpu_ms_per_call_s": 10.0,
        "frame_gap_ms": {"p99": 25.0},
        "sound_latency_ms": {"p50": 20.0, "p99": 50.0},
    }
    assert missed_by({"bad path": well}) == []
    ill = {
        "cpu_ms_per_call_s": 26.0,
        "frame_gap_ms": {"p99": 41.0},
        "sound_latency_ms": {"p50": 20.0, "p99": 61.0},
    }
    assert len(missed_by({"bad path": ill})) == 3
