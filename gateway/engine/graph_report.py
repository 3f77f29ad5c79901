"""What the engine's process can say about ONNX Runtime and a model's graphs.

ONNX Runtime is loaded in engine processes only, so whoever else wants to know asks one and reads
these values as JSON.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import msgspec

from gateway.core.errors import SetupError
from gateway.runtime.own_module import module_command, module_environment

if TYPE_CHECKING:
    from pathlib import Path

PROBE_TIMEOUT_S = 120.0


class TrialRun(msgspec.Struct, frozen=True):
    """One row through the model, alone on the machine as it is now."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float


class GraphReport(msgspec.Struct, frozen=True, kw_only=True):
    """One graph of a model directory. `problem` says why it cannot be served, if so."""

    provider: str
    precision: str
    file: str
    weights_bytes: int
    """The graph file and the external weights beside it."""
    inputs: tuple[str, ...] = ()
    num_layers: int = 0
    num_kv_heads: int = 0
    head_dim: int = 0
    vocab_size: int = 0
    kv_dtype: str = ""
    kv_bytes_per_token: int = 0
    max_len_tokens: int | None = None
    trial: TrialRun | None = None
    problem: str = ""


class RuntimeReport(msgspec.Struct, frozen=True):
    """ONNX Runtime on this machine, and the graphs that were asked about."""

    version: str
    accelerators: tuple[str, ...]
    """Of `cpu` and `cuda`, what a session really started on."""
    graphs: tuple[GraphReport, ...] = ()
    cuda_problem: str = ""
    """What is missing for CUDA, and the mend."""


def probe_runtime(directory: Path | None = None, *, run: bool = False) -> RuntimeReport:
    """Ask a fresh engine process; with `run`, graphs that can run here also do, for a few tokens.

    Raises SetupError with the process's last line when it fails, for instance because ONNX
    Runtime cannot be loaded.
    """
    arguments = [str(directory)] if directory is not None else []
    arguments += ["--run"] if run else []
    try:
        done = subprocess.run(
            module_command("gateway.engine.worker.inspect", *arguments),
            env=module_environment(os.environ),
            capture_output=True,
            check=False,
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"the engine did not answer in {PROBE_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise SetupError(said[-1] if said else f"the engine ended with code {done.returncode}")
    return msgspec.json.decode(done.stdout, type=RuntimeReport)
