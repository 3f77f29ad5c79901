"""How well the learnt endings judge what nobody generated."""

from pathlib import Path
from random import Random

import pytest

from gateway.core.completeness import Completeness
from gateway.core.errors import SetupError
from gateway.session.voice.endings import load_endings
from models.subscriber_care.endings import (
    ENDINGS_FILE,
    Utterance,
    dev_utterances,
    judged,
    learn,
    utterances,
    with_limits,
)


def test_few_beginnings_are_taken_for_whole_and_many_whole_requests_are_known() -> None:
    endings = load_endings(ENDINGS_FILE.parent)
    assert endings is not None
    whole, beginnings = judged(endings, dev_utterances())
    assert beginnings[Completeness.COMPLETE] < 0.05
    assert whole[Completeness.COMPLETE] > 0.62
    assert whole[Completeness.INCOMPLETE] < 0.1


def test_endings_are_learnt_from_whole_utterances_and_their_beginnings() -> None:
    said = [
        Utterance(("please", verb, "my", device), False)
        for verb in ("restart", "reset", "reboot", "fix")
        for device in ("router", "modem")
        for _ in range(10)
    ]
    endings = with_limits(learn(said, Random(1)), said)
    assert (
        endings.judge(("please", "check", "my", "router"), answers=False) is Completeness.COMPLETE
    )
    assert endings.judge(("please", "fix", "my"), answers=False) is not Completeness.COMPLETE


def test_utterances_know_whether_they_answer_a_question() -> None:
    found = utterances(1, 30)
    assert found == sorted(set(found))
    assert {utterance.answers for utterance in found} == {True, False}


def test_an_assistant_may_bring_no_endings_but_none_that_cannot_be_read(tmp_path: Path) -> None:
    assert load_endings(tmp_path) is None
    (tmp_path / "endings.json").write_text("{")
    with pytest.raises(SetupError, match=r"endings\.json cannot be read"):
        load_endings(tmp_path)
