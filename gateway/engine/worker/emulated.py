"""A model whose arithmetic is a hash and whose time is that of another accelerator.

Everything around it is real: frames, rows, slots, deadlines, sampling, cancellation. Only the
kernels are not: a run ends when the accelerator of the profile would have ended it.

A row caches, for every position, a hash over the tokens up to there; the next token is that hash,
spelt in the vocabulary's words. A wrong row, length, position or order anywhere therefore changes
every later token, and a stream that resumes elsewhere can be compared with one that did not move.
Answers have no end of their own: `max_tokens` or a grammar ends them.
"""

from __future__ import annotations

import ctypes
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.engine.bundle_facts import BundleUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gateway.core.rows import Move
    from gateway.core.step_time import StepTimes

    Floats = NDArray[np.float32]
    Words = NDArray[np.uint64]

_PR_SET_TIMERSLACK = 29
_MAX_OWED_S = 0.005
_BACK_TO_BACK_S = 0.002
_LOGIT = 20.0
# A word, with or without the space before it as byte-level BPE and SentencePiece spell it. Words
# are whole characters, so that no answer waits for the rest of one.
_WORD = re.compile("[Ġ▁ ]?[A-Za-z]+")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The token ids of a bundle, and those that answers are made of."""

    vocab_size: int
    answer_ids: tuple[int, ...]

    @classmethod
    def read(cls, tokenizer_path: Path) -> Vocabulary:
        """From tokenizer.json. Raises BundleUnreadable."""
        try:
            document: dict[str, Any] = json.loads(tokenizer_path.read_bytes())
            added = {token["content"]: int(token["id"]) for token in document["added_tokens"]}
            vocab = document["model"]["vocab"]
            spelt: Iterable[tuple[str, int]] = (
                [(token, int(id_)) for token, id_ in vocab.items()]
                if isinstance(vocab, dict)
                else [(str(entry[0]), id_) for id_, entry in enumerate(vocab)]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleUnreadable(tokenizer_path, f"is no tokenizer.json ({error!r})") from error
        ids = {id_ for _, id_ in spelt} | set(added.values())
        words = sorted(id_ for token, id_ in spelt if token not in added and _WORD.fullmatch(token))
        if not words:
            raise BundleUnreadable(tokenizer_path, "has no plain words to make answers of")
        return cls(max(ids) + 1, tuple(words))


class HashRows:
    """The cache: u64[rows, max_context], at each position the hash of the tokens up to it."""

    def __init__(self, num_rows: int, max_context_tokens: int) -> None:
        self.chain: Words = np.zeros((num_rows, max_context_tokens), np.uint64)

    def read(self, row: int, num_tokens: int) -> list[Words]:
        """A copy of the first positions of a row."""
        return [self.chain[row, :num_tokens].copy()]

    def move(self, move: Move) -> None:
        """Copy the valid part of one row over another."""
        self.chain[move.dst, : move.num_tokens] = self.chain[move.src, : move.num_tokens]


class AcceleratorClock:
    """Makes runs take the time they should, by absolute deadlines.

    A sleep ends late by some tens of microseconds, and by milliseconds on a busy host. A run that
    follows at once begins where the one before should have ended, so that lateness does not add
    up; lateness beyond `_MAX_OWED_S` is lost time, as it would be on any device.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._now = now
        self._sleep = sleep
        self._ended_s = -1.0
        self._owed_s = 0.0

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now()

    def occupy(self, began_s: float, cost_s: float) -> None:
        """Return when a run that was asked for at `began_s` and costs `cost_s` is over."""
        follows = began_s - self._ended_s <= _BACK_TO_BACK_S
        until_s = began_s + cost_s - (self._owed_s if follows else 0.0)
        while (left_s := until_s - self._now()) > 0:
            self._sleep(left_s)
        self._ended_s = self._now()
        self._owed_s = min(self._ended_s - until_s, _MAX_OWED_S)


