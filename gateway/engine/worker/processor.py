"""What runs a model's graphs and where their numbers lie: all that CPU and CUDA differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.core.errors import EngineFault
from gateway.engine.worker.runtime_errors import RUNTIME_ERRORS
from gateway.engine.worker.tensors import HOST, DeviceTensor, Tensor

if TYPE_CHECKING:
    from gateway.engine.bundle_facts import Provider

_NO_MEMORY: tuple[type[Exception], ...] = (*RUNTIME_ERRORS, MemoryError)


@dataclass(frozen=True, slots=True)
class Processor:
    """One of ONNX Runtime's execution providers, and its memory."""

    name: Provider
    """Whose graph of a bundle it runs."""
    execution_provider: str
    options: tuple[tuple[str, str], ...] = ()
    memory: str = HOST
    """ONNX Runtime's name of where a model's numbers lie."""
    is_apart: bool = False
    """The host does not see that memory: what it wants to know is copied."""
    captures: bool = False
    """Decode steps are captured as graphs of kernels and replayed."""

    def provider_options(self, *, captures: bool = False) -> dict[str, str]:
        """Of a session, which captures graphs or not."""
        return dict(self.options) | ({"enable_cuda_graph": "1"} if captures else {})

    def tensor(self, shape: tuple[int, ...], dtype: type) -> Tensor:
        """An array; zeros until it is sent or written on the host, anything on a device.

        Raises EngineFault when there is no memory for it.
        """
        if not self.is_apart:
            return Tensor(shape, dtype)
        try:
            return DeviceTensor(shape, dtype, self.memory)
        except _NO_MEMORY as error:
            raise EngineFault(
                f"no memory for the model's arrays on {self.name}: {error}"
            ) from error


CPU: Final = Processor("cpu", "CPUExecutionProvider")


def cuda(*, captures: bool = True) -> Processor:
    """The first GPU. TensorFloat-32 keeps ten bits of a product's factors, so it stays off; the
    arena takes memory as it is needed, since most of it belongs to the KV rows."""
    options = (
        ("device_id", "0"),
        ("use_tf32", "0"),
        ("arena_extend_strategy", "kSameAsRequested"),
    )
    return Processor("cuda", "CUDAExecutionProvider", options, "cuda", True, captures)
