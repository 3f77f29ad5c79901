import numpy as np
import pytest

from gateway.core.voice_line import WINDOW_S, CallerSound
from gateway.media.worker import hearing as hearing_module
from gateway.media.worker.hearing import WINDOW_BYTES, Hearing
from gateway.media.worker.judge import MAX_NUM_ROUNDS, Judge

SILENCE = bytes(WINDOW_BYTES)


def window(number: int) -> bytes:
    return number.to_bytes(2, "little") * (WINDOW_BYTES // 2)


def heard(hearing: Hearing, probabilities: list[float], first: int = 0) -> list[CallerSound]:
    """What comes of windows that are judged one by one."""
    sounds = []
    for number, probability in enumerate(probabilities, first):
        hearing.add(window(number), number * WINDOW_S)
        hearing.judged(hearing.window(), probability)
        sound = hearing.heard()
        assert sound is not None
        sounds.append(sound)
    return sounds


def test_windows_are_told_without_gap_and_sound_only_around_speech() -> None:
    sounds = heard(Hearing(), [0.0] * 30 + [0.9, 0.9])
    assert [sound.start_s for sound in sounds] == pytest.approx([n * WINDOW_S for n in range(32)])
    assert all(sound.pcm == b"" for sound in sounds[:30])
    # What led up to the speech ends where the stretch does.
    assert sounds[30].pcm == b"".join(map(window, range(20, 31)))
    assert sounds[31].pcm == window(31)


def test_sound_goes_on_through_pauses_and_ends_after_a_long_one() -> None:
    sounds = heard(Hearing(), [0.9] + [0.0] * 100)
    with_sound = [bool(sound.pcm) for sound in sounds]
    assert with_sound.index(False) * WINDOW_S == pytest.approx(2.5, abs=0.05)
    assert not any(with_sound[with_sound.index(False) :])


def test_several_windows_are_one_stretch() -> None:
    hearing = Hearing()
    hearing.add(window(1) + window(2) + b"\0\0", 7.0)
    hearing.judged(hearing.window(), 0.8)
    hearing.judged(hearing.window(), 0.7)
    assert not hearing.has_window
    assert hearing.heard() == CallerSound(0.0, (0.8, 0.7), window(1) + window(2), 7.0)
    assert hearing.heard() is None


def test_a_backlog_drops_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing_module, "MAX_BACKLOG_BYTES", 2 * WINDOW_BYTES)
    hearing = Hearing()
    hearing.add(window(1) + window(2) + window(3), 0.0)
    assert hearing.window() == window(2)
    assert hearing.num_dropped_bytes == WINDOW_BYTES


def test_noise_is_judged_and_silence_is_not_asked_about() -> None:
    judge = Judge(max_num_lines=2)
    quiet, noisy = Hearing(), Hearing()
    listeners = [judge.enter(quiet), judge.enter(noisy)]
    with pytest.raises(IndexError):
        judge.enter(Hearing())
    noise = np.random.default_rng(1).normal(0, 300, WINDOW_BYTES // 2 * 40).astype("<i2").tobytes()
    noisy.add(noise, 0.0)
    quiet.add(SILENCE * 3, 0.0)
    judge.judge(listeners)
    silent, noised = quiet.heard(), noisy.heard()
    assert silent is not None
    assert silent.speech == (0.0, 0.0, 0.0)
    assert noised is not None
    assert len(noised.speech) == MAX_NUM_ROUNDS
    assert 0.0 < max(noised.speech) < 0.3
    judge.leave(listeners[0])
    judge.enter(Hearing())
