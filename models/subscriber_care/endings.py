"""What whole requests of the shipped assistant's callers look like, for turn-taking.

    python -m models.subscriber_care.endings          # learns them from the data generator
    python -m models.subscriber_care.endings --report # how they judge the development cases

Every utterance of a generated dialogue is whole, and each of its beginnings is not: a logistic
regression over `gateway.core.completeness.features_of` learns to tell them apart. Its two limits
come from dialogues it has not seen. Some beginnings are whole requests all the same ("pay my bill"
of "pay my bill please"), so no judgement can be perfect.
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

HERE = Path(__file__).parent
ENDINGS_FILE = HERE / "hearing" / "endings.json"
_CASES_FILE = HERE / "dev_cases.jsonl"

_SEED = 9_000_000
_NUM_DIALOGUES = 40_000
_NUM_HELD_OUT = 600
_MIN_TIMES = 40
"""A feature seen more seldom says nothing."""
_KEPT_BEGINNINGS = 0.6
_NUM_EPOCHS = 4
_BATCH = 256
_RATE = 0.15
_SPARSITY = 4e-6
_LEAST_WEIGHT = 0.05
_FALSE_COMPLETE = 0.033
"""Of all beginnings of held-out utterances, so many are taken for whole."""
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
        turns = dialogue(seed, index)
        for before, turn in pairwise((None, *turns)):
            if isinstance(turn, Heard) and (words := tuple(words_of(turn.text))):
                found.add(Utterance(words, isinstance(before, Said) and "?" in before.text))
    return sorted(found)


def _examples(said: Sequence[Utterance], rng: Random) -> Iterator[tuple[list[str], bool]]:
    """Features of utterances and of most of their beginnings; whether it is whole."""
    for words, answers in said:
        for num_words in range(1, len(words) + 1):
            is_whole = num_words == len(words)
            if is_whole or rng.random() < _KEPT_BEGINNINGS:
                yield list(features_of(words[:num_words], answers=answers)), is_whole


def learn(said: Sequence[Utterance], rng: Random) -> dict[str, float]:
    """Fit the weights, by AdaGrad with an L1 penalty."""
    examples = list(_examples(said, rng))
    times = Counter(feature for features, _ in examples for feature in features)
    index = {name: at for at, name in enumerate(sorted(n for n in times if times[n] >= _MIN_TIMES))}
    rows = [
        (np.array([index[one] for one in features if one in index], dtype=np.intp), is_whole)
        for features, is_whole in examples
    ]
    weights, squares = np.zeros(len(index)), np.full(len(index), 1e-6)
    for _ in range(_NUM_EPOCHS):
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
    rows: Sequence[tuple[NDArray[np.intp], bool]],
) -> None:
    """Move the weights by one batch: the places of each example's features, whether it is whole."""
    places = np.concatenate([own for own, _ in rows])
    example = np.repeat(np.arange(len(rows)), [len(own) for own, _ in rows])
    scores = np.bincount(example, weights[places], len(rows))
    chances = 1.0 / (1.0 + np.exp(-np.clip(scores, -30.0, 30.0)))
    slopes = chances - np.array([is_whole for _, is_whole in rows])
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
        score(words[:num_words], answers)
        for words, answers in held_out
        for num_words in range(1, len(words))
    ]
    return Endings(
        weights,
        complete_from=round(float(np.quantile(beginnings, 1.0 - _FALSE_COMPLETE)), 2),
        incomplete_below=round(float(np.quantile(whole, _FALSE_INCOMPLETE)), 2),
    )


def dev_utterances() -> list[tuple[str, bool]]:
    """The callers' words of the development cases, which nobody generated."""
    found = []
    for line in _CASES_FILE.read_text(encoding="utf-8").splitlines():
        before = ""
        for turn in json.loads(line)["turns"]:
            if "user" in turn:
                found.append((turn["user"], "?" in before))
            before = turn.get("assistant", "")
    return found


def judged(endings: Endings, said: Sequence[tuple[str, bool]]) -> tuple[Counter[Completeness], ...]:
    """How whole utterances are judged, and how their beginnings are."""
    whole, beginnings = Counter[Completeness](), Counter[Completeness]()
    for text, answers in said:
        words = [word for word in text.split() if words_of(word)]
        whole[judge_completeness(" ".join(words), endings, answers=answers)] += 1
        for num_words in range(1, len(words)):
            beginning = " ".join(words[:num_words])
            beginnings[judge_completeness(beginning, endings, answers=answers)] += 1
    return whole, beginnings


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
    for name, counts in zip(
        ("whole", "beginnings"), judged(endings, dev_utterances()), strict=True
    ):
        shares = {one.value: round(counts[one] / counts.total(), 3) for one in Completeness}
        print(f"{name}: {shares}")


if __name__ == "__main__":
    main()
