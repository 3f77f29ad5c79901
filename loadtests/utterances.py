"""What callers say, as sound: text spoken by the programs flite and espeak-ng."""

from __future__ import annotations

import subprocess
import tempfile
import wave
from pathlib import Path

from gateway.core.voice_line import HEARD_HZ
from gateway.speech.resample import Resampler


def sound_of(text: str, voice: str) -> bytes:
    """`text` in a voice, `flite:slt` or `espeak-ng:en-us`: int16, mono, 16 kHz.

    Raises FileNotFoundError where the program is not installed.
    """
    program, _, name = voice.partition(":")
    if program == "flite":
        # Its dictionary lacks the word; spelt apart it is said as callers say it.
        arguments = ["-voice", name, "-t", text.replace("wifi", "why fie"), "-o"]
    else:
        arguments = ["-v", name, text, "-w"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run([program, *arguments, str(path)], check=True, capture_output=True)
        with wave.open(str(path)) as sound:
            resampler = Resampler(sound.getframerate(), HEARD_HZ)
            return resampler.feed(sound.readframes(sound.getnframes())) + resampler.flush()
