from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stages import Stage, StageClock
from gateway.core.voice_stages import HeardTiming

TIMING = HeardTiming(10.0, 10.03, 10.2, 10.21)


def test_a_voice_turn_begins_with_the_end_of_speech() -> None:
    clock = TIMING.new_clock()
    assert clock.started_s == 10.0
    assert clock.durations_s() == {
        Stage.INGRESS: pytest.approx(0.03),
        Stage.ENDPOINT: pytest.approx(0.17),
        Stage.ASR: pytest.approx(0.01),
    }


def test_an_early_answer_waits_for_the_end_of_the_turn() -> None:
    clock = HeardTiming(10.0, 10.03, 10.1, 10.1).new_clock()
    clock.mark(Stage.PREFILL, 10.15)
    TIMING.confirm(clock)
    assert clock.elapsed_s == pytest.approx(0.21)
    assert clock.durations_s()[Stage.ENDPOINT] == pytest.approx(0.07 + 0.05)


def test_until_the_first_sound_the_caller_waits_for_speech_alone() -> None:
    clock = StageClock(0.0)
    clock.mark(Stage.PREFILL, 0.1)
    clock.hand_to_speech(0.1)
    clock.mark(Stage.DECODE, 0.4)
    clock.mark_parts(((Stage.QUEUE, 0.1),), Stage.LINK, 0.5)
    clock.mark_first_sound(0.13, 0.15)
    assert clock.ttft_s == pytest.approx(0.15)
    clock.hand_to_speech(0.2)
    clock.mark(Stage.DECODE, 0.6)
    assert clock.elapsed_s == pytest.approx(0.6)
    took_s = {stage.value: round(took_s, 3) for stage, took_s in clock.durations_s().items()}
    assert took_s == {"prefill": 0.1, "tts": 0.03, "pacing": 0.02, "decode": 0.45}


def test_a_turn_that_ends_without_a_sound_waited_for_the_synthesiser() -> None:
    clock = StageClock(0.0)
    clock.hand_to_speech(0.1)
    clock.end(0.5)
    assert clock.ttft_s is None
    assert clock.durations_s() == {Stage.EGRESS: 0.1, Stage.TTS: 0.4}


@given(
    st.lists(
        st.tuples(st.sampled_from(["mark", "parts", "hand", "sound"]), st.floats(0.0, 1.0)),
        max_size=30,
    )
)
def test_whatever_waits_for_speech_the_stages_sum_to_the_turn(
    script: list[tuple[str, float]],
) -> None:
    clock, now_s = StageClock(0.0), 0.0
    for what, took_s in script:
        now_s += took_s
        match what:
            case "mark":
                clock.mark(Stage.DECODE, now_s)
            case "parts":
                clock.mark_parts(((Stage.QUEUE, took_s / 2),), Stage.LINK, now_s)
            case "hand":
                clock.hand_to_speech(now_s)
            case _:
                clock.mark_first_sound(now_s - took_s / 2, now_s)
    clock.end(now_s)
    assert clock.elapsed_s == now_s
    assert sum(clock.durations_s().values()) == pytest.approx(now_s)
    for before, after in pairwise(clock.spans):
        assert after.offset_s == pytest.approx(before.end_s)
    if clock.ttft_s is not None:
        until_s = sum(span.duration_s for span in clock.spans if span.end_s <= clock.ttft_s + 1e-9)
        assert until_s == pytest.approx(clock.ttft_s)
