"""Whether CUDA can be used here, and what is missing if not."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Final

import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi import build_and_package_info

from gateway.core.errors import SetupError
from gateway.engine.worker.processor import cuda
from gateway.engine.worker.runtime_errors import RUNTIME_ERRORS

_DRIVER: Final = "libcuda.so.1"
_LIBRARIES: Final = ("libcudart.so.{}", "libcublasLt.so.{}", "libcublas.so.{}", "libcurand.so.10")
"""What ONNX Runtime's CUDA provider is linked with, by the major version of CUDA; each after those
that it needs itself."""
_LATER: Final = ("libnvrtc.so.{}", "libcudnn.so.9")
"""What it loads when a kernel asks for it."""
_OPSET, _IR_VERSION = 21, 10
_SILENT: Final = 4  # ONNX Runtime's log level for fatal errors only


class CudaUnavailable(SetupError):
    """CUDA was asked for and cannot be used on this machine."""

    code = "cuda_unavailable"

    def __init__(self, what_is_missing: str) -> None:
        super().__init__(f"models cannot run on CUDA here: {what_is_missing}")


def what_is_missing() -> str:
    """The cause and the mend; empty if sessions start on CUDA, whose libraries are loaded then."""
    if cuda().execution_provider not in onnxruntime.get_available_providers():
        return "this build of ONNX Runtime has no CUDA; use Linux on x86-64, or choose cpu"
    if not _loads(_DRIVER):
        return f"there is no NVIDIA driver ({_DRIVER}); install one, or choose cpu"
    major = str(build_and_package_info.cuda_version).partition(".")[0]
    absent = [name for name in (one.format(major) for one in _LIBRARIES) if not _loads(name)]
    if absent:
        return (
            f"libraries of CUDA {major} are missing ({', '.join(absent)}); "
            "pip install 'firsthop[cuda]'"
        )
    for name in _LATER:
        _loads(name.format(major))
    if not starts():
        return "ONNX Runtime finds no GPU that it can use; see what nvidia-smi says"
    return ""


def starts() -> bool:
    """Whether a session starts on the GPU."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "probe", [value], [result])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    provider = cuda().execution_provider
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=[(provider, cuda().provider_options())]
        )
    except RUNTIME_ERRORS:
        return False
    return provider in session.get_providers()


def _loads(name: str) -> bool:
    """Load a library for all that need it later: of an installed package, or as the linker finds.

    ONNX Runtime's own search, `preload_dlls`, looks beside itself only and prints what it misses.
    """
    beside = (
        path for folder in sys.path for path in sorted(Path(folder).glob(f"nvidia/*/lib/{name}"))
    )
    for candidate in (*map(str, beside), name):
        try:
            ctypes.CDLL(candidate, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return True
    return False
