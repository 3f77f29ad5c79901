"""ONNX Runtime's sessions, as far as they are used, and how they are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import onnxruntime

from gateway.core.errors import EngineFault
from gateway.engine.bundle_facts import BundleUnreadable
from gateway.engine.worker.runtime_errors import RUNTIME_ERRORS
from gateway.engine.worker.served_graph import EXTERNAL_WEIGHTS_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.engine.worker.processor import Processor
    from gateway.engine.worker.tensors import Binding

_QUIET = 3  # ONNX Runtime's log level for errors only
_NOT_CAPTURED: Final = -1


class Session(Protocol):
    """The part of onnxruntime.InferenceSession that is used."""

    def io_binding(self) -> Binding:
        """Nothing is bound yet."""
        ...

    def run_with_iobinding(self, binding: Binding, options: Any = None) -> None:
        """Run over what is bound."""
        ...


def open_session(
    graph: bytes,
    model_path: Path,
    processor: Processor,
    *,
    num_threads: int = 1,
    spin: bool = False,
    captures: bool = False,
) -> Session:
    """A session over a served graph; on the CPU with so many threads inside an operator.

    One that captures graphs is to be run with `run_options`. Raises BundleUnreadable for a graph
    that ONNX Runtime does not accept, or does not run on the processor.
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
    provider = processor.execution_provider
    try:
        session = onnxruntime.InferenceSession(
            graph, options, providers=[(provider, processor.provider_options(captures=captures))]
        )
    except RUNTIME_ERRORS as error:
        raise BundleUnreadable(model_path, f"ONNX Runtime does not load it ({error})") from error
    if provider not in session.get_providers():
        raise BundleUnreadable(model_path, f"ONNX Runtime does not run it on {processor.name}")
    return cast("Session", session)


def run_options(graph_id: int = _NOT_CAPTURED) -> Any:
    """For a run that captures the graph of this id or replays it; without one it does neither."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph_id))
    return options


def run(session: Session, binding: Binding, options: Any = None) -> None:
    """Run over what is bound. Raises EngineFault."""
    try:
        session.run_with_iobinding(binding, options)
    except RUNTIME_ERRORS as error:
        raise EngineFault(f"the model could not be run: {error}") from error
