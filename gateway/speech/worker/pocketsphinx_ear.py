"""pocketsphinx with the language model and dictionary of one assistant's callers.

The acoustic model is the English one that its package brings. It compares sound with what it knows
after taking off the cepstral mean, which is the voice's, the microphone's and the line's; within an
utterance that mean stands still. A hearing has a decoder of its own while it lasts; decoders are
kept and remember nobody: what they learn of a caller the site keeps.
"""

from __future__ import annotations

import importlib.util
from math import exp, log
from operator import mul
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.core.errors import SetupError
from gateway.core.voice_line import HEARD_HZ
from gateway.speech.port import Heard, SpeechGrade, TimedWord
from gateway.speech.worker.port import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pocketsphinx import Decoder

LANGUAGE: Final = "language.lm.bin"
DICTIONARY: Final = "words.dict"
MEND: Final = "pip install 'firsthop[voice]'"
_FRAMES_PER_S = 100
_FRAME_SAMPLES = HEARD_HZ // _FRAMES_PER_S
_LEAST_RATIO = 31.6
"""15 dB."""
USUAL_CALLER: Final = "52.57,2.27,7.37,19.87,-1.83,0.93,2.37,-9.47,-2.73,-6.90,7.23,0.37,2.73"
"""The cepstral mean of the speakers whom `loadtests.hearing_confidence` learns from: what a
caller's own is most probably like. A hearing does not begin with it, although more words would be
right: short replies in loud noise would then be heard as words, too, with confidence."""
_GETTING_USED_S: Final = 1.6
"""Of a new caller's sound his own mean is taken, and the sound decoded again with it. The caller
still speaks then, or has said so little that few words are lost."""
_USUAL_FRAMES, _DECODER_FRAMES = 100, 500
"""What the usual mean counts against the caller's here, and in the decoder (its CMN_WIN)."""
_LEAST_POSTERIOR, _LEAST_SCORE, _MAX_TOTAL = 1e-4, 1e-30, 30.0
_CONFIDENCE_WEIGHTS: Final = (1.969, 14.417, 1.186, 5.831)
"""Of what `evidence` returns."""
_LANGUAGE_WEIGHT = 4.5
"""Of the language model against the sound; 6.5, the package's own, errs more (benchmark page)."""


class PocketsphinxEar:
    """A recogniser with one decoder for each of `max_num_hearings`."""

    grade = SpeechGrade.DEMONSTRATION

    def __init__(self, directory: Path, *, max_num_hearings: int) -> None:
        if importlib.util.find_spec("pocketsphinx") is None:
            raise SetupError(f"pocketsphinx is not installed; {MEND}")
        for name in (LANGUAGE, DICTIONARY):
            if not (directory / name).is_file():
                raise SetupError(
                    f"{directory} has no {name}; name a directory with {LANGUAGE} and {DICTIONARY} "
                    "as speech.recogniser_directory"
                )
        self.name = f"pocketsphinx {directory.parent.name}"
        self._free = [_decoder(directory) for _ in range(max_num_hearings)]
        self._nobody = self._free[0].get_cmn()

    def begin(self, caller: str) -> PocketsphinxHearing:
        """Begin a hearing. Raises EngineFailed when every decoder is in use.

        `caller` is the cepstral mean of the caller's sound.
        """
        if not self._free:
            raise EngineFailed("every decoder of the recogniser is in use")
        return PocketsphinxHearing(self._free.pop(), self._free, caller, self._nobody)


