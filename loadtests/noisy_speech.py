"""Speech over noise: white, or other people's talk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.core.voice_line import HEARD_HZ
from loadtests.utterances import sound_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MARGIN: Final = np.zeros(HEARD_HZ // 5, np.float32)
"""Silence on both sides, as voice activity leaves it."""
_NUM_TALKERS: Final = 3


def spoken(text: str, voice: str) -> NDArray[np.float32]:
    """A text in a voice, -1 to 1, at `HEARD_HZ`, with margins."""
    pcm = sound_of(text, voice)
    sound = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
    return np.concatenate([MARGIN, sound, MARGIN])


class Noise:
    """White noise, or several people who talk at the same time."""

    def __init__(self, chance: np.random.Generator, talk: Sequence[NDArray[np.float32]]) -> None:
        self._chance = chance
        self._talk = np.concatenate(talk)

    def over(
        self, sound: NDArray[np.float32], snr_db: float, *, is_talk: bool
    ) -> NDArray[np.float32]:
        """A sound of `spoken` with noise."""
        noise = self._chance.standard_normal(len(sound)).astype(np.float32)
        if is_talk:
            starts = self._chance.integers(len(self._talk), size=_NUM_TALKERS)
            noise = np.sum(
                [np.take(self._talk, range(at, at + len(sound)), mode="wrap") for at in starts],
                axis=0,
            )
        speech = sound[len(MARGIN) : -len(MARGIN)]
        gain = np.sqrt(np.mean(speech**2) / max(1e-12, float(np.mean(noise**2))))
        mixed: NDArray[np.float32] = sound + noise * gain * 10 ** (-snr_db / 20)
        return mixed
