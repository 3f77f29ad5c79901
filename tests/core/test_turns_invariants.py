"""Whatever is heard, in whatever order: what turn-taking promises to those who carry it out."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.completeness import Completeness
from gateway.core.turn_settings import Eagerness, TurnMode, TurnSettings
from gateway.core.turns import (
    EagerDiscard,
    EagerStart,
    HearFrom,
    HoldAgent,
    ResumeAgent,
    SpeechBegan,
    TurnDropped,
    TurnEnded,
)
from tests.core.turn_script import Script

texts = st.sampled_from(["", "uh-huh", "okay", "no wait", "restart my router", "router"])
steps = st.one_of(
    st.tuples(st.just("sound"), st.floats(0.0, 0.8), st.floats(0.0, 1.0)),
    st.tuples(st.just("speech"), st.floats(0.03, 1.5), st.just(0.95)),
    st.tuples(st.just("pause"), st.floats(0.03, 3.0), st.just(0.02)),
    st.tuples(st.just("agent"), st.booleans()),
    st.tuples(st.just("words"), texts, st.sampled_from(Completeness), st.floats(-1.0, 0.0)),
    st.tuples(st.sampled_from(["commit", "clear"])),
)
settings = st.builds(
    TurnSettings,
    mode=st.sampled_from(TurnMode),
    threshold=st.floats(0.2, 0.9),
    silence_s=st.floats(0.0, 2.0),
    eagerness=st.sampled_from(Eagerness),
    may_interrupt=st.booleans(),
    idle_timeout_s=st.one_of(st.none(), st.floats(0.5, 2.0)),
    max_turn_s=st.floats(0.5, 5.0),
)


@given(settings, st.lists(steps, max_size=30), st.booleans())
def test_what_begins_ends_once_in_order_and_in_time(
    how: TurnSettings,
    script: list[tuple[Any, ...]],
    answers_at_once: bool,
) -> None:
    call = Script(how)
    call.answers_at_once = answers_at_once
    for step in script:
        match step:
            case ("sound" | "speech" | "pause", length_s, probability):
                call.sound(length_s, probability)
            case ("agent", plays):
                call.agent(plays=plays)
            case ("words", text, completeness, ago_s):
                call.completeness = completeness
                call.understand(text, call.turns.now_s + ago_s)
            case ("commit",):
                call.note(call.turns.commit())
            case ("clear",):
                call.note(call.turns.clear())
    _check(call)
    is_manual = how.mode is TurnMode.MANUAL
    call.pause(10.0)
    call.note(call.turns.commit() if is_manual else [])
    open_turns = _check(call)
    assert open_turns == (False, False, False)


def _check(call: Script) -> tuple[bool, bool, bool]:
    """Go through the decisions; answers what is open at the end: hold, turn, eager start."""
    is_held = is_open = is_eager = False
    last_end_s = 0.0
    for at_s, decision in call.took:
        match decision:
            case HearFrom():
                assert not is_held
                assert not is_open
                assert last_end_s <= decision.start_s <= at_s
            case HoldAgent():
                assert not is_held
                assert not is_open
                is_held = True
            case ResumeAgent():
                assert is_held
                is_held = False
            case SpeechBegan():
                assert not is_open
                assert decision.start_s >= last_end_s
                assert is_held or not decision.is_interruption
                is_open, is_held = True, False
            case EagerStart():
                assert is_open
                assert not is_eager
                assert decision.end_of_speech_s <= at_s
                is_eager = True
            case EagerDiscard():
                assert is_eager
                is_eager = False
            case TurnEnded():
                assert is_open
                assert decision.start_s <= decision.end_of_speech_s <= at_s
                last_end_s = decision.end_of_speech_s
                is_open = is_eager = False
            case TurnDropped():
                assert is_open
                assert not is_eager
                is_open = False
    return is_held, is_open, is_eager
