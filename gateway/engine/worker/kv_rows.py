"""The KV cache: rows that stay where they are."""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING

import numpy as np

from gateway.engine.bundle_facts import UnsupportedLayout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gateway.core.rows import Move
    from gateway.engine.worker.served_graph import Layout
    from gateway.engine.worker.session import Binding


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

    def bind(self, binding: Binding, row: int, num_rows: int, *, twins: Sequence[str] = ()) -> None:
        """Make rows [row, row + num_rows) the past, the present and the present's twins of a run.

        `twins` are what the names of those end with.
        """
        for name, array in self.arrays.items():
            pointer = array.ctypes.data + row * array.strides[0]
            shape = [num_rows, *array.shape[1:]]
            binding.bind_input(f"past_key_values.{name}", "cpu", 0, self.dtype, shape, pointer)
            for twin in ("", *twins):
                output = f"present.{name}{twin}"
                binding.bind_output(output, "cpu", 0, self.dtype, shape, pointer)

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
