"""Runs a decoder graph on ONNX Runtime over KV rows that stay in place.

Each layer's keys and values are one array [rows, kv_heads, max_len, head_dim], allocated once.
Past and present are bound to the same memory, so a step appends to the cache without a copy.
Row r is contiguous, hence rows 0..n-1 are one batch and any row alone is a batch of one.

Traps of GroupQueryAttention, measured: several tokens over a past are accepted only for a batch
of one; `sequence length == total length` is read as a first prompt, whose past is ignored; every
batch row writes at its own length.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gateway.core.errors import EngineFault
from gateway.engine.worker.ahead import AheadRun
from gateway.engine.worker.ahead_graph import ahead_graph
from gateway.engine.worker.device_copies import FetchedRows
from gateway.engine.worker.kv_rows import kv_rows
from gateway.engine.worker.processor import CPU, Processor
from gateway.engine.worker.row_run import RowRun
from gateway.engine.worker.served_graph import served_graph
from gateway.engine.worker.session import open_session, run
from gateway.engine.worker.step_graphs import StepGraphs
from gateway.engine.worker.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.engine.worker.port import Logits
    from gateway.engine.worker.sampling import Top
    from gateway.engine.worker.served_graph import Layout
    from gateway.engine.worker.session import Session

_MAX_NUM_RUNS = 256
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
        self,
        session: Session,
        layout: Layout,
        *,
        num_rows: int,
        max_context_tokens: int,
        processor: Processor = CPU,
    ) -> None:
        self.layout = layout
        self.max_context_tokens = max_context_tokens
        self.processor = processor
        self.kv = kv_rows(layout, processor, num_rows=num_rows, max_len=max_context_tokens)
        self.ahead: AheadRun | None = None
        """Takes several tokens of row 0, if that was asked for and can be done."""
        self._session = session
        self._total = Tensor((), np.int32)
        self._logits = processor.tensor((num_rows, layout.vocab_size), np.float32)
        self._fetched = FetchedRows(processor, self._logits) if processor.is_apart else None
        self._steps: dict[int, RowRun] = {}
        """Decode steps of rows from 0 on, by their number: what is captured stays where it is."""
        self._others: dict[tuple[int, int], RowRun] = {}
        """All other runs, by first row and number of rows."""
        self._graphs = StepGraphs(max_context_tokens) if processor.captures else None
        self._last: RowRun | None = None

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
        processor: Processor = CPU,
    ) -> DecoderModel:
        """Load a graph file. Raises BundleError for one that cannot be served, and EngineFault
        when the processor has no memory for it.

        To look ahead takes the memory of the weights once more.
        """
        graph, layout = served_graph(model_path)
        context = min(max_context_tokens, layout.max_len_tokens or max_context_tokens)
        opened = partial(
            open_session,
            model_path=model_path,
            processor=processor,
            num_threads=num_threads,
            spin=spin,
        )
        session = opened(graph, captures=processor.captures)
        model = cls(
            session, layout, num_rows=num_rows, max_context_tokens=context, processor=processor
        )
        if looks_ahead and (chained := ahead_graph(graph)) is not None:
            model.ahead = AheadRun(opened(chained), processor, model.kv, layout.vocab_size)
        return model

    def decode(
        self, last_ids: Sequence[int], lengths: Sequence[int], *, first_row: int = 0
    ) -> Logits:
        """One token for each of n consecutive rows.

        `last_ids[i]` is appended to row `first_row + i` at position `lengths[i]`. Returns the
        logits f32[n, V] of what follows, valid until the next run. Raises EngineFault.
        """
        num_rows = len(last_ids)
        step = self._steps.get(num_rows) if not first_row else self._other(first_row, num_rows)
        if step is None:
            step = self._steps[num_rows] = self._row_run(0, num_rows)
        step.tokens(1)[:, 0] = last_ids
        step.place(lengths, lengths)
        total = max(lengths) + 1
        if self._graphs is None or first_row:
            return self._run(step, total)
        return self._run(step, self._graphs.length(total), self._graphs.options(num_rows, total))

    def prefill(self, row: int, ids: Sequence[int], start: int) -> Logits:
        """Prompt tokens from position `start` on into one row.

        Returns the logits f32[1, V] that follow the last of them, valid until the next run. One
        position behind them may be left with junk. Raises EngineFault.
        """
        num_ids = len(ids)
        width = _padded(num_ids)
        piece = self._other(row, 1)
        tokens = piece.tokens(width)
        tokens[0, :num_ids] = ids
        tokens[0, num_ids:] = 0
        piece.place(start, start + width - 1, num_ids - 1)
        return self._run(piece, start + width)

    def prefill_together(self, first_row: int, prompts: Sequence[Sequence[int]]) -> Logits:
        """Whole prompts into empty consecutive rows, padded on the right to the longest.

        Returns the logits f32[n, V] that follow each, valid until the next run. Padding leaves
        junk in a row behind the prompt, where the next tokens go. Raises EngineFault.
        """
        lengths = np.array([len(prompt) for prompt in prompts], np.int64)
        width = _padded(int(lengths.max()))
        batch = self._other(first_row, len(prompts))
        tokens = batch.tokens(width)
        tokens[:] = 0
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = prompt
        batch.place(np.zeros(len(prompts), np.int64), lengths - 1, lengths - 1)
        return self._run(batch, width)

    def top(self, num_rows: int) -> Top:
        """The largest logits of the last run's rows, valid until the next run."""
        if self._last is None:
            raise EngineFault("nothing was run yet")
        return self._last.top()

    def _run(self, rows: RowRun, total: int, options: object = None) -> Logits:
        """Run over what was placed; the longest row then has `total` positions."""
        self._total.host[()] = total
        if options is None and self._graphs is not None:
            options = self._graphs.none
        run(self._session, rows.binding, options)
        self._last = rows
        if self._fetched is not None:
            return self._fetched
        logits: Logits = self._logits.host[: rows.num_rows]
        return logits

    def _other(self, first_row: int, num_rows: int) -> RowRun:
        key = first_row, num_rows
        found = self._others.get(key)
        if found is None:
            if len(self._others) >= _MAX_NUM_RUNS:
                self._others.clear()
            found = self._others[key] = self._row_run(first_row, num_rows)
        return found

    def _row_run(self, first_row: int, num_rows: int) -> RowRun:
        return RowRun(
            self._session,
            self.processor,
            self.layout,
            kv=self.kv,
            total=self._total,
            logits=self._logits,
            first_row=first_row,
            num_rows=num_rows,
        )
