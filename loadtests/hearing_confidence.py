"""How well does the default recogniser know when it has misheard?

Requests and replies are spoken by flite and espeak-ng in quiet, in white noise and in other
people's talk, and recognised. A result is right when at most a fifth of its words is wrong, and
wrong from a half on. Reported: how many right and wrong results lie below the confidence at which a
session asks again (`core.certainty`), for the speakers that the weights were learnt from and for
others, with 95 % Wilson intervals.

    python -m loadtests.hearing_confidence [--utterances 600] [--seed 1] [--learn]

`--learn` prints what `pocketsphinx_ear` knows of the first group, weights and the usual caller, and
saves nothing.
Nothing is timed. Synthetic voices say nothing about people. 600 utterances take some ten minutes of
one core. Needs flite, espeak-ng and the extra `voice`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from gateway.config.speech import SHIPPED_HEARING
from gateway.core.certainty import Understanding
from gateway.speech.worker.pocketsphinx_ear import PocketsphinxEar
from loadtests.command_line import at_least, parser_for
from loadtests.facts import conclude, verdict
from loadtests.noisy_speech import Noise, spoken
from models.subscriber_care.cases import read_cases
from models.subscriber_care.findings import wilson
from models.subscriber_care.format import Heard
from models.subscriber_care.hearing import said_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEARNT_FROM: Final = ("flite:slt", "flite:rms", "espeak-ng:en-us")
HELD_OUT: Final = ("flite:awb", "espeak-ng:en-us+f3", "espeak-ng:en-gb")
_SNRS_DB: Final = (None, None, None, 20, 10, 5)
_REPLIES: Final = ("yes", "yes please", "no", "no thanks", "no don't do that", "monday", "fifty")
_RIGHT, _WRONG = 0.2, 0.5
_NUM_OF_SPEAKER: Final = 12
"""Sentences after which the recogniser knows a speaker."""
_MAX_RIGHT_REJECTED: Final = 0.05


class Sample(NamedTuple):
    """One result: what it rested on, how sure it was, and how much of it is wrong."""

    voice: str
    evidence: tuple[float, ...]
    confidence: float
    word_errors: float


def samples(num: int, chance: np.random.Generator) -> list[Sample]:
    """Drawn by chance; those without words are left out, since a session asks again anyway."""
    ear = PocketsphinxEar(SHIPPED_HEARING, max_num_hearings=1)
    requests = [c.turns[-1].text for c in read_cases() if isinstance(c.turns[-1], Heard)]
    noise = Noise(chance, [spoken(text, LEARNT_FROM[0]) for text in requests[:12]])
    found = []
    for number in range(num):
        texts: Sequence[str] = requests if number % 2 else _REPLIES
        text = texts[int(chance.integers(len(texts)))]
        voice = (*LEARNT_FROM, *HELD_OUT)[number % 6]
        snr_db = _SNRS_DB[int(chance.integers(len(_SNRS_DB)))]
        sound = spoken(text, voice)
        if snr_db is not None:
            sound = noise.over(sound, snr_db, is_talk=bool(chance.integers(2)))
        hearing = ear.begin("")
        hearing.feed((np.clip(sound, -1.0, 1.0) * 32767).astype("<i2").tobytes())
        heard = hearing.finish()
        if heard.confidence is not None:
            errors = word_errors(said_words(text).split(), heard.text.split())
            found.append(Sample(voice, hearing.evidence, heard.confidence, errors))
    return found


def word_errors(said: Sequence[str], heard: Sequence[str]) -> float:
    """The word error rate: words put in, left out or replaced, of those that were said."""
    row = list(range(len(heard) + 1))
    for at, word in enumerate(said, 1):
        before, row[0] = row[0], at
        for other, instead in enumerate(heard, 1):
            costs = row[other] + 1, row[other - 1] + 1, before + (word != instead)
            before, row[other] = row[other], min(costs)
    return row[-1] / len(said)


def figures(found: Sequence[Sample]) -> dict[str, Any]:
    """How many right and wrong results a session would ask about."""
    groups = {
        "right": [one for one in found if one.word_errors <= _RIGHT],
        "wrong": [one for one in found if one.word_errors >= _WRONG],
    }
    rates = {}
    for name, group in groups.items():
        num_asked = sum(not Understanding().is_clear(one.confidence) for one in group)
        bounds = [round(one, 4) for one in wilson(num_asked, len(group))] if group else None
        ratio = round(num_asked / len(group), 4) if group else None
        rates[name] = {"n": len(group), "asked_again_ratio": ratio, "ci95": bounds}
    return rates


def weights(found: Sequence[Sample]) -> NDArray[np.float64]:
    """A logistic regression of right against wrong, by gradient descent on scaled evidence."""
    clear = [one for one in found if not _RIGHT < one.word_errors < _WRONG]
    features = np.array([one.evidence for one in clear])
    is_right = np.array([one.word_errors <= _RIGHT for one in clear])
    middle, spread = features.mean(axis=0), features.std(axis=0)
    middle[-1], spread[-1] = 0.0, 1.0
    scaled, fitted = (features - middle) / spread, np.zeros(features.shape[1])
    for _ in range(5000):
        chances = 1.0 / (1.0 + np.exp(-scaled @ fitted))
        fitted -= 0.1 * (scaled.T @ (chances - is_right) / len(clear) + 0.003 * fitted)
    raw: NDArray[np.float64] = fitted / spread
    raw[-1] -= float(raw[:-1] @ middle[:-1])
    return raw


def usual_caller() -> str:
    """The cepstral mean of the speakers to learn from, each after some sentences."""
    ear = PocketsphinxEar(SHIPPED_HEARING, max_num_hearings=1)
    requests = [c.turns[-1].text for c in read_cases() if isinstance(c.turns[-1], Heard)]
    means = []
    for voice in LEARNT_FROM:
        caller = ""
        for text in requests[:_NUM_OF_SPEAKER]:
            hearing = ear.begin(caller)
            hearing.feed((np.clip(spoken(text, voice), -1.0, 1.0) * 32767).astype("<i2").tobytes())
            hearing.finish()
            caller = hearing.caller or caller
        means.append([float(one) for one in caller.split(",")])
    return ",".join(f"{one:.2f}" for one in np.mean(means, axis=0))


def main() -> int:
    """Run it; save the result or print weights."""
    parser = parser_for("hearing_confidence", __doc__)
    parser.add_argument("--utterances", type=at_least(1), default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learn", action="store_true", help="print weights, save nothing")
    args = parser.parse_args()
    found = samples(args.utterances, np.random.default_rng(args.seed))
    learnt = [one for one in found if one.voice in LEARNT_FROM]
    if args.learn:
        print(weights(learnt).round(3).tolist(), usual_caller(), figures(found))
        return 0
    rows = {
        "speakers_learnt_from": figures(learnt),
        "other_speakers": figures([one for one in found if one.voice in HELD_OUT]),
    }
    asked = rows["other_speakers"]["right"]["asked_again_ratio"] or 0.0
    missed = [f"{asked:.1%} of right results asked about"] if asked > _MAX_RIGHT_REJECTED else []
    command = f"python -m loadtests.hearing_confidence --utterances {args.utterances}"
    body = {"command": f"{command} --seed {args.seed}", **rows, **verdict([], missed=missed)}
    return conclude("hearing_confidence", args.seed, body)


if __name__ == "__main__":
    sys.exit(main())
