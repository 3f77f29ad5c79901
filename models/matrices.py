"""How a decoder's matrices are stored and multiplied, in each precision.

``fp32`` and ``fp16`` are plain. ``int8`` and ``int4`` hold blocks with a scale each and round a
row of activations when it is multiplied (MatMulNBits). ``w8a8`` holds int8 with a scale for each
output and rounds activations to fixed levels: a product is then a sum of integers, the same
however many rows are multiplied at once, and the kernels for it are the fastest that processors
with VNNI or AMX have (ONNX Runtime 1.31, the shipped model's matrices, against ``int8``: 1.9 times
as fast at 32 rows, 3 times at 224). What the levels are must be known beforehand: see `calibrate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.block_quant import BLOCK, Bits, quantise
from models.graph_parts import MICROSOFT, GraphParts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Precision = Literal["fp32", "fp16", "int8", "int4", "w8a8"]

_PEAK_LEVEL = 127
_ZERO_LEVEL = 128


@dataclass(frozen=True)
class Matrices:
    """Adds tables and products to a graph in one precision.

    `peaks` are the largest magnitudes of the values that ``w8a8`` rounds, by name.
    """

    parts: GraphParts
    precision: Precision
    accuracy_level: int
    peaks: Mapping[str, float]

    @property
    def _bits(self) -> Bits:
        """Of a block's levels."""
        return 4 if self.precision == "int4" else 8

    def float_weight(self, name: str, values: NDArray[np.float32]) -> str:
        """A weight that is not quantised, in the graph's float type."""
        dtype = np.float16 if self.precision == "fp16" else np.float32
        return self.parts.constant(name, values.astype(dtype, copy=False))

    def pick(self, name: str, table: str, rows: NDArray[np.float32], ids: str) -> str:
        """The rows of a table [rows, columns] that ids name; in blocks where quantised."""
        if self.precision in {"fp32", "fp16"}:
            return self.parts.node("Gather", name, [self.float_weight(table, rows), ids])
        levels, scales = quantise(rows, self._bits)
        stem = table.removesuffix(".weight")
        stored = [
            self.parts.constant(f"{stem}.qweight", levels.reshape(len(rows), -1)),
            ids,
            self.parts.constant(f"{stem}.scales", scales),
        ]
        return self.parts.node(
            "GatherBlockQuantized",
            name,
            stored,
            domain=MICROSOFT,
            bits=self._bits,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )

    def multiply(
        self, name: str, x: str, weight: NDArray[np.float32], output: str | None = None
    ) -> str:
        """`x` [..., in] times `weight` [out, in]."""
        stem = name[1:].replace("/", ".")
        match self.precision:
            case "fp32" | "fp16":
                transposed = self.float_weight(f"{stem}.weight", np.ascontiguousarray(weight.T))
                return self.parts.node("MatMul", f"{name}/MatMul", [x, transposed], output=output)
            case "w8a8":
                return self._multiply_integers(name, x, weight, output)
        levels, scales = quantise(weight, self._bits)
        blocks = [
            self.parts.constant(f"{stem}.qweight", levels),
            self.parts.constant(f"{stem}.scales", scales),
        ]
        return self._multiply_blocks(name, [x, *blocks], weight.shape, output)

    def multiply_by_table(
        self, name: str, x: str, table: str, rows: NDArray[np.float32], output: str
    ) -> str:
        """`x` [..., columns] times a table that `pick` stored; shares its rows if kernels can."""
        if self.precision == "w8a8":
            return self._multiply_integers(name, x, rows, output)
        if self.precision in {"fp32", "fp16"}:
            # A MatMul would need a transposed copy in the file.
            return self.parts.node(
                "FusedMatMul",
                f"{name}/FusedMatMul",
                [x, table],
                output=output,
                domain=MICROSOFT,
                transB=1,
            )
        stem = table.removesuffix(".weight")
        dims = np.array([len(rows), -1, BLOCK * self._bits // 8], np.int64)
        shape = self.parts.constant(f"{stem}.blocks", dims)
        blocks = self.parts.node("Reshape", f"{name}/blocks", [f"{stem}.qweight", shape])
        return self._multiply_blocks(name, [x, blocks, f"{stem}.scales"], rows.shape, output)

    def _multiply_blocks(
        self,
        name: str,
        inputs: Sequence[str],
        sizes: tuple[int, ...],
        output: str | None,
    ) -> str:
        return self.parts.node(
            "MatMulNBits",
            f"{name}/MatMulNBits",
            inputs,
            output=output or f"{name}/output_0",
            domain=MICROSOFT,
            N=sizes[0],
            K=sizes[1],
            bits=self._bits,
            block_size=BLOCK,
            accuracy_level=self.accuracy_level,
        )

    def _multiply_integers(
        self, name: str, x: str, weight: NDArray[np.float32], output: str | None
    ) -> str:
        stem = name[1:].replace("/", ".")
        peaks = np.abs(weight).max(axis=1, keepdims=True)
        scales = np.maximum(peaks, np.finfo(np.float32).tiny) / _PEAK_LEVEL
        levels = np.rint(weight / scales).astype(np.int8)
        rounded, step, zero = self._rounded(x)
        inputs = [
            rounded,
            self.parts.constant(f"{stem}.qweight", np.ascontiguousarray(levels.T)),
            step,
            self.parts.constant(f"{stem}.scales", scales[:, 0]),
            zero,
        ]
        return self.parts.node(
            "MatMulIntegerToFloat",
            f"{name}/MatMulIntegerToFloat",
            inputs,
            output=output or f"{name}/output_0",
            domain=MICROSOFT,
        )

    def _rounded(self, x: str) -> tuple[str, str, str]:
        """`x` in 8 bits, and the constants of its step and its zero; once for all its products.

        Unsigned, because kernels of VNNI multiply unsigned by signed.
        """
        peak = max(self.peaks[x], float(np.finfo(np.float32).tiny) * _PEAK_LEVEL)
        step = self.parts.constant(f"{x}/step", np.array(peak / _PEAK_LEVEL, np.float32))
        zero = self.parts.constant("zero_level", np.array(_ZERO_LEVEL, np.uint8))
        name = f"{x}/rounded"
        if any(node.name == name for node in self.parts.nodes):
            return f"{name}/output_0", step, zero
        return self.parts.node("QuantizeLinear", name, [x, step, zero]), step, zero