def stands_out(sound: bytes) -> bool:
    """Whether speech is 15 dB above what is between it.

    In more noise than that the mean would be the noise's, which with it is heard as words.
    """
    samples = np.frombuffer(sound, "<i2").astype(np.float32)
    frames = samples[: len(samples) // _FRAME_SAMPLES * _FRAME_SAMPLES].reshape(-1, _FRAME_SAMPLES)
    quiet, loud = np.percentile(np.mean(frames**2, axis=1), (10, 90))
    return bool(loud > _LEAST_RATIO * max(1.0, quiet))


def caller_mean(seen: str, begun: str, num_frames: int) -> str:
    """A new caller's mean: his own over so many frames, and 1 s of the usual caller's.

    That keeps the few vowels of a beginning from passing for a voice. `seen` is the decoder's,
    which weighs the mean it was begun with as 5 s of sound.
    """
    share = num_frames / (num_frames + _USUAL_FRAMES)
    gain = (num_frames + _DECODER_FRAMES) / num_frames
    means = zip(*(map(float, one.split(",")) for one in (USUAL_CALLER, seen, begun)), strict=True)
    return ",".join(
        f"{usual + share * (first + gain * (now - first) - usual):.2f}"
        for usual, now, first in means
    )


def evidence(posteriors: Sequence[float], score: float, sound_s: float) -> tuple[float, ...]:
    """What tells right results from wrong ones.

    The words' posteriors in the lattice of what else was considered; the path's likelihood a
    second, against the best sound at each instant, which tells where nothing else was: noise that
    is like one word only; the number of words; 1.
    """
    mean_log_posterior = sum(log(max(one, _LEAST_POSTERIOR)) for one in posteriors) / len(
        posteriors
    )
    fit = log(max(score, _LEAST_SCORE)) / sound_s
    return mean_log_posterior, fit, log(len(posteriors)), 1.0


def chance_of_being_right(evidence: Sequence[float]) -> float:
    """The confidence in a result, 0 to 1: a logistic regression on speech in quiet and in noise.

    `loadtests/hearing_confidence.py` has learnt it and says how well it tells them apart.
    """
    total = sum(map(mul, _CONFIDENCE_WEIGHTS, evidence))
    return 1.0 / (1.0 + exp(-max(-_MAX_TOTAL, min(_MAX_TOTAL, total))))


class PocketsphinxHearing:
    """One hearing in one decoder."""

    def __init__(self, decoder: Decoder, free: list[Decoder], caller: str, nobody: str) -> None:
        """`nobody` is the mean to begin with where `caller` is empty."""
        self.caller = ""
        self.evidence: tuple[float, ...] = ()
        """After `finish`: what the confidence rests on; empty without words."""
        self._decoder = decoder
        self._free = free
        self._unknown: bytearray | None = None if caller else bytearray()
        """All sound so far of a caller whose mean is not known yet."""
        self._nobody = nobody
        self._decoder.set_cmn(caller or nobody)
        self._decoder.start_utt()

    def feed(self, pcm: bytes) -> None:
        """More sound: int16, mono, 16 kHz."""
        self._decoder.process_raw(pcm, no_search=False, full_utt=False)
        if self._unknown is not None:
            self._unknown += pcm
            if len(self._unknown) >= _GETTING_USED_S * 2 * HEARD_HZ:
                self._get_used()

    def _get_used(self) -> None:
        """Decode again what there is of a new caller's sound, with his own mean."""
        sound, self._unknown = bytes(self._unknown or b""), None
        if not stands_out(sound):
            return
        num_frames = len(sound) // (2 * _FRAME_SAMPLES)
        own = caller_mean(self._decoder.get_cmn(update=True), self._nobody, num_frames)
        self._decoder.end_utt()
        self._decoder.set_cmn(own)
        self._decoder.start_utt()
        self._decoder.process_raw(sound, no_search=False, full_utt=False)

    def so_far(self) -> Heard:
        """The best words until now."""
        found = self._decoder.hyp()
        return Heard(found.hypstr if found else "")

    def finish(self) -> Heard:
        """The best path through all that was heard, with the words' times."""
        self._decoder.end_utt()
        found = self._decoder.hyp()
        segments = list(self._decoder.seg()) if found else []
        said = [segment for segment in segments if segment.word[0] not in "<["]
        words = tuple(
            TimedWord(
                segment.word.partition("(")[0],
                segment.start_frame / _FRAMES_PER_S,
                (segment.end_frame + 1) / _FRAMES_PER_S,
            )
            for segment in said
        )
        self.caller = self._decoder.get_cmn(update=True) if words else ""
        self._free.append(self._decoder)
        if not said:
            return Heard("", is_final=True)
        sound_s = (segments[-1].end_frame + 1) / _FRAMES_PER_S
        self.evidence = evidence([segment.prob for segment in said], found.score, sound_s)
        confidence = chance_of_being_right(self.evidence)
        return Heard(found.hypstr, is_final=True, confidence=confidence, words=words)

    def drop(self) -> None:
        """End without a result."""
        self._decoder.end_utt()
        self._free.append(self._decoder)


def _decoder(directory: Path) -> Decoder:
    from pocketsphinx import Config, Decoder

    return Decoder(
        Config(
            lm=str(directory / LANGUAGE),
            dict=str(directory / DICTIONARY),
            lw=_LANGUAGE_WEIGHT,
            samprate=float(HEARD_HZ),
            # The second pass over the whole utterance takes 70 to 150 ms after its end and
            # corrects few words; without it the result is there in 5 to 20 ms.
            fwdflat=False,
            loglevel="FATAL",
        )
    )
