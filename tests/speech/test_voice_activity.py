from __future__ import annotations

import numpy as np
import pytest

from gateway.speech.voice_activity import WINDOW_SAMPLES, VoiceActivity
from tests.speech.spoken_sound import sound_of

SILENCE_S = 0.5


def windows_of(text: str) -> np.ndarray:
    silence = bytes(2 * int(SILENCE_S * 16_000))
    pcm = silence + sound_of(text) + silence
    x = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    return x[: len(x) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)


def test_speech_is_told_from_silence() -> None:
    activity = VoiceActivity(max_num_calls=1)
    row = activity.open()

    judged = np.array([activity.judge(w[None], [row])[0] for w in windows_of("pay my bill")])

    assert judged[: int(SILENCE_S / 0.032)].max() < 0.3
    assert (judged > 0.8).sum() * 0.032 > 0.5
    assert judged[-5:].max() < 0.3


def test_calls_of_one_batch_do_not_hear_each_other() -> None:
    windows = windows_of("is there an outage")
    noise = np.random.default_rng(1).normal(0, 0.1, windows.shape).astype(np.float32)
    together, alone = VoiceActivity(max_num_calls=4), VoiceActivity(max_num_calls=1)
    other, row, only = together.open(), together.open(), alone.open()

    for window, hiss in zip(windows, noise, strict=True):
        both = together.judge(np.stack((hiss, window)), [other, row])
        np.testing.assert_allclose(both[1], alone.judge(window[None], [only])[0], atol=1e-4)


def test_a_row_that_is_given_back_starts_afresh() -> None:
    windows = windows_of("hello")
    activity = VoiceActivity(max_num_calls=1)
    row = activity.open()
    first = [activity.judge(w[None], [row])[0] for w in windows]
    activity.close(row)

    again = activity.open()
    second = [activity.judge(w[None], [again])[0] for w in windows]

    assert first == second
    with pytest.raises(IndexError):
        activity.open()


def test_nobody_to_judge() -> None:
    activity = VoiceActivity(max_num_calls=1)

    assert activity.judge(np.zeros((0, WINDOW_SAMPLES), np.float32), []).shape == (0,)
