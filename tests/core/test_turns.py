import pytest

from gateway.core.completeness import Completeness
from gateway.core.turn_settings import Eagerness, TurnMode, TurnSettings
from gateway.core.turns import (
    EagerDiscard,
    EagerStart,
    EndReason,
    FalseInterruption,
    HearFrom,
    HoldAgent,
    MaximumReached,
    ResumeAgent,
    SilentTooLong,
    SpeechBegan,
    TurnDropped,
    TurnEnded,
)
from gateway.core.voice_line import WINDOW_S
from tests.core.turn_script import Script

COMPLETE, UNCLEAR, INCOMPLETE = Completeness
SPEECH_S = 0.96
"""A whole number of windows."""
MANUAL = TurnSettings(mode=TurnMode.MANUAL)


def ended(script: Script) -> TurnEnded:
    (end,) = [one for one in script.decisions if isinstance(one, TurnEnded)]
    return end


def pause_until_end_s(script: Script) -> float:
    return script.at_s(TurnEnded) - ended(script).end_of_speech_s


def test_a_whole_request_ends_with_a_short_pause() -> None:
    script = Script().pause(0.64).say(SPEECH_S, "restart my router", COMPLETE).pause(1.0)

    assert script.kinds == ["HearFrom", "SpeechBegan", "EagerStart", "TurnEnded"]
    assert ended(script).reason is EndReason.COMPLETE
    assert ended(script).end_of_speech_s == pytest.approx(0.64 + SPEECH_S)
    assert pause_until_end_s(script) == pytest.approx(0.096)


@pytest.mark.parametrize(("completeness", "waits_s"), [(UNCLEAR, 1.5), (INCOMPLETE, 1.8)])
def test_after_other_words_the_caller_may_think(completeness: Completeness, waits_s: float) -> None:
    script = Script().say(SPEECH_S, "I want to", completeness).pause(3.0)

    assert ended(script).reason is EndReason.SILENCE
    assert pause_until_end_s(script) == pytest.approx(waits_s, abs=WINDOW_S)


def test_words_that_do_not_cover_the_speech_do_not_end_it() -> None:
    """ "Pay my bill" is whole; what was said after it has not been recognised yet."""
    script = Script()
    script.answers_at_once = False
    script.say(SPEECH_S, complete=COMPLETE).understand("pay my bill").say(0.32).pause(1.0)
    script.completeness = COMPLETE

    assert "TurnEnded" not in script.kinds
    assert script.understand("pay my bill for").kinds[-1] == "TurnEnded"


def test_padding_before_speech_belongs_to_the_utterance_but_not_the_utterance_before() -> None:
    script = Script().pause(0.64).say(SPEECH_S, "yes", COMPLETE).pause(0.192).say(SPEECH_S)

    began = [one for one in script.decisions if isinstance(one, SpeechBegan)]
    assert began[0].start_s == pytest.approx(0.34)
    assert began[1].start_s == pytest.approx(0.64 + SPEECH_S)
    assert script.decisions[0] == HearFrom(began[0].start_s)


def test_one_likely_window_is_no_speech_and_a_certain_one_is() -> None:
    assert Script().sound(WINDOW_S, 0.6).pause(0.5).kinds == []
    assert Script().sound(2 * WINDOW_S, 0.6).kinds == ["HearFrom", "SpeechBegan"]
    assert Script().sound(WINDOW_S, 0.9).kinds == ["HearFrom", "SpeechBegan"]


def test_speech_goes_on_a_little_below_the_threshold() -> None:
    script = Script().say(SPEECH_S).sound(0.32, 0.4)
    assert script.turns.speech_end_s == script.turns.now_s


def test_an_eager_start_is_discarded_when_the_caller_goes_on() -> None:
    script = Script().say(SPEECH_S, "pay my bill", UNCLEAR).pause(0.512).say(SPEECH_S)

    assert script.kinds[2:] == ["EagerStart", "EagerDiscard"]
    assert script.at_s(EagerStart) == pytest.approx(SPEECH_S + 0.3, abs=WINDOW_S)
    assert script.at_s(EagerDiscard) == pytest.approx(SPEECH_S + 0.512 + WINDOW_S)
    assert script.pause(3.0).kinds[4:] == ["EagerStart", "TurnEnded"]


def test_nothing_is_begun_after_half_a_sentence() -> None:
    assert "EagerStart" not in Script().say(SPEECH_S, "I want to", INCOMPLETE).pause(3.0).kinds


@pytest.mark.parametrize("eagerness", Eagerness)
def test_eagerness_orders_the_pauses(eagerness: Eagerness) -> None:
    settings = TurnSettings(eagerness=eagerness)
    pauses_s = [settings.pause_s(one) for one in (COMPLETE, UNCLEAR, INCOMPLETE)]
    assert pauses_s == sorted(pauses_s)
    low = TurnSettings(eagerness=Eagerness.LOW)
    assert all(settings.pause_s(one) <= low.pause_s(one) for one in Completeness)


def test_a_fixed_pause_does_not_look_at_words() -> None:
    script = Script(TurnSettings(mode=TurnMode.FIXED, silence_s=0.512))
    script.say(SPEECH_S, "restart my router", COMPLETE).pause(1.0)
    assert pause_until_end_s(script) == pytest.approx(0.512)
    assert ended(script).reason is EndReason.SILENCE


