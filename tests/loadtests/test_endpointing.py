"""The measurement of endpointing, on speech whose end is known."""

import shutil

import numpy as np
import pytest

from gateway.core.turn_settings import TurnSettings
from gateway.core.turns import HoldAgent, ResumeAgent, TurnEnded
from gateway.core.voice_line import HEARD_HZ
from loadtests.endpointing import Bench, RecogniserEar
from loadtests.synthetic_speech import utter
from tests.requirements import require


@pytest.fixture(scope="module")
def bench() -> Bench:
    require("flite", shutil.which("flite") is not None, "apt install flite")
    return Bench()


def test_where_words_and_pauses_lie_is_known(bench: Bench) -> None:
    said = utter(["I want to", "pay my bill"], 1.0, "slt", np.random.default_rng(1))
    assert said.start_s == pytest.approx(0.6)
    assert said.resumes_s is not None
    assert said.heard_until(said.resumes_s) == "I want to"
    assert said.heard_until(said.end_s) == "I want to pay my bill"
    pause = said.sound[round((said.resumes_s - 0.99) * HEARD_HZ) : round(said.resumes_s * HEARD_HZ)]
    assert np.abs(pause).max() < 0.01


def test_a_pause_inside_a_sentence_does_not_end_it_and_its_end_does(bench: Bench) -> None:
    said = utter(["I want to", "pay my bill please"], 1.0, "slt", np.random.default_rng(1))
    taken = bench.play(said, bench.probabilities(said), TurnSettings())
    (ended,) = [one for one in taken if isinstance(one.decision, TurnEnded)]
    assert said.end_s < ended.at_s < said.end_s + 0.4


def test_the_default_recogniser_hears_on_while_the_utterance_goes_on() -> None:
    require("flite", shutil.which("flite") is not None, "apt install flite")
    said = utter(["I would like to", "pay my bill please"], 0.4, "rms", np.random.default_rng(1))
    until = RecogniserEar().hear(said)
    assert said.resumes_s is not None
    assert "bill" not in until(said.resumes_s)
    assert until(said.end_s + 0.1) == "i would like to pay my bill please"


def test_a_sign_of_listening_holds_the_agent_for_a_moment(bench: Bench) -> None:
    said = utter(["okay"], 0.0, "slt", np.random.default_rng(1))
    taken = bench.play(said, bench.probabilities(said), TurnSettings(), agent_plays=True)
    kinds = [type(one.decision) for one in taken]
    assert HoldAgent in kinds
    assert ResumeAgent in kinds
