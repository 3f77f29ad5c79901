"""What whole requests of the shipped assistant's callers look like, for turn-taking.

    python -m models.subscriber_care.endings          # learns them from the data generator
    python -m models.subscriber_care.endings --report # how they judge the development cases

Every utterance of a generated dialogue is whole, and each of its beginnings is not: a logistic
regression over `gateway.core.completeness.features_of` learns to tell them apart, of words as a
recogniser writes them, misheard ones among them. A pause falls anywhere in an utterance, so that
all the beginnings of one count as much as its end. The two limits come from dialogues that were not
learnt from. Some beginnings are whole requests all the same ("pay my bill" of "pay my bill
please"), so no judgement can be perfect.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from gateway.core.completeness import (
    Completeness,
    Endings,
    features_of,
    judge_completeness,
    words_of,
)
from models.subscriber_care.data.mix import dialogue
from models.subscriber_care.format import Heard, Said
from models.subscriber_care.hearing import said_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from models.subscriber_care.data.noise import Style

HERE = Path(__file__).parent
ENDINGS_FILE = HERE / "hearing" / "endings.json"
_CASES_FILE = HERE / "dev_cases.jsonl"

_SEED = 9_000_000
_NUM_DIALOGUES = 40_000
_NUM_HELD_OUT = 600
_STYLES: tuple[Style, ...] = ("plain", "transcript")
_MIN_TIMES = 20
"""A feature seen more seldom says nothing."""
_MAX_BEGINNINGS = 5
"""Of each utterance, drawn by chance."""
_BATCH = 256
_RATE = 0.15
_SPARSITY = 1e-4
_LEAST_WEIGHT = 0.05
_FALSE_COMPLETE = 0.035
"""Of pauses inside held-out utterances, so many follow what is taken for whole."""
_FALSE_INCOMPLETE = 0.05
"""Of whole ones, so many for beginnings."""


class Utterance(NamedTuple):
    """What a caller says, and whether the agent had asked something."""

    words: tuple[str, ...]
    answers: bool


def utterances(seed: int, num_dialogues: int) -> list[Utterance]:
    """The different utterances of generated dialogues, in a stable order."""
    found = set[Utterance]()
    for index in range(num_dialogues):
        turns = dialogue(seed, index, style=_STYLES[index % len(_STYLES)])
        for before, turn in pairwise((None, *turns)):
            if isinstance(turn, Heard) and (words := tuple(words_of(said_words(turn.text)))):
                found.add(Utterance(words, isinstance(before, Said) and "?" in before.text))
    return sorted(found)


class _Example(NamedTuple):
    features: NDArray[np.intp]
    """Places in the vector of weights."""
    is_whole: bool
    weight: float


def _examples(
    said: Sequence[Utterance], rng: Random
) -> Iterator[tuple[list[str], tuple[bool, float]]]:
    """Features of utterances and of their beginnings; whether it is whole, how much it counts."""
    for words, answers in said:
        num_kept = min(_MAX_BEGINNINGS, len(words) - 1)
        for num_words in rng.sample(range(1, len(words)), num_kept):
            yield list(features_of(words[:num_words], answers=answers)), (False, 1.0 / num_kept)
        yield list(features_of(words, answers=answers)), (True, 1.0)


def learn(said: Sequence[Utterance], rng: Random) -> dict[str, float]:
    """Fit the weights, by AdaGrad with an L1 penalty, in one pass: more passes learn by heart."""
    examples = list(_examples(said, rng))
    times = Counter(feature for features, _ in examples for feature in features)
    index = {name: at for at, name in enumerate(sorted(n for n in times if times[n] >= _MIN_TIMES))}
    rows = [
        _Example(np.array([index[one] for one in features if one in index], np.intp), *judgement)
        for features, judgement in examples
    ]
    weights, squares = np.zeros(len(index)), np.full(len(index), 1e-6)
    rng.shuffle(rows)
    for at in range(0, len(rows), _BATCH):
        _step(weights, squares, rows[at : at + _BATCH])
    return {
        name: round(float(weights[at]), 2)
        for name, at in index.items()
        if abs(weights[at]) >= _LEAST_WEIGHT
    }


def _step(
    weights: NDArray[np.float64],
    squares: NDArray[np.float64],
    rows: Sequence[_Example],
) -> None:
    """Move the weights by one batch."""
    places = np.concatenate([row.features for row in rows])
    example = np.repeat(np.arange(len(rows)), [len(row.features) for row in rows])
    scores = np.bincount(example, weights[places], len(rows))
    chances = 1.0 / (1.0 + np.exp(-np.clip(scores, -30.0, 30.0)))
    slopes = (chances - np.array([row.is_whole for row in rows])) * [row.weight for row in rows]
    touched, back = np.unique(places, return_inverse=True)
    change = np.bincount(back, slopes[example], len(touched))
    change += _SPARSITY * len(rows) * np.sign(weights[touched])
    squares[touched] += change * change
    weights[touched] -= _RATE * change / np.sqrt(squares[touched])


def with_limits(weights: dict[str, float], held_out: Sequence[Utterance]) -> Endings:
    """The endings with limits that keep the two kinds of errors rare."""

    def score(words: Sequence[str], answers: bool) -> float:
        return sum(weights.get(one, 0.0) for one in features_of(words, answers=answers))

    whole = [score(words, answers) for words, answers in held_out]
    beginnings = [
        (score(words[:num_words], answers), 1.0 / (len(words) - 1))
        for words, answers in held_out
        for num_words in range(1, len(words))
    ]
    return Endings(
        weights,
        complete_from=round(_exceeded_by(beginnings, _FALSE_COMPLETE), 2),
        incomplete_below=round(float(np.quantile(whole, _FALSE_INCOMPLETE)), 2),
    )


def _exceeded_by(weighted: Sequence[tuple[float, float]], ratio: float) -> float:
    """What so much of the weight lies above. `weighted`: values, each with its weight."""
    values, weights = np.array(sorted(weighted, reverse=True)).T
    at = np.searchsorted(np.cumsum(weights), ratio * weights.sum())
    return float(values[at])


def dev_utterances() -> list[tuple[str, bool]]:
    """The callers' words of the development cases, which nobody generated, as they are said."""
    found = []
    for line in _CASES_FILE.read_text(encoding="utf-8").splitlines():
        before = ""
        for turn in json.loads(line)["turns"]:
            if "user" in turn:
                found.append((said_words(turn["user"]), "?" in before))
            before = turn.get("assistant", "")
    return found