class EmulatedModel:
    """A model by the rule and the time of this module."""

    ahead = None

    def __init__(
        self,
        times: Callable[[], StepTimes],
        vocabulary: Vocabulary,
        *,
        num_rows: int,
        max_context_tokens: int,
        clock: AcceleratorClock | None = None,
    ) -> None:
        self.layout = vocabulary
        self.max_context_tokens = max_context_tokens
        self.kv = HashRows(num_rows, max_context_tokens)
        self._times = times
        self._clock = AcceleratorClock() if clock is None else clock
        self._answer_ids = np.asarray(vocabulary.answer_ids, np.int64)
        self._logits: Floats = np.zeros((num_rows, vocabulary.vocab_size), np.float32)
        self._set: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @classmethod
    def load(
        cls,
        times: Callable[[], StepTimes],
        tokenizer_path: Path,
        *,
        num_rows: int,
        max_context_tokens: int,
    ) -> EmulatedModel:
        """An emulated model in the words of a bundle's tokenizer. Raises BundleUnreadable."""
        # By default the kernel may wake a sleeper 50 us late, to save power.
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)
        vocabulary = Vocabulary.read(tokenizer_path)
        return cls(times, vocabulary, num_rows=num_rows, max_context_tokens=max_context_tokens)

    def decode(
        self, last_ids: Sequence[int], lengths: Sequence[int], *, first_row: int = 0
    ) -> Floats:
        """One token for each of n consecutive rows; see RunnableModel."""
        began_s = self._clock.now()
        at = np.asarray(lengths, np.int64)
        rows = np.arange(first_row, first_row + len(at))
        before = np.where(at > 0, self.kv.chain[rows, at - 1], np.uint64(0))
        hashes = before + _weights(np.asarray(last_ids, np.int64), at)
        self.kv.chain[rows, at] = hashes
        logits = self._spell(hashes)
        self._clock.occupy(began_s, self._times().decode_s(len(at), int(at.sum())))
        return logits

    def prefill(self, row: int, ids: Sequence[int], start: int) -> Floats:
        """Prompt tokens from position `start` on into one row; see RunnableModel."""
        began_s = self._clock.now()
        self._append(row, ids, start)
        stop = start + len(ids)
        logits = self._spell(self.kv.chain[row, stop - 1 : stop])
        self._clock.occupy(began_s, self._times().prefill_s(len(ids), start))
        return logits

    def prefill_together(self, first_row: int, prompts: Sequence[Sequence[int]]) -> Floats:
        """Whole prompts into empty consecutive rows; see RunnableModel.

        Costs what one chunk costs of all their tokens, the padding to the longest included.
        """
        began_s = self._clock.now()
        for place, prompt in enumerate(prompts):
            self._append(first_row + place, prompt, 0)
        rows = np.arange(first_row, first_row + len(prompts))
        last = np.array([len(prompt) - 1 for prompt in prompts])
        logits = self._spell(self.kv.chain[rows, last])
        num_padded = len(prompts) * (int(last.max()) + 1)
        self._clock.occupy(began_s, self._times().prefill_s(num_padded, 0))
        return logits

    def top(self, num_rows: int) -> None:
        """Logits are looked through whole."""

    def _append(self, row: int, ids: Sequence[int], start: int) -> None:
        """Hash prompt tokens from position `start` on into a row."""
        chain, stop = self.kv.chain[row], start + len(ids)
        weights = _weights(np.asarray(ids, np.int64), np.arange(start, stop))
        chain[start:stop] = np.cumsum(weights, dtype=np.uint64)
        if start:
            chain[start:stop] += chain[start - 1]

    def _spell(self, hashes: Words) -> Floats:
        """Logits f32[n, V] that leave no doubt about the tokens that follow these hashes."""
        if self._set is not None:
            self._logits[self._set] = 0.0
        choice = _mix(hashes) % np.uint64(len(self._answer_ids))
        self._set = (np.arange(len(hashes)), self._answer_ids[choice.astype(np.int64)])
        self._logits[self._set] = _LOGIT
        return self._logits[: len(hashes)]


def _weights(ids: NDArray[np.int64], positions: NDArray[np.int64]) -> Words:
    """What each token adds to its row's hash: its own hash, keyed by its position."""
    keyed: Words = (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    return _mix(_mix(keyed) + ids.astype(np.uint64))


def _mix(words: Words) -> Words:
    """splitmix64's finaliser: Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
