"""A site that is late grants less credit, never none, and not by turns more and less."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import TurnClass
from gateway.core.credit_brake import CUT_RATIO, LEAST_RATIO, RISE_RATIO, CreditBrake
from gateway.core.load_report import Credits, report_load
from gateway.core.service_report import SHORT_S
from tests.core.test_load_report import IDLE

VOICE, AGENT = TurnClass.VOICE, TurnClass.AGENT


def serve(brake: CreditBrake, missed_of_ten: int, seconds: range) -> list[float]:
    """Ten turns a second, so many of them late; what is granted after each second."""
    ratios = []
    for second in seconds:
        for number in range(10):
            brake.add(VOICE, is_met=number >= missed_of_ten, now_s=second + number / 10)
        ratios.append(brake.ratio(VOICE, second + 0.95))
    return ratios


def test_credit_falls_within_seconds_and_rises_slowly_once_the_objective_is_kept() -> None:
    brake = CreditBrake()
    assert serve(brake, 0, range(100, 110)) == [1.0] * 10
    burning = serve(brake, 5, range(110, 120))
    assert burning[3:7] == [1.0, CUT_RATIO, LEAST_RATIO, LEAST_RATIO]
    mended = serve(brake, 0, range(120, 150))
    assert mended[8] == LEAST_RATIO  # late turns of the last ten seconds still count
    assert mended[10] - mended[9] == pytest.approx(RISE_RATIO)
    assert serve(brake, 0, range(150, 160))[-1] == 1.0


def test_between_keeping_and_burning_credit_stays() -> None:
    brake = CreditBrake()
    serve(brake, 5, range(100, 110))
    before = brake.ratio(VOICE, 110.0)
    assert serve(brake, 1, range(110, 130))[-1] == before


def test_few_turns_and_those_of_another_class_cut_nothing() -> None:
    brake = CreditBrake()
    for second in (100, 101, 102, 103):
        brake.add(AGENT, is_met=False, now_s=float(second))
    serve(brake, 5, range(104, 110))
    assert brake.ratio(AGENT, 110.0) == 1.0
    assert brake.ratio(VOICE, 110.0) < 1.0


def test_an_idle_site_that_burns_has_credit_still() -> None:
    brake = CreditBrake()
    serve(brake, 10, range(100, 120))
    made = report_load(
        msgspec.structs.replace(IDLE, as_of_s=120.0),
        now_s=120.0,
        epoch=1,
        seq=1,
        max_num_queued=64,
        credits=Credits().granted(brake, 120.0),
    )
    whole_us = Credits().voice_s * 1e6
    assert made.credit_us[0] == LEAST_RATIO * whole_us
    assert made.credit_us[1] == Credits().agent_s * 1e6


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.booleans()), max_size=300))
def test_whatever_happens_it_neither_ends_nor_swings_faster_than_its_window(
    turns: list[tuple[float, bool]],
) -> None:
    brake, now_s, before = CreditBrake(), 100.0, 1.0
    fell_s = -SHORT_S
    for after_s, is_met in turns:
        now_s += after_s
        brake.add(VOICE, is_met=is_met, now_s=now_s)
        ratio = brake.ratio(VOICE, now_s)
        assert LEAST_RATIO <= ratio <= 1.0
        assert ratio >= before * CUT_RATIO
        if ratio < before:
            fell_s = now_s
        elif ratio > before:  # what made it fall has left the window
            assert now_s - fell_s >= 1.0
            assert ratio - before <= RISE_RATIO * (int(after_s) + 1) + 1e-9
        before = ratio
