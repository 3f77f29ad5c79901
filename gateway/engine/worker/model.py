"""Runs a decoder graph on ONNX Runtime over KV rows that stay in place.

Each layer's keys and values are one array [rows, kv_heads, max_len, head_dim], allocated once.
Past and present are bound to the same memory, so a step appends to the cache without a copy.
Row r is contiguous, hence rows 0..n-1 are one batch and any row alone is a batch of one.

Traps of GroupQueryAttention, measured: several tokens over a past are accepted only for a batch
of one; `sequence length == total length` is read as a first prompt, whose past is ignored; every
batch row writes at its own length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.engine.worker.ahead import AheadRun
from gateway.engine.worker.ahead_graph import ahead_graph
from gateway.engine.worker.kv_rows import KvRows
from gateway.engine.worker.sampling import Top
from gateway.engine.worker.served_graph import (
    LAST_POSITIONS,
    LOGITS_INDEX,
    NUM_TOP,
    TOP_IDS,
    TOP_VALUES,
    TOTAL_LENGTH,
    served_graph,
)
from gateway.engine.worker.session import open_session, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gateway.engine.worker.served_graph import Layout
    from gateway.engine.worker.session import Binding, Session

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

_MAX_NUM_BINDINGS = 256
_ATTENTION_BLOCK_TOKENS = 16


def _padded(num_tokens: int) -> int:
    """How long a piece of prompt is run, so that no attention block is left with one row.

    Attention walks over the queries in blocks of twice the head dimension, a multiple of 16. One
    row alone is multiplied by another kernel, which sums in another order: the piece of prompt
    would round differently from the same tokens in the midst of a longer one.
    """
    return num_tokens + (num_tokens % _ATTENTION_BLOCK_TOKENS == 1)


class DecoderModel:
    """A loaded decoder with its KV rows. Not thread-safe; one run at a time."""

    def __init__(
        self, session: Session, layout: Layout, *, num_rows: int, max_context_tokens: int
    ) -> None:
        self.layout = layout
        self.max_context_tokens = max_context_tokens
        self.kv = KvRows(layout, num_rows=num_rows, max_len=max_context_tokens)
        self.ahead: AheadRun | None = None
        """Takes several tokens of row 0, if that was asked for and can be done."""
        self._session = session
        self._bindings: dict[tuple[int, int], Binding] = {}
        """By first row and number of rows."""
        self._widths: dict[tuple[int, int], int] = {}
        """How many tokens a row has in each binding."""
        size = num_rows * max_context_tokens
        self._ids: Ints = np.zeros(size, np.int64)
        self._positions: Ints = np.zeros(size, np.int64)
        self._last_positions = np.zeros(num_rows, np.int32)
        self._total_length = np.zeros((), np.int32)
        self._logits_index: Ints = np.zeros((num_rows, 2), np.int64)
        self._logits_index[:, 0] = np.arange(num_rows)
        self._logits: Floats = np.zeros((num_rows, layout.vocab_size), np.float32)
        num_top = min(NUM_TOP, layout.vocab_size)
        self._top = Top(
            np.zeros((num_rows, num_top), np.float32), np.zeros((num_rows, num_top), np.int64)
        )

    @classmethod
    def load(
        cls,
        model_path: Path,
        *,
        num_rows: int,
        max_context_tokens: int,
        num_threads: int,
        spin: bool,
        looks_ahead: bool = False,
    ) -> DecoderModel:
        """Load a graph file. Raises BundleError for one that cannot be served.

        To look ahead takes the memory of the weights once more.
        """
        graph, layout = served_graph(model_path)
        context = min(max_context_tokens, layout.max_len_tokens or max_context_tokens)
        session = open_session(graph, model_path, num_threads=num_threads, spin=spin)
        model = cls(session, layout, num_rows=num_rows, max_context_tokens=context)
        if looks_ahead and (chained := ahead_graph(graph)) is not None:
            session = open_session(chained, model_path, num_threads=num_threads, spin=spin)
            model.ahead = AheadRun(session, model.kv, layout.vocab_size)
        return model

    def decode(
        self, last_ids: Sequence[int], lengths: Sequence[int], *, first_row: int = 0
    ) -> Floats:
        """One token for each of n consecutive rows.

        `last_ids[i]` is appended to row `first_row + i` at position `lengths[i]`. Returns the
        logits f32[n, V] of what follows, valid until the next run. Raises EngineFault.
        """
        num_rows = len(last_ids)
        self._ids[:num_rows] = last_ids
        if self.layout.has_position_ids:
            self._positions[:num_rows] = lengths
        self._last_positions[:num_rows] = lengths
        self._total_length[()] = max(lengths) + 1
        self._logits_index[:num_rows, 1] = 0
        run(self._session, self._binding(first_row, num_rows, 1))
        return self._logits[:num_rows]

    def prefill(self, row: int, ids: Sequence[int], start: int) -> Floats:
        """Prompt tokens from position `start` on into one row.

        Returns the logits f32[V] that follow the last of them, valid until the next run. One
        position behind them may be left with junk. Raises EngineFault.
        """
        num_ids = len(ids)
        width = _padded(num_ids)
        total = start + width
        self._ids[:num_ids] = ids
        self._ids[num_ids:width] = 0
        self._positions[:width] = np.arange(start, total)
        self._last_positions[0] = total - 1
        self._total_length[()] = total
        self._logits_index[0, 1] = num_ids - 1
        run(self._session, self._binding(row, 1, width))
        logits: Floats = self._logits[0]
        return logits

    def prefill_together(self, first_row: int, prompts: Sequence[Sequence[int]]) -> Floats:
        """Whole prompts into empty consecutive rows, padded on the right to the longest.

        Returns the logits f32[n, V] that follow each, valid until the next run. Padding leaves
        junk in a row behind the prompt, where the next tokens go. Raises EngineFault.
        """
        num_rows = len(prompts)
        lengths = np.array([len(prompt) for prompt in prompts], np.int64)
        width = _padded(int(lengths.max()))
        ids = self._ids[: num_rows * width].reshape(num_rows, width)
        ids[:] = 0
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
        self._positions[: num_rows * width].reshape(num_rows, width)[:] = np.arange(width)
        self._last_positions[:num_rows] = lengths - 1
        self._total_length[()] = width
        self._logits_index[:num_rows, 1] = lengths - 1
        run(self._session, self._binding(first_row, num_rows, width))
        return self._logits[:num_rows]

    def top(self, num_rows: int) -> Top:
        """The largest logits of the last run's rows, valid until the next run."""
        return Top(self._top.values[:num_rows], self._top.ids[:num_rows])

    def _binding(self, row: int, num_rows: int, width: int) -> Binding:
        """What a run over `width` tokens of each of these rows reads and writes."""
        key = row, num_rows
        binding = self._bindings.get(key)
        if binding is None:
            if len(self._bindings) >= _MAX_NUM_BINDINGS:
                self._bindings.clear()
                self._widths.clear()
            binding = self._bindings[key] = self._bind(row, num_rows)
        if self._widths.get(key) != width:
            tokens = {"input_ids": self._ids}
            if self.layout.has_position_ids:
                tokens["position_ids"] = self._positions
            for name, values in tokens.items():
                pointer = values.ctypes.data
                binding.bind_input(name, "cpu", 0, np.int64, [num_rows, width], pointer)
            self._widths[key] = width
        return binding

    def _bind(self, row: int, num_rows: int) -> Binding:
        """All but the tokens."""
        binding = self._session.io_binding()
        pointer = self._logits_index.ctypes.data
        binding.bind_input(LOGITS_INDEX, "cpu", 0, np.int64, [num_rows, 2], pointer)
        pointer = self._last_positions.ctypes.data
        binding.bind_input(LAST_POSITIONS, "cpu", 0, np.int32, [num_rows], pointer)
        pointer = self._total_length.ctypes.data
        binding.bind_input(TOTAL_LENGTH, "cpu", 0, np.int32, [], pointer)
        self.kv.bind(binding, row, num_rows)
        shape = [num_rows, self.layout.vocab_size]
        binding.bind_output("logits", "cpu", 0, np.float32, shape, self._logits.ctypes.data)
        shape = [num_rows, self._top.ids.shape[1]]
        values, ids = self._top
        binding.bind_output(TOP_VALUES, "cpu", 0, np.float32, shape, values.ctypes.data)
        binding.bind_output(TOP_IDS, "cpu", 0, np.int64, shape, ids.ctypes.data)
        return binding
