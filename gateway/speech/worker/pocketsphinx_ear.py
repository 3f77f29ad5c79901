"""pocketsphinx with the language model and dictionary of one assistant's callers.

The acoustic model is the English one that its package brings. A hearing has a decoder of its own
while it lasts; decoders are kept and remember nobody: what they learn of a caller the site keeps.
"""

from __future__ import annotations

import importlib.util
from math import exp, log
from operator import mul
from typing import TYPE_CHECKING, Final

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

        `caller` is the cepstral mean of the caller's sound, which depends on voice and line; within
        one utterance the decoder does not adapt to it.
        """
        if not self._free:
            raise EngineFailed("every decoder of the recogniser is in use")
        decoder = self._free.pop()
        decoder.set_cmn(caller or self._nobody)
        decoder.start_utt()
        return PocketsphinxHearing(decoder, self._free)


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

    def __init__(self, decoder: Decoder, free: list[Decoder]) -> None:
        self.caller = ""
        self.evidence: tuple[float, ...] = ()
        """After `finish`: what the confidence rests on; empty without words."""
        self._decoder = decoder
        self._free = free

    def feed(self, pcm: bytes) -> None:
        """More sound: int16, mono, 16 kHz."""
        self._decoder.process_raw(pcm, no_search=False, full_utt=False)

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
