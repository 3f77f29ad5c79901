"""Symmetric block quantisation in the layout of ONNX Runtime's MatMulNBits.

A weight row is cut into blocks of ``BLOCK`` values; each block stores one float scale and its
values as unsigned levels around the implied zero point 2^(bits-1) (operator documentation of
com.microsoft.MatMulNBits). The value of largest magnitude maps to the lowest level exactly, which
uses the whole signed range -2^(bits-1) .. 2^(bits-1)-1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bits = Literal[4, 8]

BLOCK = 32
"""Values that share one scale; the block size of the measured int4 builds."""


def quantise(
    weight: NDArray[np.float32], bits: Bits
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantise the rows of ``weight`` [rows, columns].

    Returns packed levels u8[rows, columns / 32, 4 * bits] (two 4-bit levels to a byte, the earlier
    one in the low nibble) and scales f32[rows, columns / 32]. Raises ValueError when the columns
    are not a multiple of the block.
    """
    rows, columns = weight.shape
    if columns % BLOCK:
        raise ValueError(f"cannot quantise {columns} columns: not a multiple of the block {BLOCK}")
    blocks = weight.reshape(rows, columns // BLOCK, BLOCK)
    half = 1 << (bits - 1)
    peak_index = np.abs(blocks).argmax(axis=2)
    peaks = np.take_along_axis(blocks, peak_index[:, :, None], axis=2)[:, :, 0]
    scales = peaks / np.float32(-half)
    inverse = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales != 0)
    levels = np.rint(blocks * inverse[:, :, None]).clip(-half, half - 1) + half
    return _pack(levels.astype(np.uint8), bits), scales


def dequantise(
    packed: NDArray[np.uint8], scales: NDArray[np.float32], bits: Bits
) -> NDArray[np.float32]:
    """Return the float rows [rows, columns] that ``quantise`` output stands for."""
    levels = packed
    if bits == 4:
        levels = np.stack((packed & 0x0F, packed >> 4), axis=-1).reshape(*packed.shape[:2], BLOCK)
    centred = levels.astype(np.float32) - np.float32(1 << (bits - 1))
    return (centred * scales[:, :, None]).reshape(len(packed), -1)


def _pack(levels: NDArray[np.uint8], bits: Bits) -> NDArray[np.uint8]:
    if bits == 8:
        return levels
    low, high = levels[:, :, 0::2], levels[:, :, 1::2]
    return low + high * np.uint8(16)
