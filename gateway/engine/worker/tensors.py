"""Arrays that runs read and write, where the host sees them and where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOST = "cpu"
"""ONNX Runtime's name of the host's memory."""


class Binding(Protocol):
    """The part of onnxruntime.IOBinding that is used."""

    def bind_input(
        self, name: str, device: str, device_id: int, dtype: type, shape: list[int], pointer: int
    ) -> None:
        """Read an input from this memory."""
        ...

    def bind_output(
        self, name: str, device: str, device_id: int, dtype: type, shape: list[int], pointer: int
    ) -> None:
        """Write an output to this memory."""
        ...


class Tensor:
    """An array in the host's memory; `shape` and `dtype` as numpy has them."""

    def __init__(self, shape: tuple[int, ...], dtype: type) -> None:
        self.host: NDArray[Any] = np.zeros(shape, dtype)
        """What the host writes; runs see it after `send`."""
        self._device = HOST
        self.pointer = self.host.ctypes.data
        """Where runs find it."""

    def send(self) -> None:
        """Let runs see what the host wrote."""

    def read(self) -> NDArray[Any]:
        """What the last run left, valid until the next one."""
        return self.host

    def feed(self, binding: Binding, name: str, *, num_rows: int | None = None) -> None:
        """Make it the input of this name, or its first rows."""
        binding.bind_input(name, self._device, 0, *self._bound(num_rows))

    def take(self, binding: Binding, name: str, *, num_rows: int | None = None) -> None:
        """Make it the output of this name, or its first rows."""
        binding.bind_output(name, self._device, 0, *self._bound(num_rows))

    def _bound(self, num_rows: int | None) -> tuple[type, list[int], int]:
        shape = list(self.host.shape)
        if num_rows is not None:
            shape[0] = num_rows
        return self.host.dtype.type, shape, self.pointer


class DeviceTensor(Tensor):
    """An array on a device, at an address that stays.

    The host's side of it takes no memory until it is written.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type, device: str) -> None:
        super().__init__(shape, dtype)
        self._device = device
        self._value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            list(shape), dtype, device, 0
        )
        self.pointer = self._value.data_ptr()

    def send(self) -> None:
        """Copy it to the device."""
        self._value.update_inplace(self.host)

    def read(self) -> NDArray[Any]:
        """A copy of what the last run left."""
        found: NDArray[Any] = self._value.numpy()
        return found
