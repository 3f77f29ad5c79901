"""Runs an `ahead_graph`: several tokens of one row at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.engine.worker.ahead_graph import TWINS
from gateway.engine.worker.device_copies import FetchedRows
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
from gateway.engine.worker.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.engine.worker.kv_rows import KvRows
    from gateway.engine.worker.port import Logits
    from gateway.engine.worker.processor import Processor
    from gateway.engine.worker.session import Session


class AheadRun:
    """A session over an `ahead_graph`, on KV row 0."""

    def __init__(self, session: Session, processor: Processor, kv: KvRows, vocab_size: int) -> None:
        self._session = session
        num_top = min(NUM_TOP, vocab_size)
        self._ids = processor.tensor((1, NUM_AHEAD), np.int64)
        self._last_positions = processor.tensor((NUM_AHEAD,), np.int32)
        self._total_length = Tensor((), np.int32)
        self._logits = processor.tensor((NUM_AHEAD, vocab_size), np.float32)
        self._fetched = FetchedRows(processor, self._logits) if processor.is_apart else None
        self._values = processor.tensor((NUM_AHEAD, num_top), np.float32)
        self._top_ids = processor.tensor((NUM_AHEAD, num_top), np.int64)
        self._offsets = np.arange(NUM_AHEAD)
        index = self._index = processor.tensor((NUM_AHEAD,), np.int64)
        index.host[:] = self._offsets
        index.send()
        binding = self._binding = session.io_binding()
        self._ids.feed(binding, "input_ids")
        self._last_positions.feed(binding, LAST_POSITIONS)
        self._total_length.feed(binding, TOTAL_LENGTH)
        index.feed(binding, LOGITS_INDEX)
        self._logits.take(binding, "logits")
        self._values.take(binding, TOP_VALUES)
        self._top_ids.take(binding, TOP_IDS)
        kv.bind(binding, 0, 1, twins=TWINS)

    def decode(self, ids: Sequence[int], start: int) -> tuple[Logits, Top]:
        """Append up to NUM_AHEAD tokens at position `start`.

        The row must have NUM_AHEAD positions left; those behind the tokens are left with junk.
        Returns the logits f32[NUM_AHEAD, V] of what follows each, and the largest of them, valid
        until the next run. Raises EngineFault.
        """
        self._ids.host[0, : len(ids)] = ids
        self._ids.send()
        np.add(self._offsets, start, out=self._last_positions.host, casting="same_kind")
        self._last_positions.send()
        self._total_length.host[()] = start + NUM_AHEAD
        run(self._session, self._binding)
        logits: Logits = self._logits.host if self._fetched is None else self._fetched
        return logits, Top(self._values.read(), self._top_ids.read())
