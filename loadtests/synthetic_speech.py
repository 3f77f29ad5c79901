"""Utterances as sound, with pauses where they are wanted and known times of every word.

Made at run time by flite (`apt install flite`), whose voices are those of three people, or by
espeak-ng, which speaks by rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gateway.core.voice_line import HEARD_HZ
from loadtests.utterances import sound_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOICES = ("slt", "rms", "awb")
ESPEAK_VOICES = ("espeak-ng:en-us", "espeak-ng:en-us+f3", "espeak-ng:en-gb")
_NOISE = 3e-4
"""Full scale is 1: a quiet room, since perfect silence is heard by nobody."""
_AUDIBLE = 0.01
_LEAD_S = 0.6


class TimedWord(NamedTuple):
    """A word and where it ends, in seconds."""

    text: str
    end_s: float


class Utterance(NamedTuple):
    """Somebody says something, then nothing."""

    sound: NDArray[np.float32]
    """[n] at `HEARD_HZ`, -1 to 1."""
    words: tuple[TimedWord, ...]
    start_s: float
    end_s: float
    """Of the last audible sample of speech."""
    resumes_s: float | None = None
    """Where speech goes on after the inner pause."""

    def heard_until(self, media_s: float) -> str:
        """The words that have been said by then."""
        return " ".join(word.text for word in self.words if word.end_s <= media_s)


def utter(parts: list[str], pause_s: float, voice: str, rng: np.random.Generator) -> Utterance:
    """Say the parts with a pause between them, after 0.6 s of quiet and before 5 s of it.

    `voice` is flite's, or has its program before it: `espeak-ng:en-gb`. Raises FileNotFoundError
    without the program, CalledProcessError when it fails.
    """
    pieces = [np.zeros(round(_LEAD_S * HEARD_HZ), np.float32)]
    words: list[TimedWord] = []
    starts_s: list[float] = []
    for index, part in enumerate(parts):
        if index:
            pieces.append(np.zeros(round(pause_s * HEARD_HZ), np.float32))
        starts_s.append(sum(map(len, pieces)) / HEARD_HZ)
        pieces.append(_say(part, voice))
        words += _timed(part, starts_s[-1], len(pieces[-1]) / HEARD_HZ)
    end_s = sum(map(len, pieces)) / HEARD_HZ
    pieces.append(np.zeros(5 * HEARD_HZ, np.float32))
    sound = np.concatenate(pieces)
    sound += rng.normal(0.0, _NOISE, len(sound)).astype(np.float32)
    resumes_s = starts_s[1] if len(parts) > 1 else None
    return Utterance(sound, tuple(words), starts_s[0], end_s, resumes_s)


def _say(text: str, voice: str) -> NDArray[np.float32]:
    """The audible part of a text in a voice."""
    named = voice if ":" in voice else f"flite:{voice}"
    pcm = np.frombuffer(sound_of(text, named), "<i2")
    samples = pcm.astype(np.float32) / 32768.0
    audible = np.flatnonzero(np.abs(samples) > _AUDIBLE)
    return samples[audible[0] : audible[-1] + 1] if len(audible) else samples[:0]


def _timed(text: str, start_s: float, length_s: float) -> list[TimedWord]:
    """The words of a part, as if every letter took the same time."""
    words = text.split()
    num_letters = np.cumsum([len(word) + 1 for word in words])
    ends_s = start_s + length_s * num_letters / num_letters[-1]
    return [TimedWord(word, float(end_s)) for word, end_s in zip(words, ends_s, strict=True)]
