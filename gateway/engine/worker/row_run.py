"""A run of the served graph over some rows: what it reads and writes, bound once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.engine.worker.sampling import Top
from gateway.engine.worker.served_graph import (
    LAST_POSITIONS,
    LOGITS_INDEX,
    NUM_TOP,
    TOP_IDS,
    TOP_VALUES,
    TOTAL_LENGTH,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gateway.engine.worker.kv_rows import KvRows
    from gateway.engine.worker.processor import Processor
    from gateway.engine.worker.served_graph import Layout
    from gateway.engine.worker.session import Session
    from gateway.engine.worker.tensors import Tensor

    Ints = NDArray[np.int64]
    _Each = int | Sequence[int] | Ints
    """The same for all rows, or one for each."""


class RowRun:
    """Rows [first_row, first_row + num_rows), with `width` new tokens each.

    `total` is the length of the longest row after the run and stays on the host, where attention
    wants it; `logits` f32[>= num_rows, V] is written from its first row on.
    """

    def __init__(
        self,
        session: Session,
        processor: Processor,
        layout: Layout,
        *,
        kv: KvRows,
        total: Tensor,
        logits: Tensor,
        first_row: int,
        num_rows: int,
    ) -> None:
        self._processor = processor
        self.num_rows = num_rows
        self._has_position_ids = layout.has_position_ids
        self._width = 0
        self._is_index_plain = False
        """It asks for the first of each row's new tokens."""
        binding = self.binding = session.io_binding()
        self._index = processor.tensor((num_rows,), np.int64)
        self._index.feed(binding, LOGITS_INDEX)
        self._last_positions = processor.tensor((num_rows,), np.int32)
        self._last_positions.feed(binding, LAST_POSITIONS)
        total.feed(binding, TOTAL_LENGTH)
        kv.bind(binding, first_row, num_rows)
        logits.take(binding, "logits", num_rows=num_rows)
        num_top = min(NUM_TOP, layout.vocab_size)
        self._values = processor.tensor((num_rows, num_top), np.float32)
        self._values.take(binding, TOP_VALUES)
        self._ids = processor.tensor((num_rows, num_top), np.int64)
        self._ids.take(binding, TOP_IDS)

    def tokens(self, width: int) -> Ints:
        """Where the token ids [num_rows, width] of the next run are to be written."""
        if width != self._width:
            self._tokens = self._processor.tensor((self.num_rows, width), np.int64)
            self._tokens.feed(self.binding, "input_ids")
            if self._has_position_ids:
                self._positions = self._processor.tensor((self.num_rows, width), np.int64)
                self._positions.feed(self.binding, "position_ids")
            self._width = width
            self._firsts = np.arange(self.num_rows) * width
            self._is_index_plain = False
        ids: Ints = self._tokens.host
        return ids

    def place(self, starts: _Each, last_positions: _Each, wanted: _Each | None = None) -> None:
        """Hand the tokens over, with what goes with them.

        `starts` are their first positions, `last_positions` those of each row after the run, and
        `wanted` tells which of the new tokens' logits are asked for, if not the first one's.
        """
        self._tokens.send()
        if self._has_position_ids:
            self._positions.host[:] = np.add.outer(starts, np.arange(self._width))
            self._positions.send()
        self._last_positions.host[:] = last_positions
        self._last_positions.send()
        if wanted is not None or not self._is_index_plain:
            self._index.host[:] = self._firsts if wanted is None else self._firsts + wanted
            self._index.send()
            self._is_index_plain = wanted is None

    def top(self) -> Top:
        """The largest logits of the run."""
        return Top(self._values.read(), self._ids.read())
