import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jitter_buffer import (
    MAX_DROPOUT,
    MAX_NUM_HELD,
    OUTAGE_S,
    JitterBuffer,
    Step,
    StepKind,
)

HZ, FRAME = 48_000, 960
FRAME_S = FRAME / HZ
PLAY, RECOVER, CONCEAL, SILENCE = StepKind


def buffer(begun_s: float = 0.0) -> JitterBuffer:
    return JitterBuffer(clock_hz=HZ, frame_ticks=FRAME, begun_s=begun_s)


def put(
    line: JitterBuffer,
    number: int,
    now_s: float,
    *,
    timestamp: int | None = None,
    dtx: bool = False,
) -> None:
    line.put(
        number & 0xFFFF,
        (number * FRAME if timestamp is None else timestamp) & 0xFFFFFFFF,
        number.to_bytes(8, "big", signed=True),
        ticks=FRAME,
        arrived_s=now_s,
        announces_silence=dtx,
    )


def steps(line: JitterBuffer, now_s: float) -> list[Step]:
    taken = []
    while (step := line.take(now_s)) is not None:
        taken.append(step)
        assert len(taken) < 10_000
    return taken


def kinds(line: JitterBuffer, now_s: float) -> list[StepKind]:
    return [step.kind for step in steps(line, now_s)]


def number_of(step: Step) -> int:
    return int.from_bytes(step.payload, "big", signed=True)


def test_what_is_next_is_used_at_once() -> None:
    line = buffer()
    for number in range(50):
        put(line, number, number * FRAME_S)
        assert kinds(line, number * FRAME_S) == [PLAY]


def test_a_missing_packet_is_waited_for_then_recovered_from_the_next() -> None:
    line = buffer()
    put(line, 0, 0.0)
    steps(line, 0.0)
    put(line, 2, 0.04)
    assert line.is_waiting
    assert kinds(line, 0.039) == []
    assert kinds(line, 0.041) == [RECOVER, PLAY]
    assert line.num_lost == 1


def test_a_packet_that_was_overtaken_is_used_in_order() -> None:
    line = buffer()
    put(line, 0, 0.0)
    steps(line, 0.0)
    put(line, 2, 0.035)
    put(line, 1, 0.038)
    assert [number_of(step) for step in steps(line, 0.038)] == [1, 2]
    assert line.num_lost == 0


def test_of_several_lost_only_the_last_is_recovered_and_a_long_loss_goes_quiet() -> None:
    line = buffer()
    put(line, 0, 0.0)
    steps(line, 0.0)
    put(line, 10, 0.2)
    made = steps(line, 0.25)
    assert [step.kind for step in made] == [CONCEAL] * 5 + [SILENCE] * 3 + [RECOVER, PLAY]
    assert sum(step.ticks for step in made) == 10 * FRAME


def test_late_and_double_packets_are_counted_and_not_used() -> None:
    line = buffer()
    put(line, 0, 0.0)
    steps(line, 0.0)
    put(line, 2, 0.04)
    steps(line, 0.1)
    put(line, 1, 0.1)
    put(line, 1, 0.1)
    put(line, 2, 0.1)
    assert kinds(line, 0.1) == []
    assert (line.num_late, line.num_duplicates, line.num_packets) == (1, 2, 2)


def test_after_announced_silence_the_clock_goes_on_at_once() -> None:
    line = buffer()
    put(line, 0, 0.0, dtx=True)
    steps(line, 0.0)
    assert kinds(line, 0.035) == []
    assert kinds(line, 0.045) == [SILENCE]
    assert kinds(line, 0.065) == [SILENCE]
    # 400 ms later the next word begins: what the clock has not said yet is filled up.
    put(line, 1, 0.4, timestamp=20 * FRAME)
    filled = steps(line, 0.4)
    assert filled[-1].kind is PLAY
    assert sum(step.ticks for step in filled[:-1]) == 17 * FRAME


def test_an_outage_is_waited_for_and_what_it_held_up_is_still_used() -> None:
    line = buffer()
    put(line, 0, 0.0)
    steps(line, 0.0)
    assert kinds(line, 0.02 + OUTAGE_S) == []
    silent = steps(line, 0.05 + OUTAGE_S)
    assert {step.kind for step in silent} == {SILENCE}
    for number in range(1, 20):
        put(line, number, 0.5)
    assert [number_of(step) for step in steps(line, 0.5)] == list(range(1, 20))


@pytest.mark.parametrize("later_s", [0.15, 0.5, 1.5])
def test_a_way_that_becomes_longer_takes_its_time_once(later_s: float) -> None:
    """Also where most packets announce silence, which then goes on by the clock."""
    line, taken = buffer(), 0
    for number in range(500):
        now_s = number * FRAME_S + (later_s if number > 100 else 0.0)
        put(line, number, now_s, dtx=number % 3 > 0)
        taken += sum(step.ticks for step in steps(line, now_s))
        taken += sum(step.ticks for step in steps(line, now_s + 0.019))
    assert taken / HZ == pytest.approx(500 * FRAME_S + later_s, abs=0.1)


def test_a_line_without_packets_is_silent() -> None:
    line = buffer(begun_s=100.0)
    assert kinds(line, 100.0) == []
    assert sum(step.ticks for step in steps(line, 101.0)) == pytest.approx(HZ, abs=2 * FRAME)


def test_numbers_and_timestamps_wrap() -> None:
    line = buffer()
    begin = (1 << 32) // FRAME - 5
    for index in range(70_000, 70_000 + 20):
        put(line, index + begin, index * FRAME_S)
        assert kinds(line, index * FRAME_S) == [PLAY]


