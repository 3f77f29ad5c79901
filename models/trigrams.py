"""A trigram language model in ARPA format, for recognisers.

Interpolated Witten-Bell smoothing (Witten and Bell 1991; Chen and Goodman 1998, section 2.6): after
a history seen N times with T different words after it, a share T / (N + T) of the probability is
the lower order's. N-grams seen less often than a cut-off are left out, their share going there too,
so that every history's probabilities still sum to one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import log10
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

BEGIN: Final = "<s>"
END: Final = "</s>"
_ORDER = 3
_MIN_TIMES = {1: 1, 2: 1, 3: 3}
"""Of bigrams and trigrams kept; a trigram costs some 30 bytes in the file."""

_Gram: TypeAlias = tuple[str, ...]


def arpa(sentences: Mapping[str, int]) -> str:
    """Return the model of sentences of blank-separated words and how often each was said."""
    counts = _counts(sentences)
    probability, backoff = estimate(counts)
    grams = {n: sorted(gram for gram in probability if len(gram) == n) for n in (1, 2, 3)}
    lines = ["\\data\\", *(f"ngram {n}={len(grams[n])}" for n in grams)]
    for n, of_order in grams.items():
        lines += ["", f"\\{n}-grams:"]
        for gram in of_order:
            share = f" {log10(backoff[gram]):.3f}" if gram in backoff and n < _ORDER else ""
            logp = log10(probability[gram]) if probability[gram] > 0 else -99
            lines.append(f"{logp:.3f} {' '.join(gram)}{share}")
    return "\n".join([*lines, "", "\\end\\", ""])


def estimate(counts: Mapping[_Gram, int]) -> tuple[dict[_Gram, float], dict[_Gram, float]]:
    """Return the probability of each kept n-gram's last word, and each history's share below it."""
    seen: defaultdict[_Gram, int] = defaultdict(int)
    kinds: defaultdict[_Gram, int] = defaultdict(int)
    kept: defaultdict[_Gram, list[_Gram]] = defaultdict(list)
    for gram, times in counts.items():
        seen[gram[:-1]] += times
        kinds[gram[:-1]] += 1
        if times >= _MIN_TIMES[len(gram)]:
            kept[gram[:-1]].append(gram)
    probability: dict[_Gram, float] = {}
    backoff: dict[_Gram, float] = {}
    uniform = 1 / max(1, kinds[()])
    for history in sorted(kept, key=len):
        whole = seen[history] + kinds[history]
        below = 1 - sum(counts[gram] for gram in kept[history]) / whole
        backoff[history] = below
        for gram in kept[history]:
            lower = _probability(gram[1:], probability, backoff) if history else uniform
            probability[gram] = counts[gram] / whole + below * lower
    probability[(BEGIN,)] = 0.0  # never said, only gone on from
    return probability, backoff


def _probability(
    gram: _Gram, probability: Mapping[_Gram, float], backoff: Mapping[_Gram, float]
) -> float:
    if gram in probability:
        return probability[gram]
    return backoff.get(gram[:-1], 1.0) * _probability(gram[1:], probability, backoff)


def _counts(sentences: Mapping[str, int]) -> Counter[_Gram]:
    counts: Counter[_Gram] = Counter()
    for sentence, times in sentences.items():
        words = (BEGIN, *sentence.split(), END)
        for end in range(2, len(words) + 1):
            for length in range(1, min(_ORDER, end) + 1):
                counts[words[end - length : end]] += times
    return counts
