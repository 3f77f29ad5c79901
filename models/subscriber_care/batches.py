"""Dialogues to training batches: token rows and, beside them, what is to be learnt."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.subscriber_care.data.mix import dialogues
from models.subscriber_care.format import ASSISTANT, END, PAD, Called, Said, Turn, render

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
        pool = [next(stream) for _ in range(pool_size)]
        encoded = tokenizer.encode_batch([render(turns) for turns in pool])
        rows = [
            _Row(e.ids[: max_len + 1], sessions_turns(turns))
            for e, turns in zip(encoded, pool, strict=True)
        ]
        rows.sort(key=lambda row: len(row.ids))
        groups = _grouped(rows, batch_tokens)
        order.shuffle(groups)
        for group in groups:
            yield _as_arrays(group, tokenizer)


class _Row(NamedTuple):
    ids: list[int]
    sessions: list[int]
    """Which of the assistant's turns, from 1, the session spoke."""


def sessions_turns(turns: Sequence[Turn]) -> list[int]:
    """Number the assistant's turns from 1 and return those that the session spoke."""
    spoken = [turn for turn in turns if isinstance(turn, Said | Called)]
    return [n for n, turn in enumerate(spoken, 1) if isinstance(turn, Said) and turn.is_sessions]


def _grouped(rows: Sequence[_Row], batch_tokens: int) -> list[Sequence[_Row]]:
    groups: list[Sequence[_Row]] = []
    start = 0
    for at, row in enumerate(rows):
        if (at - start + 1) * len(row.ids) > batch_tokens:
            groups.append(rows[start:at])
            start = at
    return [*groups, rows[start:]]


def _as_arrays(
    group: Sequence[_Row], tokenizer: Tokenizer
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    width = max(len(row.ids) for row in group)
    tokens = np.full((len(group), width), tokenizer.token_to_id(PAD), dtype=np.int64)
    for line, row in zip(tokens, group, strict=True):
        line[: len(row.ids)] = row.ids
    learnt = spoken_by_assistant(tokens, tokenizer)
    turn_numbers = np.cumsum(tokens == tokenizer.token_to_id(ASSISTANT), axis=1)
    for marks, numbers, row in zip(learnt, turn_numbers, group, strict=True):
        marks &= ~np.isin(numbers, row.sessions)
    targets = np.where(learnt[:, 1:], tokens[:, 1:], IGNORED)
    return tokens[:, :-1], targets


def spoken_by_assistant(tokens: NDArray[np.int64], tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Mark the tokens [rows, length] from behind each `<a>` up to and with its `<e>`."""
    opened = np.cumsum(tokens == tokenizer.token_to_id(ASSISTANT), axis=1)
    closed = np.cumsum(tokens == tokenizer.token_to_id(END), axis=1)
    closed_before = np.concatenate([np.zeros_like(closed[:, :1]), closed[:, :-1]], axis=1)
    marks = (opened > closed_before) & (tokens != tokenizer.token_to_id(ASSISTANT))
    return np.asarray(marks, dtype=np.bool_)
