"""The measurement of voice turns: its arithmetic, and one turn at a whole site."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtests.clients.talker import FRAME_S, Recording, Saying
from loadtests.local_site import running_site
from loadtests.synthetic_speech import Utterance, utter
from loadtests.voice_turn_figures import Turn, explained, figures, missed_by, over_figures
from loadtests.voice_turns import Line, Phase, phases, run_phase
from tests.requirements import require


def test_the_instant_of_a_sample_is_when_it_was_spoken_not_when_it_was_sent() -> None:
    said = Utterance(np.zeros(16_000, np.float32), (), 0.0, end_s=0.055)
    saying = Saying(Recording(said, (b"",) * 50))
    assert saying.at_s(0.055) is None
    for number in range(3):
        saying.sent(100.0 + number * FRAME_S)
    assert saying.at_s(0.055) == pytest.approx(100.04 - 0.005)
    assert asyncio.run(saying.over()) == pytest.approx(100.035)


def answered(answer_s: float, **fields: Any) -> Turn:
    return Turn(is_whole=True, answer_s=answer_s, first_packet_s=answer_s, **fields)


def test_kinds_of_turns_are_reported_apart() -> None:
    turns = [
        answered(0.3, stages_ms={"endpoint": 190.0}),
        answered(0.4, tools=("get_bill",), stages_ms={"endpoint": 210.0}),
        answered(1.7, stages_ms={"endpoint": 1500.0}),
        answered(2.0, is_escalated=True, acknowledged_s=0.5),
        Turn(is_whole=False, is_false_end=True),
        Turn(is_whole=True),
    ]
    found = figures(turns)
    assert (found["turns"], found["unanswered"]) == (6, 1)
    assert found["false_end_ratio"] == pytest.approx(1 / 6, abs=1e-4)
    content = found["to_first_content_ms"]
    assert {name: row["n"] for name, row in content.items()} == {
        "whole_requests": 3, "of_those_with_a_server_tool": 1, "asked_for_more": 0, "escalated": 1,
    }  # fmt: skip
    assert found["whole_requests_found_whole"]["ratio"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["to_acknowledgement_ms"]["p50"] == 500.0


def test_what_the_site_tells_is_held_against_what_the_caller_measured() -> None:
    close = answered(0.3, told_s=0.294)
    far = answered(0.3, told_s=0.2)
    assert explained([close, close, close, far])["within_10_ms_ratio"] == 0.75
    assert explained([answered(0.3)]) == {"n": 0}
    late = answered(0.6, told_s=0.598)
    found = explained([close, late, far])
    assert (found["n_over_budget"], found["over_budget_within_10_ms_ratio"]) == (1, 1.0)


def test_missed_targets_are_named() -> None:
    good = figures([answered(0.3, told_s=0.3)])
    stops = over_figures([Turn(is_whole=True, stop_s=0.1, has_stopped=True)])
    goes_on = over_figures([Turn(is_whole=True, stop_s=0.1, has_stopped=False)])
    found = {phase.name: dict(good) for phase in phases(6, 2)}
    found["interrupted"]["over"], found["listened to"]["over"] = stops, goes_on
    assert missed_by(found) == []
    slow = figures([answered(0.6, told_s=0.3)])
    late = over_figures([Turn(is_whole=True, stop_s=0.2, has_stopped=True)])
    found["one caller"] = slow
    found["pauses inside"] = figures([Turn(is_whole=True, is_false_end=True)])
    found["interrupted"] = {**good, "over": late}
    found["listened to"] = {**good, "over": late}
    missed = missed_by(found)
    assert len(missed) == 6
    assert sum("sums of stages" in line for line in missed) == 2  # of all, and of the late


class _Lines:
    """One line, for ever."""

    def __init__(self) -> None:
        said = utter(["pay my bill"], 0.0, "slt", np.random.default_rng(1))
        self._line = Line(Recording.of(said))

    def fluent(self) -> Any:
        while True:
            yield self._line


@pytest.mark.flow
def test_a_turn_at_a_whole_site_is_measured(tmp_path: Path) -> None:
    require("flite", shutil.which("flite") is not None, "apt-get install flite")
    lines: Any = _Lines()
    with running_site(tmp_path / "site", FIRSTHOP_VOICE_PORT="0") as site:
        (turn,) = asyncio.run(run_phase(Phase("one", 1, 1), lines, site.http))
    assert turn.answer_s is not None
    assert turn.told_s is not None
    assert turn.told_s > 0.0
    assert {"endpoint", "asr", "tts"} <= turn.stages_ms.keys()
