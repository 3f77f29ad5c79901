"""Draws the next token from logits.

Chance is counter-based: the noise of a candidate is a hash of (seed, position, token id). A draw
therefore depends neither on the batch nor on what was drawn before, and a stream that resumes in
another process draws what it would have drawn. The draw itself is the Gumbel-max trick: the
argmax of logits plus Gumbel noise is distributed as their softmax (Maddison et al. 2014,
arXiv 1411.0030).
"""

from __future__ import annotations

from collections import Counter
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gateway.core.errors import EngineFault
from gateway.core.generation import TokenLogprob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gateway.core.generation import Sampling

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_FIRST_NUCLEUS = 256  # candidates that usually hold the whole top-p nucleus
_COLDEST = 1e-6  # below it the likeliest token is certain, and logits over it might overflow
_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64: Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195
_ONE, _GOLDEN_WORD, _UNUSED_BITS = np.uint64(1), np.uint64(_GOLDEN), np.uint64(11)
_MIX_STEPS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST_SHIFT = np.uint64(31)


class Top(NamedTuple):
    """The largest logits of one row [k] or of several [n, k], largest first, ties by lower id."""

    values: Floats
    ids: Ints

    def rows(self, start: int, stop: int) -> Top:
        """Some of several rows."""
        return Top(self.values[start:stop], self.ids[start:stop])

    def row(self, index: int) -> Top:
        """One row of several."""
        return Top(self.values[index], self.ids[index])

    def only(self, kept: Mask) -> Top:
        """Those of one row that a bool[k] marks."""
        return Top(self.values[kept], self.ids[kept])


class Sampler:
    """The sampling state of one generation: its parameters and the tokens that count as seen."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self.sampling = sampling
        self._is_greedy = sampling.temperature < _COLDEST or sampling.top_k == 1
        self._generated: Counter[int] = Counter()
        self._prompt_ids: Ints = np.empty(0, np.int64)
        if sampling.repetition_penalty != 1.0:
            self._prompt_ids = np.unique(np.asarray(prompt, np.int64))
        self._bias_ids = np.fromiter(sampling.logit_bias.keys(), np.int64)
        self._biases = np.fromiter(sampling.logit_bias.values(), np.float32)
        self._penalises = (
            sampling.presence_penalty != 0.0
            or sampling.frequency_penalty != 0.0
            or sampling.repetition_penalty != 1.0
        )

    @property
    def is_plain_greedy(self) -> bool:
        """Whether the next token is the argmax of the logits as they are."""
        sampling = self.sampling
        return self._is_greedy and not self._penalises and not sampling.logit_bias

    def is_plain_top_k_within(self, reach: int) -> bool:
        """Whether the next token is drawn from so few of the largest logits as they are."""
        sampling = self.sampling
        return (
            0 < sampling.top_k <= reach
            and sampling.top_p == 1.0
            and sampling.min_p == 0.0
            and not (self._is_greedy or self._penalises or sampling.logit_bias)
        )

    def saw(self, token_id: int) -> None:
        """A token was generated, drawn here or resumed."""
        if self._penalises:
            self._generated[token_id] += 1

    def draw(self, logits: Floats, position: int, allowed: Mask | None) -> int:
        """The token at `position` (of the answer, from 0) for raw logits f32[V].

        `allowed` bool[V] is the grammar's mask. Raises EngineFault when nothing can be drawn.
        """
        shaped = self._shape(logits, allowed)
        likeliest = int(shaped.argmax())
        if not isfinite(shaped.item(likeliest)):
            raise EngineFault("no token can be drawn: the model's logits are not numbers")
        if self._is_greedy:
            return likeliest
        return self._drawn(*self._candidates(shaped), position)

    def draw_from(self, top: Top, position: int) -> int | None:
        """What `draw` gives, from the largest logits that are allowed; None if more are needed."""
        sampling = self.sampling
        count = 1 if self._is_greedy else sampling.top_k
        if self._penalises or sampling.logit_bias or not 0 < count <= len(top.ids):
            return None
        values, ids = top.values[:count], top.ids[:count]
        if not isfinite(values.item(0)):
            return None
        if self._is_greedy:
            return int(ids[0])
        likely = values > -np.inf
        return self._drawn(*self._narrowed(ids[likely], values[likely]), position)

    def _drawn(self, ids: Ints, scaled: NDArray[np.float64], position: int) -> int:
        return int(ids[(scaled + gumbel(self.sampling.seed, position, ids)).argmax()])

    def _shape(self, logits: Floats, allowed: Mask | None) -> Floats:
        """Mask, bias and penalties, in this order."""
        if allowed is None and not self._bias_ids.size and not self._penalises:
            return logits
        shaped = logits.copy() if allowed is None else np.where(allowed, logits, -np.inf)
        inside = self._bias_ids < len(shaped)
        shaped[self._bias_ids[inside]] += self._biases[inside]
        if self._penalises:
            self._penalise(shaped)
        return shaped

    def _penalise(self, shaped: Floats) -> None:
        sampling = self.sampling
        ids = np.fromiter(self._generated.keys(), np.int64)
        counts = np.fromiter(self._generated.values(), np.float32)
        if sampling.repetition_penalty != 1.0:
            seen = np.union1d(ids, self._prompt_ids)
            values = shaped[seen]
            theta = sampling.repetition_penalty
            shaped[seen] = np.where(values > 0, values / theta, values * theta)
        shaped[ids] -= sampling.presence_penalty + sampling.frequency_penalty * counts

    def _candidates(self, shaped: Floats) -> tuple[Ints, NDArray[np.float64]]:
        """The ids that may be drawn and their logits over the temperature."""
        sampling = self.sampling
        if 0 < sampling.top_k < len(shaped):
            ids = largest(shaped, sampling.top_k)
            ids = ids[shaped[ids] > -np.inf]
        else:
            ids = np.flatnonzero(shaped > -np.inf)
        return self._narrowed(ids, shaped[ids])

    def _narrowed(self, ids: Ints, values: Floats) -> tuple[Ints, NDArray[np.float64]]:
        """What top-p and min-p leave of these ids, and their logits over the temperature."""
        sampling = self.sampling
        scaled = values.astype(np.float64) / sampling.temperature
        if sampling.top_p < 1.0:
            kept = nucleus(scaled, sampling.top_p)
            ids, scaled = ids[kept], scaled[kept]
        if sampling.min_p > 0.0:
            kept = np.flatnonzero(scaled >= scaled.max() + np.log(sampling.min_p))
            ids, scaled = ids[kept], scaled[kept]
        return ids, scaled


def largest(values: NDArray[np.floating], count: int) -> Ints:
    """Indices of the `count` largest values, largest first; ties go to the lower index."""
    if count < len(values):
        threshold = np.partition(values, len(values) - count)[len(values) - count]
        chosen = np.flatnonzero(values >= threshold)
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")][:count]


def nucleus(scaled: NDArray[np.float64], top_p: float) -> Ints:
    """Indices of the smallest set of likeliest candidates whose probability reaches `top_p`.

    Holtzman et al. 2019, arXiv 1904.09751. Sorts only as many as the nucleus needs.
    """
    total = log_sum_exp(scaled)
    count = min(_FIRST_NUCLEUS, len(scaled))
    while True:
        order = largest(scaled, count)
        mass = np.cumsum(np.exp(scaled[order] - total))
        if mass[-1] >= top_p or count == len(scaled):
            return order[: int(np.searchsorted(mass, top_p)) + 1]
        count = min(count * 8, len(scaled))


def draw_together(samplers: Sequence[Sampler], positions: Sequence[int], top: Top) -> list[int]:
    """What each sampler's `draw` gives, in one go; all are plain top-k and in reach of `top`."""
    counts = np.array([sampler.sampling.top_k for sampler in samplers])
    temperatures = np.array([sampler.sampling.temperature for sampler in samplers])
    width = int(counts.max())
    ids = top.ids[:, :width]
    scaled = top.values[:, :width].astype(np.float64) / temperatures[:, None]
    scaled[np.arange(width) >= counts[:, None]] = -np.inf
    streams = np.array(
        [_stream(s.sampling.seed, at) for s, at in zip(samplers, positions, strict=True)],
        np.uint64,
    )
    best = (scaled + _noise(streams[:, None], ids)).argmax(axis=1)
    chosen: list[int] = ids[np.arange(len(ids)), best].tolist()
    return chosen


