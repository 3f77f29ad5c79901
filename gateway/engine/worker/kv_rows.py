"""The KV cache: rows that stay where they are."""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gateway.engine.bundle_facts import UnsupportedLayout
from gateway.engine.worker.device_copies import RowCopies
from gateway.engine.worker.tensors import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gateway.core.rows import Move
    from gateway.engine.worker.processor import Processor
    from gateway.engine.worker.served_graph import Layout
    from gateway.engine.worker.tensors import Binding


class KvRows(Protocol):
    """Keys and values of all layers: arrays [rows, kv_heads, max_len, head_dim]."""

    def bind(self, binding: Binding, row: int, num_rows: int, *, twins: Sequence[str] = ()) -> None:
        """Make rows [row, row + num_rows) the past, the present and the present's twins of a run.

        `twins` are what the names of those end with.
        """
        ...

    def read(self, row: int, num_tokens: int) -> list[NDArray[np.floating]]:
        """A copy of the first positions of a row, layer by layer."""
        ...

    def move(self, move: Move) -> None:
        """Copy the valid part of one row over another."""
        ...


def kv_rows(layout: Layout, processor: Processor, *, num_rows: int, max_len: int) -> KvRows:
    """Rows in the memory of what runs the model.

    Raises UnsupportedLayout and, when a device has no room for them, EngineFault.
    """
    if layout.kv_dtype == "bfloat16":
        raise UnsupportedLayout("a bfloat16 KV cache is not served; export for fp16")
    if processor.is_apart:
        return DeviceKvRows(layout, processor, num_rows=num_rows, max_len=max_len)
    return HostKvRows(layout, num_rows=num_rows, max_len=max_len)


class HostKvRows:
    """Rows in the host's memory."""

    def __init__(self, layout: Layout, *, num_rows: int, max_len: int) -> None:
        self.dtype = _dtype(layout)
        shape = (num_rows, layout.num_kv_heads, max_len, layout.head_dim)
        self.arrays = {name: _untouched(shape, self.dtype) for name in _names(layout)}

    def bind(self, binding: Binding, row: int, num_rows: int, *, twins: Sequence[str] = ()) -> None:
        """See KvRows."""
        for name, array in self.arrays.items():
            pointer = array.ctypes.data + row * array.strides[0]
            shape = [num_rows, *array.shape[1:]]
            _bind_in_place(binding, name, HOST, self.dtype, shape, pointer, twins)

    def read(self, row: int, num_tokens: int) -> list[NDArray[np.floating]]:
        """See KvRows."""
        return [array[row, :, :num_tokens].copy() for array in self.arrays.values()]

    def move(self, move: Move) -> None:
        """See KvRows."""
        for array in self.arrays.values():
            array[move.dst, :, : move.num_tokens] = array[move.src, :, : move.num_tokens]


class DeviceKvRows:
    """Rows on a device, allocated once; they are copied there, whole."""

    def __init__(
        self, layout: Layout, processor: Processor, *, num_rows: int, max_len: int
    ) -> None:
        self.dtype = _dtype(layout)
        self._shape = (1, layout.num_kv_heads, max_len, layout.head_dim)
        self._row_bytes = math.prod(self._shape) * np.dtype(self.dtype).itemsize
        self._device = processor.memory
        self._arrays = {
            name: processor.tensor((num_rows, *self._shape[1:]), self.dtype)
            for name in _names(layout)
        }
        for array in self._arrays.values():
            array.send()  # junk that is no number would spread through what it is multiplied with
        self._copies = RowCopies(processor, tuple(self._arrays), self._shape, self.dtype)

    def bind(self, binding: Binding, row: int, num_rows: int, *, twins: Sequence[str] = ()) -> None:
        """See KvRows."""
        shape = [num_rows, *self._shape[1:]]
        for name, pointer in self._pointers(row).items():
            _bind_in_place(binding, name, self._device, self.dtype, shape, pointer, twins)

    def read(self, row: int, num_tokens: int) -> list[NDArray[np.floating]]:
        """See KvRows."""
        found = self._copies.to_host(self._pointers(row))
        return [array[0, :, :num_tokens] for array in found]

    def move(self, move: Move) -> None:
        """See KvRows."""
        self._copies.within(self._pointers(move.src), self._pointers(move.dst))

    def _pointers(self, row: int) -> dict[str, int]:
        """Where a row begins in each array."""
        return {name: array.pointer + row * self._row_bytes for name, array in self._arrays.items()}


def _names(layout: Layout) -> list[str]:
    return [f"{layer}.{part}" for layer in range(layout.num_layers) for part in ("key", "value")]


def _dtype(layout: Layout) -> type:
    return np.float32 if layout.kv_dtype == "float32" else np.float16


def _bind_in_place(
    binding: Binding,
    name: str,
    device: str,
    dtype: type,
    shape: list[int],
    pointer: int,
    twins: Sequence[str],
) -> None:
    binding.bind_input(f"past_key_values.{name}", device, 0, dtype, shape, pointer)
    for twin in ("", *twins):
        binding.bind_output(f"present.{name}{twin}", device, 0, dtype, shape, pointer)


def _untouched(shape: tuple[int, ...], dtype: type) -> NDArray[np.floating]:
    """Zeros whose pages cost no memory until they are written.

    Huge pages would make a row of a small model resident with its first token.
    """
    count = math.prod(shape)
    memory = mmap.mmap(-1, count * np.dtype(dtype).itemsize)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype, count).reshape(shape)
