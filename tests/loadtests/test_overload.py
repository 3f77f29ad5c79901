"""What an overloaded grid is held to, and a few seconds of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtests import overload
from loadtests.clients.plan import Ask, Sample
from loadtests.overload import Seen, Stretch, asks_of, capacity_hz, cut_figures, overload_figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtests.clients.plan import TurnClassName

BEGIN_S = len(overload.STEPS) * overload.STEP_S + overload.REST_S
SECONDS = 30.0


def samples(
    until_s: float, is_in_time: Callable[[float], bool], kind: TurnClassName = "agent"
) -> list[Sample]:
    """Ten requests a second, answered or shed."""
    found = []
    for number in range(int(until_s * 10)):
        at_s, fits = number / 10, is_in_time(number / 10)
        ask = Ask(at_s, "hello", kind, budget_s=2.0)
        first_s = at_s + 0.1 if fits else None
        found.append(Sample(ask, at_s, "ok" if fits else "shed", at_s + 0.2, first_s))
    return found


def met(figures: dict[str, tuple[float, float, bool]]) -> dict[str, bool]:
    return {name: is_met for name, (_, _, is_met) in figures.items()}


def test_goodput_memory_and_recovery_are_judged_each_in_its_own_time() -> None:
    end_s = BEGIN_S + SECONDS
    weights = [(BEGIN_S + at_s, 100 + int(at_s > 25)) for at_s in range(1, 30)]
    answers = samples(end_s + 10, lambda _: True)
    good = met(overload_figures(answers, Seen([], weights), BEGIN_S, SECONDS))
    assert good.pop("voice_admitted_p99_ms") is False  # there was none
    assert all(good.values())
    half = samples(end_s + 10, lambda at_s: not BEGIN_S < at_s < end_s or at_s % 1 < 0.5)
    bad = met(overload_figures(half, Seen([], weights), BEGIN_S, SECONDS))
    assert (bad["goodput_of_peak"], bad["attained_2_s_after"]) == (False, True)
    slow = samples(end_s + 10, lambda at_s: not end_s < at_s < end_s + 3)
    assert not met(overload_figures(slow, Seen([], weights), BEGIN_S, SECONDS))[
        "attained_2_s_after"
    ]
    grown = [(at_s, size + int(2 * at_s)) for at_s, size in weights]
    assert not met(overload_figures(answers, Seen([], grown), BEGIN_S, SECONDS))["memory_growth"]


def test_a_cut_is_judged_once_what_was_there_has_left() -> None:
    until_s = overload.CUT_AT_S + overload.AFTER_CUT_S
    soon = samples(until_s, lambda at_s: not 10 <= at_s < 14, "voice")
    assert all(met(cut_figures(soon)).values())
    late = samples(until_s, lambda at_s: not 10 <= at_s < 17, "voice")
    assert met(cut_figures(late)) == {"voice_before": True, "voice_5_s_after": False}


@pytest.mark.flow
def test_a_few_seconds_of_overload_have_figures(tmp_path: Path) -> None:
    rates_hz = (overload.OVERLOAD * capacity_hz(),) * 3
    asks = asks_of([Stretch(4.0, rates_hz)])
    done = overload.run(asks, tmp_path, cut_at_s=1.0)
    assert len(done.samples) == len(asks)
    outcomes = {sample.outcome for sample in done.samples}
    assert outcomes == {"ok", "shed"}
    assert done.seen.pss_bytes
    assert done.host["late_p99_ms"].keys() >= {"loop of edge-a", "loop of client 0"}
    assert "voice_5_s_after" in overload.judged(done, cut_figures(done.samples), {})["figures"]