def test_a_manual_turn_ends_by_hand_only() -> None:
    script = Script(MANUAL).agent(plays=True).say(SPEECH_S, "hello", COMPLETE).pause(5.0)
    assert script.kinds == ["HearFrom"]

    script.note(script.turns.commit())
    assert script.kinds == ["HearFrom", "SpeechBegan", "TurnEnded"]
    assert ended(script).reason is EndReason.COMMITTED
    assert script.turns.commit() == []


def test_what_is_cleared_is_never_ended() -> None:
    script = Script().say(SPEECH_S, "pay my", UNCLEAR).pause(0.5)
    script.note(script.turns.clear())
    assert script.decisions[-2:] == [EagerDiscard(), TurnDropped()]
    assert script.pause(3.0).decisions[-1] == TurnDropped()
    assert Script().turns.clear() == []


def test_a_turn_and_a_call_have_maximum_durations() -> None:
    script = Script(TurnSettings(max_turn_s=2.0, max_call_s=5.0)).say(2.56)
    assert ended(script).reason is EndReason.TOO_LONG
    assert script.pause(9.0).decisions.count(MaximumReached()) == 1


def test_idle_is_told_once_per_timeout_after_the_agent_has_spoken() -> None:
    script = Script(TurnSettings(idle_timeout_s=4.0)).pause(9.0)
    assert script.kinds == []
    script.agent(plays=True).pause(9.0).agent(plays=False).pause(9.0)
    assert script.kinds == ["SilentTooLong"] * 2
    since_s = [one.since_s for one in script.decisions if isinstance(one, SilentTooLong)]
    assert since_s == pytest.approx([17.984, 21.984], abs=0.1)


class TestSpeechOverTheAgent:
    @pytest.fixture
    def script(self) -> Script:
        return Script().agent(plays=True).pause(0.64)

    def test_that_is_only_possible_holds_it_for_a_moment(self, script: Script) -> None:
        script.sound(WINDOW_S, 0.35).pause(0.512)
        assert script.kinds == ["HearFrom", "HoldAgent", "ResumeAgent"]
        assert script.at_s(ResumeAgent) - script.at_s(HoldAgent) == pytest.approx(0.16)
        assert script.sound(0.32, 0.25).kinds[3:] == []

    def test_holds_it_with_the_first_certain_window(self, script: Script) -> None:
        script.say(0.32)
        assert script.kinds == ["HearFrom", "HoldAgent"]
        assert script.at_s(HoldAgent) == pytest.approx(0.64 + WINDOW_S)

    @pytest.mark.parametrize("text", ["uh-huh", "okay", "yeah yeah", "mm I see", "oh great"])
    def test_that_only_shows_listening_lets_it_go_on_soon(self, script: Script, text: str) -> None:
        script.say(0.448, text).pause(1.0)
        assert script.kinds == ["HearFrom", "HoldAgent", "ResumeAgent"]
        assert script.decisions[-1] == ResumeAgent(FalseInterruption.BACKCHANNEL)
        assert script.at_s(ResumeAgent) == pytest.approx(0.64 + 0.448, abs=0.1)

    def test_without_words_lets_it_go_on(self, script: Script) -> None:
        script.say(0.128).pause(1.0)
        assert script.decisions[-1] == ResumeAgent(FalseInterruption.NOISE)
        assert script.at_s(ResumeAgent) <= 0.64 + 0.128 + 0.3

    def test_with_words_interrupts_at_once(self, script: Script) -> None:
        script.say(0.32).understand("no wait", 0.0)
        assert script.kinds == ["HearFrom", "HoldAgent", "SpeechBegan"]
        began = script.decisions[-1]
        assert isinstance(began, SpeechBegan)
        assert began.start_s == pytest.approx(0.34)
        assert began.is_interruption is True
        assert script.pause(2.0).kinds[-1] == "TurnEnded"

    def test_waits_longer_for_a_slow_recogniser(self, script: Script) -> None:
        script.answers_at_once = False
        script.say(0.416).pause(0.512)
        assert script.kinds[-1] == "HoldAgent"
        assert script.understand("stop").kinds[-1] == "SpeechBegan"
        script.pause(3.0).agent(plays=True).say(0.416).pause(1.0)
        assert script.decisions[-1] == ResumeAgent(FalseInterruption.NOISE)

    def test_that_goes_on_interrupts_though_nothing_is_understood(self, script: Script) -> None:
        script.say(1.28)
        assert script.kinds[-1] == "SpeechBegan"
        assert script.at_s(SpeechBegan) == pytest.approx(0.64 + 1.0, abs=WINDOW_S)

    def test_of_one_odd_word_interrupts_if_it_is_long(self, script: Script) -> None:
        assert script.say(0.256, "router").pause(1.0).kinds[-1] == "ResumeAgent"
        assert script.say(0.576, "internet").pause(0.2).kinds[-1] == "SpeechBegan"

    def test_becomes_a_turn_when_the_agent_ends(self, script: Script) -> None:
        script.say(0.32).agent(plays=False)
        began = script.decisions[-1]
        assert isinstance(began, SpeechBegan)
        assert began.start_s == pytest.approx(0.34)
        assert began.is_interruption is False

    def test_does_not_hold_one_that_may_not_be_interrupted(self) -> None:
        script = Script(TurnSettings(may_interrupt=False)).agent(plays=True).say(0.32)
        assert script.kinds == ["HearFrom", "SpeechBegan"]

    def test_that_the_client_clears_lets_it_go_on(self, script: Script) -> None:
        script.say(0.32).note(script.turns.clear())
        assert script.kinds == ["HearFrom", "HoldAgent", "ResumeAgent"]
