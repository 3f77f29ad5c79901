"""Copies between arrays of a device, made by ONNX Runtime itself.

Its Python interface copies whole arrays only and knows no part of one, so small graphs do it: they
run where the model runs, over the same memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from gateway.engine.worker.session import open_session, run
from gateway.engine.worker.tensors import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import NodeProto, ValueInfoProto

    from gateway.engine.worker.processor import Processor
    from gateway.engine.worker.session import Session
    from gateway.engine.worker.tensors import Tensor

_OPSET, _IR_VERSION = 21, 10


class RowCopies:
    """Copies one row of each of several arrays, `names`; `shape` is a row's, with its 1."""

    def __init__(
        self, processor: Processor, names: Sequence[str], shape: tuple[int, ...], dtype: type
    ) -> None:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._shape, self._dtype, self._device = list(shape), dtype, processor.memory
        self._session = _session(
            processor,
            [helper.make_node("Identity", [f"src.{name}"], [f"dst.{name}"]) for name in names],
            [helper.make_tensor_value_info(f"src.{name}", kind, shape) for name in names],
            [helper.make_tensor_value_info(f"dst.{name}", kind, shape) for name in names],
        )

    def within(self, src: Mapping[str, int], dst: Mapping[str, int]) -> None:
        """From one row to another; both by where they begin in each array. Raises EngineFault."""
        self._copy(src, dst, self._device)

    def to_host(self, src: Mapping[str, int]) -> list[NDArray[np.floating]]:
        """A row's content, array by array. Raises EngineFault."""
        found: list[NDArray[np.floating]] = [np.zeros(self._shape, self._dtype) for _ in src]
        pointers = [array.ctypes.data for array in found]
        self._copy(src, dict(zip(src, pointers, strict=True)), HOST)
        return found

    def _copy(self, src: Mapping[str, int], dst: Mapping[str, int], device: str) -> None:
        binding = self._session.io_binding()
        for name, pointer in src.items():
            binding.bind_input(f"src.{name}", self._device, 0, self._dtype, self._shape, pointer)
            binding.bind_output(f"dst.{name}", device, 0, self._dtype, self._shape, dst[name])
        run(self._session, binding)


class FetchedRows:
    """Rows of logits on a device; one is copied to the host when it is asked for."""

    def __init__(self, processor: Processor, logits: Tensor) -> None:
        num_rows, self._vocab_size = logits.host.shape
        kind = TensorProto.FLOAT
        self._logits = logits
        self._session = _session(
            processor,
            [helper.make_node("Gather", ["logits", "row"], ["picked"], axis=0)],
            [
                helper.make_tensor_value_info("logits", kind, [num_rows, self._vocab_size]),
                helper.make_tensor_value_info("row", TensorProto.INT64, [1]),
            ],
            [helper.make_tensor_value_info("picked", kind, [1, self._vocab_size])],
        )

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        """The logits f32[V] of a row of the last run. Raises EngineFault."""
        wanted = np.array([row], np.int64)
        picked = np.zeros((1, self._vocab_size), np.float32)
        binding = self._session.io_binding()
        self._logits.feed(binding, "logits")
        binding.bind_input("row", HOST, 0, np.int64, [1], wanted.ctypes.data)
        shape = list(picked.shape)
        binding.bind_output("picked", HOST, 0, np.float32, shape, picked.ctypes.data)
        run(self._session, binding)
        found: NDArray[np.float32] = picked[0]
        return found


def _session(
    processor: Processor,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
) -> Session:
    graph = helper.make_graph(nodes, "copies", inputs, outputs)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    return open_session(model.SerializeToString(), Path("copies"), processor)
