import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import TurnClass
from gateway.core.estimate import estimate_first_token_s
from gateway.core.generation import CLASS_RANK, NO_BACKLOG, Backlog, EngineLoad
from gateway.core.load_report import (
    MAX_NUM_MODELS,
    MAX_REPORT_BYTES,
    NOTHING_RECEIVED,
    Credits,
    LoadReport,
    Received,
    SiteState,
    model_key,
    report_load,
    with_turn,
)

IDLE = EngineLoad(
    as_of_s=10.0,
    num_slots=16,
    num_active=0,
    prefill_s_per_token=0.0002,
    decode_step_s=0.005,
    mean_remaining_tokens=20.0,
    answer_tokens=40.0,
)
BUSY = msgspec.structs.replace(
    IDLE, num_active=16, backlog=(Backlog(2, 300), Backlog(5, 1200), Backlog())
)
CREDITS = Credits()
MODEL = model_key("sha256:" + "ab" * 32)


def report(load: EngineLoad, **changes: object) -> LoadReport:
    given_: dict[str, object] = {
        "now_s": 10.002,
        "epoch": 1_790_000_000_123,
        "seq": 70_000,
        "max_num_queued": 64,
        "credits": CREDITS,
        **changes,
    }
    return report_load(load, **given_)  # type: ignore[arg-type]


def test_a_busy_sites_report_with_everything_in_it_fits_120_bytes() -> None:
    received = (Received(40_000, 9_000_000), Received(9_000, 2_000_000), Received(3, 900))
    encoded = msgspec.msgpack.encode(report(BUSY, received=received, models=(MODEL,)))
    assert len(encoded) <= 120
    assert msgspec.msgpack.decode(encoded, type=LoadReport).received == received


def test_the_waits_are_the_estimate_of_a_prompt_of_no_tokens() -> None:
    made = report(BUSY)
    for turn_class, rank in CLASS_RANK.items():
        estimate_s = estimate_first_token_s(BUSY, 0, turn_class)
        assert (made.wait_us[rank] + made.step_us) * 1e-6 == pytest.approx(estimate_s, abs=2e-6)
    assert made.age_us == 2000
    assert made.num_ahead == (2, 7, 7)


def test_credit_is_what_is_left_of_the_wait_worth_offering() -> None:
    made = report(BUSY)
    for turn_class, rank in CLASS_RANK.items():
        left_s = max(0.0, CREDITS.of(turn_class) - made.wait_us[rank] * 1e-6)
        assert made.credit_us[rank] * 1e-6 == pytest.approx(left_s, abs=2e-6)


@pytest.mark.parametrize(
    "changes",
    [{"state": SiteState.DRAINING}, {"capacity_ratio": 0.0}, {"max_num_queued": 0}],
    ids=["draining", "no capacity", "queue full"],
)
def test_who_takes_no_work_gives_no_credit(changes: dict[str, object]) -> None:
    assert report(BUSY, **changes).credit_us == (0, 0, 0)


def test_received_turns_are_counted_by_class() -> None:
    counted = with_turn(NOTHING_RECEIVED, TurnClass.AGENT, 120)
    counted = with_turn(counted, TurnClass.AGENT, 30)
    assert counted == (Received(), Received(2, 150), Received())


times = st.floats(0.0, 1e9)
loads = st.builds(
    EngineLoad,
    as_of_s=times,
    num_slots=st.integers(1, 10_000),
    num_active=st.integers(0, 10_000),
    prefill_s_per_token=times,
    decode_step_s=times,
    mean_remaining_tokens=times,
    answer_tokens=times,
    backlog=st.just((Backlog(9_999_999, 1 << 40), Backlog(9, 9), Backlog())) | st.just(NO_BACKLOG),
    available_in_s=times,
)


@given(loads, times, st.floats(-1.0, 2.0))
def test_whatever_an_engine_says_the_report_can_be_read(
    load: EngineLoad, now_s: float, capacity_ratio: float
) -> None:
    made = report(load, now_s=now_s, capacity_ratio=capacity_ratio, models=(MODEL,) * 8)
    encoded = msgspec.msgpack.encode(made)
    assert len(encoded) <= MAX_REPORT_BYTES
    assert msgspec.msgpack.decode(encoded, type=LoadReport) == made


@pytest.mark.parametrize(
    "lie",
    [
        {"wait_us": (-1, 0, 0)},
        {"num_slots": 0},
        {"capacity_permille": 1001},
        {"prefill_ns_per_token": 1 << 60},
        {"seq": -1},
        {"state": 9},
        {"models": (b"short",)},
        {"models": (MODEL,) * (MAX_NUM_MODELS + 1)},
        {"received": ((-1, 0), (0, 0), (0, 0))},
        {"age_us": 1.5},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_absurd_figures_are_refused(lie: dict[str, object]) -> None:
    encoded = msgspec.msgpack.encode(msgspec.structs.replace(report(IDLE), **lie))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(encoded, type=LoadReport)


def test_a_model_key_needs_a_digest() -> None:
    assert model_key("ab" * 32) == MODEL
    for nothing in ("", "sha256:abcd", "zz" * 32):
        with pytest.raises(ValueError, match=r"digest|hexadecimal"):
            model_key(nothing)
