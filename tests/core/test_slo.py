"""Windows, burn rates and rules, in time that the tests make up."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import TurnClass
from gateway.core.latency_histogram import LatencyHistogram
from gateway.core.service_report import ClassService, Fate, ServiceReport, Tally, added_up
from gateway.core.slo import WINDOWS_S, Objectives, SlidingTally, SloRecord

VOICE = 0
T0_S = 1000.0


def record_of(turns: list[tuple[float, bool]]) -> SloRecord:
    """Voice turns that ended at these instants."""
    record = SloRecord(Objectives())
    for now_s, is_met in turns:
        record.add(
            TurnClass.VOICE,
            is_met=is_met,
            first_content_s=0.1 if is_met else 0.9,
            answer_tokens=30,
            now_s=now_s,
        )
    return record


def steady(num_s: int, *, miss_every: int, until_s: float = T0_S) -> list[tuple[float, bool]]:
    """One turn a second, of which every so manieth misses."""
    return [(until_s - num_s + second, second % miss_every != 0) for second in range(num_s)]


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.booleans()), max_size=60))
def test_a_window_has_the_turns_of_its_seconds(steps: list[tuple[float, bool]]) -> None:
    tally, turns, now_s = SlidingTally(1.0, 60.0), [], 0.0
    for step_s, is_met in steps:
        now_s += step_s
        tally.add(is_met, now_s)
        turns.append((int(now_s), is_met))
    now_s += 3.0
    for window_s, found in zip((10.0, 60.0), tally.over((10.0, 60.0), now_s), strict=True):
        inside = [is_met for second, is_met in turns if second > int(now_s) - window_s]
        assert found == (sum(inside), len(inside) - sum(inside))


def test_burn_rates_follow_from_the_objective() -> None:
    (voice, *_) = record_of(steady(3600, miss_every=50)).states(T0_S - 1.0)
    assert voice.objective_ratio == 0.99
    assert [state.window_s for state in voice.windows] == list(WINDOWS_S)
    hour = next(state for state in voice.windows if state.window_s == 3600.0)
    assert hour.tally.missed == 72
    assert hour.burn_rate == pytest.approx(2.0)
    assert voice.burning == ()


def test_a_site_that_becomes_slow_burns_within_five_seconds_and_stops_after() -> None:
    burst = steady(600, miss_every=10_000)
    ends_s = T0_S
    burst += [(T0_S + 0.1 * number, False) for number in range(100)]  # ten a second, all late
    found = None
    for at_s in range(1, 11):
        turns = [turn for turn in burst if turn[0] <= T0_S + at_s]
        if record_of(turns).states(T0_S + at_s)[VOICE].burning:
            found = at_s
            break
    assert found is not None
    assert found <= 5
    ends_s = T0_S + 10.0
    good = [(ends_s + 0.1 * number, True) for number in range(200)]
    after = record_of(burst + good).states(ends_s + 20.0)[VOICE]
    assert "fast" not in after.burning, "ten good seconds end it, though the minute still burns"


def test_both_windows_must_burn() -> None:
    long_ago = steady(3000, miss_every=2, until_s=T0_S - 400.0)
    quiet_since = steady(400, miss_every=10_000)
    state = record_of(long_ago + quiet_since[1:]).states(T0_S)[VOICE]
    hour = next(window for window in state.windows if window.window_s == 3600.0)
    assert (hour.burn_rate or 0.0) > 14.4
    assert "page_1h" not in state.burning
    burning = record_of(steady(3600, miss_every=2)).states(T0_S)[VOICE]
    assert burning.burning == ("fast", "page_1h", "page_6h")


def test_a_single_late_turn_is_no_fire() -> None:
    assert record_of([(T0_S - 1.0, False)]).states(T0_S)[VOICE].burning == ()


def test_nothing_is_kept_longer_than_the_windows() -> None:
    record = record_of(steady(60, miss_every=2))
    later = record.states(T0_S + 30_000.0)[VOICE]
    assert all(window.burn_rate is None for window in later.windows)
    assert later.first_content.num_values == 0
    report = record.report(T0_S + 30_000.0)
    assert report.answer_tokens_per_s == 0.0
    assert report.by_class[VOICE].long == Tally()


def test_turns_without_a_budget_have_a_latency_and_no_verdict() -> None:
    record = SloRecord(Objectives())
    record.add(
        TurnClass.BATCH, is_met=None, first_content_s=2.0, answer_tokens=600, now_s=T0_S - 1.0
    )
    batch = record.report(T0_S).by_class[2]
    assert (batch.long, batch.first_content.num_values) == (Tally(), 1)
    assert record.report(T0_S).answer_tokens_per_s == 10.0


def test_the_grid_is_the_sum_of_its_sites() -> None:
    one = record_of(steady(60, miss_every=10)).report(T0_S)
    other = record_of(steady(60, miss_every=2)).report(T0_S)
    grid = added_up([one, other])
    assert grid
    voice = grid.by_class[VOICE]
    assert voice.long == one.by_class[VOICE].long.plus(other.by_class[VOICE].long)
    assert voice.long.attainment == pytest.approx(84 / 118)
    assert voice.first_content.num_values == 118
    assert voice.first_content.quantile_s(0.5) == pytest.approx(0.1, rel=0.03)
    assert voice.first_content.quantile_s(0.99) == pytest.approx(0.9, rel=0.03)
    assert grid.answer_tokens_per_s == pytest.approx(2 * one.answer_tokens_per_s)
    assert added_up([]) is None


def test_what_became_of_turns_is_counted_for_a_minute_and_added_up() -> None:
    record = SloRecord(Objectives())
    for now_s, fate in ((0.0, Fate.HERE), (50.0, Fate.SHED), (50.2, Fate.HERE), (55.0, None)):
        record.add(
            TurnClass.AGENT,
            is_met=None,
            first_content_s=None,
            answer_tokens=0,
            fate=fate,
            now_s=now_s,
        )
    one = record.report(59.0)
    assert dict(zip(Fate, one.num_by_fate, strict=True)) == {
        Fate.HERE: 2,
        Fate.FORWARDED: 0,
        Fate.ESCALATED: 0,
        Fate.SHED: 1,
        Fate.FAILED: 0,
    }
    later = msgspec.structs.replace(record.report(100.0), num_sessions=3)
    assert later.num_by_fate == (1, 0, 0, 1, 0)
    assert record.report(120.0).num_by_fate == (0, 0, 0, 0, 0)
    both = added_up([one, later])
    assert both
    assert (both.num_by_fate, both.num_sessions) == ((3, 0, 0, 2, 0), 3)
    full = msgspec.structs.replace(one, num_by_fate=(10**9,) * 5, num_sessions=10**9)
    assert added_up([full, full]) == msgspec.structs.replace(full, by_class=both.by_class)


def test_a_report_is_small_and_bounded() -> None:
    report = record_of(steady(60, miss_every=10)).report(T0_S)
    sent = msgspec.msgpack.encode(report)
    assert len(sent) < 120
    assert msgspec.msgpack.decode(sent, type=ServiceReport) == report
    full = ClassService(
        0.99, Tally(10**9, 10**9), Tally(10**9, 10**9), LatencyHistogram((0, 10**9) * 256)
    )
    assert len(msgspec.msgpack.encode(ServiceReport((full, full, full), 1e9))) < 5000


@pytest.mark.parametrize(
    "change",
    [
        {"objective_ratio": 1.0},
        {"objective_ratio": 0.0},
        {"short": (-1, 0)},
        {"long": (0, 1 << 40)},
    ],
)
def test_made_up_figures_are_not_read(change: dict[str, object]) -> None:
    fields: dict[str, object] = {"objective_ratio": 0.99, "short": (0, 0), "long": (0, 0)}
    one = tuple((fields | change).values())
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(((one, one, one),)), type=ServiceReport)
