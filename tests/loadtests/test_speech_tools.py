"""The measurement of speech to tool calls: what is said, how noisy it is, what counts as a miss."""

import numpy as np
import pytest

from gateway.core.confirmation import Consent, read_consent
from loadtests.noisy_speech import Noise
from loadtests.speech_tools import MIN_RIGHT, missed_by, noisy_calls
from models.subscriber_care.cases import read_cases
from models.subscriber_care.format import Heard


def test_requests_cannot_be_undone_and_half_of_the_replies_agree() -> None:
    cases = [case for case in read_cases() if isinstance(case.turns[-1], Heard)]
    calls = noisy_calls(40, cases, np.random.default_rng(1))
    assert sum(call.meant is Consent.YES for call in calls) == 20
    assert all(read_consent(call.reply) is call.meant for call in calls)
    of_tools = {
        case.turns[0].text: case.call.tool
        for case in cases
        if case.call is not None and isinstance(case.turns[0], Heard)
    }
    assert {of_tools[call.request] for call in calls} <= {"pay_bill", "change_plan", "block_sim"}


@pytest.mark.parametrize("is_talk", [False, True])
@pytest.mark.parametrize("snr_db", [20, 0])
def test_the_noise_is_as_loud_as_it_says(snr_db: int, is_talk: bool) -> None:
    chance = np.random.default_rng(1)
    talk = [chance.standard_normal(40_000).astype(np.float32)]
    speech = np.sin(np.arange(48_000) / 20).astype(np.float32)
    noise = Noise(chance, talk).over(speech, snr_db, is_talk=is_talk) - speech
    ratio_db = 10 * np.log10(np.mean(speech**2) / np.mean(noise**2))
    assert ratio_db == pytest.approx(snr_db, abs=0.5)


def test_missed_targets_are_named() -> None:
    rows = [{"voice": voice, "right_call_ratio": 0.9} for voice in MIN_RIGHT]
    found = {"right_calls": rows, "noisy_calls": {"total": {"agreed_and_ran": 3}}}
    assert missed_by(found) == []
    rows[0]["right_call_ratio"] = 0.8
    found["noisy_calls"] = {"total": {"ran_without_read_back": 1, "ran_on_a_misheard_reply": 2}}
    assert len(missed_by(found)) == 3
