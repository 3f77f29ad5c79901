"""ONNX Runtime's sessions, as far as they are used, and how they are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from gateway.core.errors import EngineFault
from gateway.engine.bundle_facts import BundleUnreadable
from gateway.engine.worker.served_graph import EXTERNAL_WEIGHTS_KEY

if TYPE_CHECKING:
    from pathlib import Path

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


class Session(Protocol):
    """The part of onnxruntime.InferenceSession that is used."""

    def io_binding(self) -> Binding:
        """Nothing is bound yet."""
        ...

    def run_with_iobinding(self, binding: Binding) -> None:
        """Run over what is bound."""
        ...


def open_session(graph: bytes, model_path: Path, *, num_threads: int, spin: bool) -> Session:
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
    return cast("Session", session)


def run(session: Session, binding: Binding) -> None:
    """Run over what is bound. Raises EngineFault."""
    try:
        session.run_with_iobinding(binding)
    except _RUNTIME_ERRORS as error:
        raise EngineFault(f"the model could not be run: {error}") from error
