"""Dialogues to training batches: token rows and, beside them, what is to be learnt."""

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.subscriber_care.data.mix import dialogues
from models.subscriber_care.format import ASSISTANT, END, PAD, render

IGNORED = -100


def batches(
    tokenizer: Tokenizer,
    *,
    seed: int,
    batch_tokens: int,
    max_len: int,
    pool_size: int = 4096,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (tokens, targets), each [rows, length], for ever.

    `pool_size` dialogues at a time are sorted by length; rows of like length share a batch of at
    most `batch_tokens` with its padding. Only what the
    assistant produces is learnt, its end token included. Dialogues over `max_len` are cut.
    """
    stream = dialogues(seed)
    order = Random(seed)
    while True:
        texts = [render(next(stream)) for _ in range(pool_size)]
        rows = [e.ids[: max_len + 1] for e in tokenizer.encode_batch(texts)]
        rows.sort(key=len)
        groups = _grouped(rows, batch_tokens)
        order.shuffle(groups)
        for group in groups:
            yield _as_arrays(group, tokenizer)


def _grouped(rows: Sequence[list[int]], batch_tokens: int) -> list[Sequence[list[int]]]:
    groups: list[Sequence[list[int]]] = []
    start = 0
    for at, row in enumerate(rows):
        if (at - start + 1) * len(row) > batch_tokens:
            groups.append(rows[start:at])
            start = at
    return [*groups, rows[start:]]


def _as_arrays(
    group: Sequence[list[int]], tokenizer: Tokenizer
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    width = max(map(len, group))
    tokens = np.full((len(group), width), tokenizer.token_to_id(PAD), dtype=np.int64)
    for row, ids in zip(tokens, group, strict=True):
        row[: len(ids)] = ids
    learnt = spoken_by_assistant(tokens, tokenizer)
    targets = np.where(learnt[:, 1:], tokens[:, 1:], IGNORED)
    return tokens[:, :-1], targets


def spoken_by_assistant(tokens: NDArray[np.int64], tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Mark the tokens [rows, length] from behind each `<a>` up to and with its `<e>`."""
    opened = np.cumsum(tokens == tokenizer.token_to_id(ASSISTANT), axis=1)
    closed = np.cumsum(tokens == tokenizer.token_to_id(END), axis=1)
    closed_before = np.concatenate([np.zeros_like(closed[:, :1]), closed[:, :-1]], axis=1)
    marks = (opened > closed_before) & (tokens != tokenizer.token_to_id(ASSISTANT))
    return np.asarray(marks, dtype=np.bool_)
