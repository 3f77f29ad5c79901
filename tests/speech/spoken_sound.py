"""Speech for tests: text spoken by flite or espeak-ng, as the engines' input."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from functools import cache
from pathlib import Path

from gateway.core.voice_line import HEARD_HZ
from gateway.speech.worker.resample import Resampler
from tests.requirements import require


def require_flite() -> None:
    require("flite", shutil.which("flite") is not None, "run: make setup-ci")


def require_espeak() -> None:
    require("espeak-ng", shutil.which("espeak-ng") is not None, "run: make setup-ci")


@cache
def sound_of(text: str, voice: str = "slt") -> bytes:
    """`text` as int16 mono at 16 kHz, in a flite voice."""
    require_flite()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path)) as sound:
            resampler = Resampler(sound.getframerate(), HEARD_HZ)
            return resampler.feed(sound.readframes(sound.getnframes())) + resampler.flush()
