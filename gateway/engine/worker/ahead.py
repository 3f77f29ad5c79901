"""Runs an `ahead_graph`: several tokens of one row at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.engine.worker.ahead_graph import TWINS
from gateway.engine.worker.port import NUM_AHEAD
from gateway.engine.worker.sampling import Top
from gateway.engine.worker.served_graph import (
    LAST_POSITIONS,
    LOGITS_INDEX,
    NUM_TOP,
    TOP_IDS,
    TOP_VALUES,
    TOTAL_LENGTH,
)
from gateway.engine.worker.session import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gateway.engine.worker.kv_rows import KvRows
    from gateway.engine.worker.session import Session


class AheadRun:
    """A session over an `ahead_graph`, on KV row 0."""

    def __init__(self, session: Session, kv: KvRows, vocab_size: int) -> None:
        self._session = session
        num_top = min(NUM_TOP, vocab_size)
        self._ids = np.zeros((1, NUM_AHEAD), np.int64)
        self._last_positions = np.zeros(NUM_AHEAD, np.int32)
        self._total_length = np.zeros((), np.int32)
        self._logits_index = np.zeros((NUM_AHEAD, 2), np.int64)
        self._logits_index[:, 1] = self._offsets = np.arange(NUM_AHEAD)
        self._logits = np.zeros((NUM_AHEAD, vocab_size), np.float32)
        self._top = Top(
            np.zeros((NUM_AHEAD, num_top), np.float32), np.zeros((NUM_AHEAD, num_top), np.int64)
        )
        binding = self._binding = session.io_binding()
        inputs: dict[str, NDArray[np.generic]] = {
            "input_ids": self._ids,
            LAST_POSITIONS: self._last_positions,
            TOTAL_LENGTH: self._total_length,
            LOGITS_INDEX: self._logits_index,
        }
        for name, array in inputs.items():
            shape, pointer = list(array.shape), array.ctypes.data
            binding.bind_input(name, "cpu", 0, array.dtype.type, shape, pointer)
        outputs: dict[str, NDArray[np.generic]] = {
            "logits": self._logits,
            TOP_VALUES: self._top.values,
            TOP_IDS: self._top.ids,
        }
        for name, array in outputs.items():
            shape, pointer = list(array.shape), array.ctypes.data
            binding.bind_output(name, "cpu", 0, array.dtype.type, shape, pointer)
        kv.bind(binding, 0, 1, twins=TWINS)

    def decode(self, ids: Sequence[int], start: int) -> tuple[NDArray[np.float32], Top]:
        """Append up to NUM_AHEAD tokens at position `start`.

        The row must have NUM_AHEAD positions left; those behind the tokens are left with junk.
        Returns the logits f32[NUM_AHEAD, V] of what follows each, and the largest of them, valid
        until the next run. Raises EngineFault.
        """
        self._ids[0, : len(ids)] = ids
        np.add(self._offsets, start, out=self._last_positions, casting="same_kind")
        self._total_length[()] = start + NUM_AHEAD
        run(self._session, self._binding)
        return self._logits, self._top
