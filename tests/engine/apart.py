"""A device that is none: the way of a model on a GPU, but for the GPU."""

from __future__ import annotations

from gateway.engine.worker.processor import Processor

APART = Processor("cpu", "CPUExecutionProvider", is_apart=True, captures=True)
"""Arrays of ONNX Runtime's allocator, copied to and fro; steps are told rounded lengths."""