def gumbel(seed: int, position: int, ids: Ints) -> NDArray[np.float64]:
    """Standard Gumbel noise f64[n] for candidate token ids i64[n]."""
    return _noise(np.uint64(_stream(seed, position)), ids)


def _stream(seed: int, position: int) -> int:
    return _mix_int(_mix_int(seed & _WORD) ^ ((position + 1) * _GOLDEN & _WORD))


def _noise(streams: np.uint64 | NDArray[np.uint64], ids: Ints) -> NDArray[np.float64]:
    """Standard Gumbel noise for each id in its stream."""
    words = ids.astype(np.uint64)
    # In place and with constants made once: of so few candidates the calls are what takes time.
    words += _ONE
    words *= _GOLDEN_WORD
    words = np.bitwise_xor(words, streams)
    _mix(words)
    words >>= _UNUSED_BITS
    # The 53 high bits, centred in their interval: never 0 and never 1.
    noise = words.astype(np.float64)
    noise += 0.5
    noise *= 2.0**-53
    for _ in range(2):
        np.log(noise, out=noise)
        np.negative(noise, out=noise)
    return noise


def _mix(words: NDArray[np.uint64]) -> None:
    """splitmix64's finaliser, in place."""
    for shift, factor in _MIX_STEPS:
        words ^= words >> shift
        words *= factor
    words ^= words >> _LAST_SHIFT


def _mix_int(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _WORD
    return word ^ (word >> 31)


def log_sum_exp(values: NDArray[np.floating]) -> float:
    """log(sum(exp(values))), without overflow."""
    peak = float(values.max())
    return peak + float(np.log(np.exp(values - peak, dtype=np.float64).sum()))


def logprob_of(logits: Floats, token_id: int, num_top: int) -> TokenLogprob:
    """The token's log-probability under the raw logits f32[V], and the `num_top` likeliest."""
    total = log_sum_exp(logits)
    top = largest(logits, num_top) if num_top else ()
    return TokenLogprob(
        token_id,
        float(logits[token_id]) - total,
        tuple((int(other), float(logits[other]) - total) for other in top),
    )
