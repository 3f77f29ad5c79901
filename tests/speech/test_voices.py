"""The demonstration voices, in this process."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.core.errors import SetupError
from gateway.core.voice_line import SAID_HZ
from gateway.speech.worker.espeak import EspeakVoice
from gateway.speech.worker.flite import FliteVoice
from tests.speech.spoken_sound import require_espeak, require_flite

if TYPE_CHECKING:
    from gateway.speech.port import Spoken, TimedWord
    from gateway.speech.worker.port import Voice

TEXT = "Okay, your visit is cancelled."


def said(voice: Voice, text: str) -> list[Spoken]:
    pieces: list[Spoken] = []

    def keep(piece: Spoken) -> bool:
        pieces.append(piece)
        return True

    voice.say(text, keep)
    return pieces


def words_of(pieces: list[Spoken]) -> list[TimedWord]:
    return [word for piece in pieces for word in piece.words]


def seconds(pieces: list[Spoken]) -> float:
    return sum(len(piece.pcm) for piece in pieces) / 2 / SAID_HZ


def test_flite_says_when_each_word_comes() -> None:
    require_flite()
    pieces = said(FliteVoice(), TEXT)
    words = words_of(pieces)

    assert [word.text for word in words] == ["okay", "your", "visit", "is", "cancelled"]
    assert words[0].start_s == pytest.approx(0.03, abs=0.001)
    assert all(word.start_s < word.end_s for word in words)
    assert 0 <= seconds(pieces) - words[-1].end_s < 0.4
    at_s = 0.0
    for piece in pieces:
        at_s += len(piece.pcm) / 2 / SAID_HZ
        assert all(word.start_s < at_s + 0.01 for word in piece.words)


def test_flite_begins_with_the_word_and_not_with_silence() -> None:
    require_flite()
    first = said(FliteVoice(), "Sure.")[:3]
    pcm = np.frombuffer(b"".join(piece.pcm for piece in first), "<i2")

    assert np.abs(pcm[: SAID_HZ // 5]).max() > 1000


def test_flite_sounds_as_its_program_does() -> None:
    require_flite()
    pcm = np.frombuffer(b"".join(p.pcm for p in said(FliteVoice(), TEXT)), "<i2").astype(float)
    wav = subprocess.run(
        ["flite", "-voice", "slt", "-t", TEXT, "-o", "/dev/stdout"], check=True, capture_output=True
    ).stdout
    whole = np.frombuffer(wav[44:], "<i2").astype(float)

    theirs = whole[-len(pcm) * 2 // 3 :]
    energy = np.sqrt(np.mean(pcm**2)), np.sqrt(np.mean(theirs**2))
    assert energy[0] == pytest.approx(energy[1], rel=0.05)


def test_flite_stops_when_nobody_wants_more_and_can_speak_again() -> None:
    require_flite()
    voice = FliteVoice()
    pieces: list[Spoken] = []

    def one(piece: Spoken) -> bool:
        pieces.append(piece)
        return False

    voice.say(f"{TEXT} {TEXT} {TEXT}", one)

    assert len(pieces) == 1
    assert seconds(said(voice, TEXT)) > 1


@pytest.mark.parametrize("voice", ["nobody", "../x"])
def test_a_voice_that_flite_lacks(voice: str) -> None:
    require_flite()
    with pytest.raises(SetupError, match="take slt"):
        FliteVoice(voice)


def test_espeak_speaks() -> None:
    require_espeak()
    pieces = said(EspeakVoice(), TEXT)

    assert 1 < seconds(pieces) < 4
    assert len(pieces) > 3


def test_espeak_takes_no_options_from_the_text() -> None:
    require_espeak()

    assert seconds(said(EspeakVoice(), "--version")) > 0.3


@pytest.mark.parametrize("voice", ["xx-nobody", "-v en"])
def test_a_voice_that_espeak_lacks(voice: str) -> None:
    require_espeak()
    with pytest.raises(SetupError, match="espeak-ng"):
        EspeakVoice(voice)
