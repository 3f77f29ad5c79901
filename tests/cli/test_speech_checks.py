from __future__ import annotations

import shutil

import pytest

from gateway.cli.machine import State
from gateway.cli.speech_checks import speech_checks
from gateway.speech.port import SpeechGrade
from tests.requirements import require

pytestmark = pytest.mark.flow


def test_engines_that_run_are_named_with_their_grade() -> None:
    require("flite", shutil.which("flite") is not None, "run: make setup-ci")
    checks = {check.name: check for check in speech_checks()}

    assert set(checks) == {"recogniser", "voice flite", "voice espeak-ng"}
    assert checks["voice flite"].state is State.OK
    assert SpeechGrade.DEMONSTRATION in checks["voice flite"].detail


def test_an_engine_that_is_not_there_is_a_warning_with_its_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (espeak,) = (check for check in speech_checks() if check.name == "voice espeak-ng")

    assert espeak.state is State.WARN
    assert espeak.mend == "apt-get install espeak-ng"