def test_a_new_beginning_is_believed_from_its_second_packet() -> None:
    line = buffer()
    put(line, 0, 0.0)
    steps(line, 0.0)
    far = 7 * MAX_DROPOUT
    put(line, far, 0.02)
    assert kinds(line, 0.02) == []
    put(line, far + 1, 0.04)
    put(line, far + 2, 0.06)
    assert [number_of(step) for step in steps(line, 0.06)] == [far + 1, far + 2]


@pytest.mark.parametrize("jump", [-(1 << 20), 1 << 25])
def test_a_jump_of_the_timestamp_is_no_pause(jump: int) -> None:
    line = buffer()
    put(line, 0, 0.0)
    steps(line, 0.0)
    put(line, 1, 0.02, timestamp=FRAME + jump)
    put(line, 2, 0.04, timestamp=2 * FRAME + jump)
    assert kinds(line, 0.04) == [PLAY, PLAY]


def test_a_gap_that_never_closes_holds_a_bounded_number() -> None:
    line = buffer()
    put(line, 0, 0.0)
    steps(line, 0.0)
    for number in range(2, 2 + MAX_NUM_HELD + 1):
        put(line, number, 0.0)
    assert kinds(line, 0.0) == [RECOVER] + [PLAY] * (MAX_NUM_HELD + 1)


packets = st.tuples(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from([120, 480, 960, 2880]),
    st.floats(-1.0, 5.0),
    st.booleans(),
)


@given(st.lists(packets, max_size=60), st.integers(0, 0xFFFF))
def test_whatever_comes_is_survived(
    stream: list[tuple[int, int, int, float, bool]], at: int
) -> None:
    """Strangers' numbers beside near ones: steps stay finite and of positive length."""
    line, now_s = buffer(), 0.0
    for index, (number, timestamp, ticks, wait_s, is_near) in enumerate(stream):
        now_s += max(0.0, wait_s)
        line.put(
            (at + index + number % 7 if is_near else number) & 0xFFFF,
            timestamp,
            b"",
            ticks=ticks,
            arrived_s=now_s,
        )
        assert all(step.ticks > 0 for step in steps(line, now_s))
    steps(line, now_s + 60.0)
    assert not line.is_waiting


@given(
    st.permutations(list(range(1, 40))),
    st.sets(st.integers(1, 38)),
    st.lists(st.floats(0.0, 0.05), min_size=39, max_size=39),
)
def test_each_packet_is_used_once_in_order_or_counted_late(
    order: list[int], lost: set[int], waits_s: list[float]
) -> None:
    line, now_s = buffer(), 0.0
    put(line, 0, 0.0)
    taken = steps(line, 0.0)
    for number, wait_s in zip(order, waits_s, strict=True):
        now_s += wait_s
        if number not in lost:
            put(line, number, now_s)
        taken += steps(line, now_s)
    taken += steps(line, now_s + 10.0)
    played = [number_of(step) for step in taken if step.kind is PLAY]
    assert played == sorted(set(played))
    assert len(played) + line.num_late == 40 - len(lost)


@dataclass
class Path:
    """Frames of 20 ms over a path that loses and delays: what becomes of them.

    A frame's latency runs from when its sound was complete and the path's quickest way was over.
    """

    loss: float = 0.0
    jitter_s: float = 0.0
    drift: float = 0.0
    num_frames: int = 3000
    latencies_s: list[float] = field(default_factory=list)

    def run(self) -> JitterBuffer:
        chance = random.Random(7)
        line = buffer()
        arrivals: list[tuple[float, int]] = []
        for number in range(self.num_frames):
            sent_s = number * FRAME_S * (1.0 + self.drift)
            if chance.random() >= self.loss or number == 0:
                heapq.heappush(arrivals, (sent_s + chance.uniform(0.0, self.jitter_s), number))
        now_s, taken = 0.0, 0
        while arrivals:
            now_s += 0.005
            while arrivals and arrivals[0][0] <= now_s:
                arrived_s, number = heapq.heappop(arrivals)
                put(line, number, arrived_s)
                taken = self._take(line, arrived_s, taken)
            taken = self._take(line, now_s, taken)
        return line

    def _take(self, line: JitterBuffer, now_s: float, taken: int) -> int:
        for step in steps(line, now_s):
            sent_s = taken * FRAME_S * (1.0 + self.drift)
            self.latencies_s.append(now_s - sent_s)
            taken += step.ticks // FRAME
        return taken

    def quantile_s(self, q: float) -> float:
        return sorted(self.latencies_s)[int(q * (len(self.latencies_s) - 1))]


@pytest.mark.parametrize(
    ("path", "p50_s", "p99_s", "late_ratio"),
    [
        (Path(), 0.001, 0.001, 0.0),
        (Path(loss=0.02), 0.001, 0.03, 0.0),
        (Path(jitter_s=0.02), 0.015, 0.021, 0.0),
        (Path(loss=0.02, jitter_s=0.02), 0.015, 0.045, 0.001),
        (Path(loss=0.02, jitter_s=0.04), 0.025, 0.06, 0.005),
        (Path(loss=0.1, jitter_s=0.08), 0.08, 0.11, 0.02),
        (Path(loss=0.02, jitter_s=0.02, drift=2e-4), 0.015, 0.045, 0.002),
        (Path(loss=0.02, jitter_s=0.02, drift=-2e-4), 0.015, 0.045, 0.002),
    ],
    ids=str,
)
def test_latency_of_a_path(path: Path, p50_s: float, p99_s: float, late_ratio: float) -> None:
    line = path.run()
    assert path.quantile_s(0.5) <= p50_s
    assert path.quantile_s(0.99) <= p99_s
    assert line.num_late <= late_ratio * path.num_frames
    assert line.num_lost - line.num_late <= 1.2 * path.loss * path.num_frames
