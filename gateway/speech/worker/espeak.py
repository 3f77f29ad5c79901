"""espeak-ng's voices. Its licence is GPL-3: it only ever runs as a program of its own."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from typing import TYPE_CHECKING, Final

from gateway.core.errors import SetupError
from gateway.core.voice_line import SAID_HZ
from gateway.speech.port import SpeechGrade, Spoken
from gateway.speech.resample import Resampler
from gateway.speech.worker.port import EngineFailed

if TYPE_CHECKING:
    from typing import IO

    from gateway.speech.worker.port import Emit

DEFAULT_VOICE: Final = "en-us"
MEND: Final = "apt-get install espeak-ng"
_HEADER_BYTES = 44  # a RIFF header with one fmt chunk; the lengths in it are made up
_RATE_AT = 24
_PIECE_BYTES = 4096


class EspeakVoice:
    """One voice of espeak-ng, which is started for every clause. It has no word timings."""

    grade = SpeechGrade.DEMONSTRATION

    def __init__(self, voice: str = "") -> None:
        program = shutil.which("espeak-ng")
        if program is None:
            raise SetupError(f"espeak-ng is not installed; {MEND}")
        voice = voice or DEFAULT_VOICE
        if not re.fullmatch(r"[a-zA-Z0-9+_-]{1,40}", voice):
            raise SetupError(f"espeak-ng has no voice {voice!r}; see `espeak-ng --voices`")
        self.name = f"espeak-ng {voice}"
        self._command = (program, "-v", voice, "-b", "1", "--stdout", "--stdin")
        try:
            self.say("ok", lambda spoken: True)
        except EngineFailed as error:
            raise SetupError(f"espeak-ng cannot speak as {voice!r}: {error}") from error

    def say(self, text: str, emit: Emit) -> None:
        """Make a clause's sound. Raises EngineFailed."""
        with tempfile.TemporaryFile() as written:
            written.write(text.encode())
            written.seek(0)
            self._run(written, emit)

    def _run(self, written: IO[bytes], emit: Emit) -> None:
        with subprocess.Popen(
            self._command, stdin=written, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _pass_on(process.stdout, emit)
            finally:
                process.kill()


def _pass_on(sound: IO[bytes] | None, emit: Emit) -> None:
    header = sound.read(_HEADER_BYTES) if sound else b""
    if sound is None or not header.startswith(b"RIFF"):
        raise EngineFailed("espeak-ng made no sound of it")
    (rate_hz,) = struct.unpack_from("<I", header, _RATE_AT)
    resampler = Resampler(rate_hz, SAID_HZ)
    while pcm := sound.read(_PIECE_BYTES):
        if not emit(Spoken(resampler.feed(pcm[: len(pcm) & ~1]))):
            return
    emit(Spoken(resampler.flush()))
