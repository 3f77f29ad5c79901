"""Runs a decoder graph on ONNX Runtime over KV rows that stay in place.

Each layer's keys and values are one array [rows, kv_heads, max_len, head_dim], allocated once.
Past and present are bound to the same memory, so a step appends to the cache without a copy.
Row r is contiguous, hence rows 0..n-1 are one batch and any row alone is a batch of one.

Traps of GroupQueryAttention, measured: several tokens over a past are accepted only for a batch
of one; `sequence length == total length` is read as a first prompt, whose past is ignored; every
batch row writes at its own length.
"""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from gateway.core.errors import EngineFault
from gateway.engine.bundle_facts import BundleUnreadable, UnsupportedLayout
from gateway.engine.worker.sampling import Top
from gateway.engine.worker.served_graph import (
    EXTERNAL_WEIGHTS_KEY,
    LAST_POSITIONS,
    LOGITS_INDEX,
    NUM_TOP,
    TOP_IDS,
    TOP_VALUES,
    TOTAL_LENGTH,
    served_graph,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gateway.core.rows import Move
    from gateway.engine.worker.served_graph import Layout

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

_MAX_NUM_BINDINGS = 256
_ATTENTION_BLOCK_TOKENS = 16
_QUIET = 3  # ONNX Runtime's log level for errors only
# Its exceptions have no parent of their own.
_RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)


class _Binding(Protocol):
    """The part of onnxruntime.IOBinding that is used."""

    def bind_input(
        self, name: str, device: str, device_id: int, dtype: type, shape: list[int], pointer: int
    ) -> None: ...

    def bind_output(
        self, name: str, device: str, device_id: int, dtype: type, shape: list[int], pointer: int
    ) -> None: ...


class _Session(Protocol):
    """The part of onnxruntime.InferenceSession that is used."""

    def io_binding(self) -> _Binding: ...

    def run_with_iobinding(self, binding: _Binding) -> None: ...


def open_session(graph: bytes, model_path: Path, *, num_threads: int, spin: bool) -> _Session:
    """A CPU session over a served graph, with so many threads inside an operator.

    Raises BundleUnreadable for a graph that ONNX Runtime does not accept.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # The arena and the memory pattern keep the largest prefill's buffers for ever.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    # Without VNNI, sums of unsigned by signed products would saturate in 16 bits.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.add_session_config_entry(EXTERNAL_WEIGHTS_KEY, str(model_path.parent))
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except _RUNTIME_ERRORS as error:
        raise BundleUnreadable(model_path, f"ONNX Runtime does not load it ({error})") from error
    return cast("_Session", session)


class KvRows:
    """The KV cache of all layers: float arrays [rows, kv_heads, max_len, head_dim]."""

    def __init__(self, layout: Layout, *, num_rows: int, max_len: int) -> None:
        if layout.kv_dtype == "bfloat16":
            raise UnsupportedLayout("the CPU cannot keep a bfloat16 KV cache; export for cpu")
        self.dtype: type = np.float32 if layout.kv_dtype == "float32" else np.float16
        shape = (num_rows, layout.num_kv_heads, max_len, layout.head_dim)
        self.arrays = {
            f"{layer}.{part}": _untouched(shape, self.dtype)
            for layer in range(layout.num_layers)
            for part in ("key", "value")
        }

    def bind(self, binding: _Binding, row: int, num_rows: int) -> None:
        """Make rows [row, row + num_rows) the past and the present of a run."""
        for name, array in self.arrays.items():
            pointer = array.ctypes.data + row * array.strides[0]
            shape = [num_rows, *array.shape[1:]]
            binding.bind_input(f"past_key_values.{name}", "cpu", 0, self.dtype, shape, pointer)
            binding.bind_output(f"present.{name}", "cpu", 0, self.dtype, shape, pointer)

    def read(self, row: int, num_tokens: int) -> list[NDArray[np.floating]]:
        """A copy of the first positions of a row, layer by layer."""
        return [array[row, :, :num_tokens].copy() for array in self.arrays.values()]

    def move(self, move: Move) -> None:
        """Copy the valid part of one row over another."""
        for array in self.arrays.values():
            array[move.dst, :, : move.num_tokens] = array[move.src, :, : move.num_tokens]


def _untouched(shape: tuple[int, ...], dtype: type) -> NDArray[np.floating]:
    """Zeros whose pages cost no memory until they are written.

    Huge pages would make a row of a small model resident with its first token.
    """
    count = math.prod(shape)
    memory = mmap.mmap(-1, count * np.dtype(dtype).itemsize)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype, count).reshape(shape)


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
        self, session: _Session, layout: Layout, *, num_rows: int, max_context_tokens: int
    ) -> None:
        self.layout = layout
        self.max_context_tokens = max_context_tokens
        self.kv = KvRows(layout, num_rows=num_rows, max_len=max_context_tokens)
        self._session = session
        self._bindings: dict[tuple[int, int], _Binding] = {}
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
    ) -> DecoderModel:
        """Load a graph file. Raises BundleError for one that cannot be served."""
        graph, layout = served_graph(model_path)
        context = min(max_context_tokens, layout.max_len_tokens or max_context_tokens)
        session = open_session(graph, model_path, num_threads=num_threads, spin=spin)
        return cls(session, layout, num_rows=num_rows, max_context_tokens=context)

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
        self._run(self._binding(first_row, num_rows, 1))
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
        self._run(self._binding(row, 1, width))
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
        self._run(self._binding(first_row, num_rows, width))
        return self._logits[:num_rows]

    def top(self, num_rows: int) -> Top:
        """The largest logits of the last run's rows, valid until the next run."""
        return Top(self._top.values[:num_rows], self._top.ids[:num_rows])

    def _binding(self, row: int, num_rows: int, width: int) -> _Binding:
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

    def _bind(self, row: int, num_rows: int) -> _Binding:
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

    def _run(self, binding: _Binding) -> None:
        try:
            self._session.run_with_iobinding(binding)
        except _RUNTIME_ERRORS as error:
            raise EngineFault(f"the model could not be run: {error}") from error
