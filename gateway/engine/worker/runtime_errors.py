"""What ONNX Runtime raises: its exceptions have no parent of their own."""

from __future__ import annotations

from onnxruntime.capi import onnxruntime_pybind11_state

RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)
