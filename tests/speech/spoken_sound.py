"""Speech for tests: text spoken by flite, as the engines' input."""

from __future__ import annotations

import shutil
from functools import cache

from loadtests import utterances
from tests.requirements import require


def require_flite() -> None:
    require("flite", shutil.which("flite") is not None, "run: make setup-ci")


def require_espeak() -> None:
    require("espeak-ng", shutil.which("espeak-ng") is not None, "run: make setup-ci")


@cache
def sound_of(text: str, voice: str = "slt") -> bytes:
    """`text` as int16 mono at 16 kHz, in a flite voice."""
    require_flite()
    return utterances.sound_of(text, f"flite:{voice}")