def judged(
    endings: Endings, said: Sequence[tuple[str, bool]]
) -> tuple[dict[Completeness, float], ...]:
    """How whole utterances are judged, and what is said before a pause in one: shares of all."""
    whole, beginnings = Counter[Completeness](), dict.fromkeys(Completeness, 0.0)
    halting = [text for text, _ in said if " " in text]
    for text, answers in said:
        words = text.split()
        whole[judge_completeness(text, endings, answers=answers)] += 1
        for num_words in range(1, len(words)):
            beginning = " ".join(words[:num_words])
            kind = judge_completeness(beginning, endings, answers=answers)
            beginnings[kind] += 1.0 / (len(words) - 1) / len(halting)
    return {kind: whole[kind] / len(said) for kind in Completeness}, beginnings


def main() -> None:
    """Learn and write, or report."""
    parser = argparse.ArgumentParser(description="What whole requests look like.")
    parser.add_argument("--report", action="store_true", help="judge the development cases only")
    if not parser.parse_args().report:
        rng = Random(_SEED)
        said = utterances(_SEED, _NUM_DIALOGUES)
        rng.shuffle(said)
        held_out = utterances(_SEED + 1, _NUM_HELD_OUT)
        endings = with_limits(learn(said, rng), held_out)
        text = msgspec.json.format(msgspec.json.encode(endings), indent=1)
        ENDINGS_FILE.parent.mkdir(exist_ok=True)
        ENDINGS_FILE.write_bytes(text + b"\n")
    endings = msgspec.json.decode(ENDINGS_FILE.read_bytes(), type=Endings)
    print(f"{len(endings.weights)} weights, complete from {endings.complete_from}")
    judgements = judged(endings, dev_utterances())
    for name, shares in zip(("whole", "beginnings"), judgements, strict=True):
        print(f"{name}: { ({one.value: round(share, 3) for one, share in shares.items()}) }")


if __name__ == "__main__":
    main()
