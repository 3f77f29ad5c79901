from __future__ import annotations

from random import Random

import numpy as np
import pytest

from gateway.speech.resample import Resampler

RATES = [
    *((8_000, 24_000), (16_000, 24_000), (22_050, 24_000), (44_100, 24_000), (24_000, 16_000)),
    *((24_000, 8_000), (8_000, 16_000)),
]


def tone(hz: float, rate_hz: int) -> np.ndarray:
    return 10_000 * np.sin(2 * np.pi * hz * np.arange(rate_hz) / rate_hz)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_a_tone_stays_where_and_as_loud_as_it_was(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    out = resampler.feed(tone(1000, from_hz).astype("<i2").tobytes()) + resampler.flush()
    made = np.frombuffer(out, "<i2")

    assert len(made) == to_hz
    assert np.abs(made - tone(1000, to_hz))[100:-100].max() < 3


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_pieces_make_the_same_sound_as_the_whole(from_hz: int, to_hz: int) -> None:
    rng = Random(from_hz)
    pcm = np.random.default_rng(1).integers(-9000, 9000, from_hz).astype("<i2").tobytes()
    whole, pieces = Resampler(from_hz, to_hz), Resampler(from_hz, to_hz)
    expected = whole.feed(pcm) + whole.flush()

    out, at = b"", 0
    while at < len(pcm):
        end = at + 2 * rng.randrange(0, 900 if at > 100 else 5)  # few, before any can come out
        out += pieces.feed(pcm[at:end])
        at = end

    made = np.frombuffer(out + pieces.flush(), "<i2").astype(int)
    assert np.abs(made - np.frombuffer(expected, "<i2")).max() <= 1  # sums in another order


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_pieces_may_be_empty_or_of_one_sample(from_hz: int, to_hz: int, is_live: bool) -> None:
    pcm = tone(1000, from_hz).astype("<i2").tobytes()[:4000]
    whole = Resampler(from_hz, to_hz, is_live=is_live).feed(pcm)
    resampler, out = Resampler(from_hz, to_hz, is_live=is_live), b""
    for at in range(0, len(pcm), 2):
        out += resampler.feed(pcm[at : at + 2]) + resampler.feed(b"")
    made, expected = (np.frombuffer(sound, "<i2").astype(int) for sound in (out, whole))
    assert len(made) == len(expected)
    assert np.abs(made - expected).max() <= 1


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 16_000), (24_000, 8_000)])
def test_what_the_lower_rate_cannot_hold_is_taken_away(from_hz: int, to_hz: int) -> None:
    out = Resampler(from_hz, to_hz).feed(tone(0.625 * to_hz, from_hz).astype("<i2").tobytes())

    assert np.abs(np.frombuffer(out, "<i2"))[100:].max() < 30


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8_000, 16_000), (24_000, 16_000), (24_000, 8_000)])
def test_live_sound_comes_out_in_full_length_and_a_little_later(from_hz: int, to_hz: int) -> None:
    resampler, out = Resampler(from_hz, to_hz, is_live=True), b""
    pcm = tone(1000, from_hz).astype("<i2").tobytes()
    frame = 2 * from_hz // 50
    for at in range(0, len(pcm), frame):
        out += resampler.feed(pcm[at : at + frame])
        assert len(out) * from_hz == (at + frame) * to_hz

    made = np.frombuffer(out, "<i2")
    late = 16 * to_hz // min(from_hz, to_hz)
    assert np.abs(made[late:] - tone(1000, to_hz)[: len(made) - late])[200:].max() < 3
