"""The comparison's own measuring, at our server; the others' need environments of their own."""

from __future__ import annotations

import asyncio
import shutil

import numpy as np
import pytest

from loadtests.voice_peers import SERVERS, _place_of, measure, summary
from loadtests.voice_sessions import Voice
from tests.requirements import require


@pytest.mark.flow
def test_a_pass_measures_what_it_says() -> None:
    require("flite", shutil.which("flite") is not None, "apt-get install flite")
    row = asyncio.run(measure(SERVERS[0], Voice.record(), 2, 3.0))
    told = summary([row])
    assert told["cpu_ms_per_call_s"] > 0.0
    assert told["frame_gap_ms"]["n"] > 100
    assert told["echo_ms"]["n"] > 3
    assert 20.0 < told["echo_ms"]["p50"] < 2000.0  # whatever else the machine does


def test_sound_is_found_where_it_was_said_and_nowhere_else() -> None:
    rng = np.random.default_rng(1)
    said = rng.normal(0.0, 1000.0, 16_000).astype(np.float32)
    assert _place_of(said[5000:9000] * 0.5 + rng.normal(0.0, 200.0, 4000), said) == 5000
    assert _place_of(rng.normal(0.0, 1000.0, 4000), said) is None
    assert _place_of(np.zeros(4000), said) is None
