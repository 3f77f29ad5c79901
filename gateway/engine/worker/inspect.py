"""`python -m gateway.engine.worker.inspect [DIR] [--run]`: a RuntimeReport as JSON on stdout."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import onnx
import onnxruntime

from gateway.core.errors import EngineFault
from gateway.engine.bundle import load_bundle
from gateway.engine.bundle_facts import BundleError, graph_files
from gateway.engine.graph_report import GraphReport, RuntimeReport, TrialRun
from gateway.engine.worker.cuda import what_is_missing
from gateway.engine.worker.model import DecoderModel
from gateway.engine.worker.processor import CPU, cuda
from gateway.engine.worker.served_graph import served_graph
from gateway.engine.worker.threads import candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.engine.bundle_facts import Artifact

_PREFILL_TOKENS, _DECODE_TOKENS = 64, 32
_SILENT = 4  # ONNX Runtime's log level for fatal errors only


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; a directory that cannot be read is one line on stderr and code 1."""
    parser = argparse.ArgumentParser(prog="python -m gateway.engine.worker.inspect")
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--run", action="store_true", help="run a few tokens")
    args = parser.parse_args(argv)
    try:
        artifacts = load_bundle(args.directory, verify=False).artifacts if args.directory else ()
    except BundleError as error:
        parser.exit(1, f"{error}\n")
    onnxruntime.set_default_logger_severity(_SILENT)
    missing = what_is_missing()
    report = RuntimeReport(
        version=onnxruntime.__version__,
        accelerators=("cpu",) if missing else ("cpu", "cuda"),
        cuda_problem=missing,
        graphs=tuple(
            _report(artifact, run=args.run, cuda_problem=missing) for artifact in artifacts
        ),
    )
    sys.stdout.buffer.write(msgspec.json.encode(report))
    return 0


def _report(artifact: Artifact, *, run: bool, cuda_problem: str) -> GraphReport:
    report = GraphReport(
        provider=artifact.provider,
        precision=artifact.precision,
        file=artifact.path.name,
        weights_bytes=_weights_bytes(artifact.path),
    )
    try:
        _, layout = served_graph(artifact.path)
        can_run = artifact.provider == "cpu" or not cuda_problem
        trial = _trial(artifact) if run and can_run else None
    except (BundleError, EngineFault) as error:
        return msgspec.structs.replace(report, problem=str(error))
    return msgspec.structs.replace(
        report,
        inputs=_inputs(artifact.path),
        num_layers=layout.num_layers,
        num_kv_heads=layout.num_kv_heads,
        head_dim=layout.head_dim,
        vocab_size=layout.vocab_size,
        kv_dtype=layout.kv_dtype,
        kv_bytes_per_token=layout.kv_bytes_per_token,
        max_len_tokens=layout.max_len_tokens,
        trial=trial,
    )


def _trial(artifact: Artifact) -> TrialRun:
    """Prefill and decode speed of one row. Raises BundleError, EngineFault."""
    context = _PREFILL_TOKENS + _DECODE_TOKENS
    (most,) = candidates(spare_cores=1, is_small=False)
    model = DecoderModel.load(
        artifact.path,
        num_rows=1,
        max_context_tokens=context,
        num_threads=most,
        spin=False,
        processor=cuda() if artifact.provider == "cuda" else CPU,
    )
    num_prefill = min(_PREFILL_TOKENS, model.max_context_tokens // 2)
    num_decode = min(_DECODE_TOKENS, model.max_context_tokens - num_prefill)
    ids = [token % model.layout.vocab_size for token in range(num_prefill)]
    model.prefill(0, ids, 0)  # the first run also allocates
    started_s = time.perf_counter()
    model.prefill(0, ids, 0)
    prefilled_s = time.perf_counter()
    for index in range(num_decode):
        model.decode([ids[0]], [num_prefill + index])
    decoded_s = time.perf_counter()
    return TrialRun(
        prefill_tokens_per_s=num_prefill / (prefilled_s - started_s),
        decode_tokens_per_s=num_decode / (decoded_s - prefilled_s),
    )


def _inputs(model_path: Path) -> tuple[str, ...]:
    graph = onnx.load(str(model_path), load_external_data=False).graph
    return tuple(value.name for value in graph.input)


def _weights_bytes(model_path: Path) -> int:
    return sum(path.stat().st_size for path in graph_files(model_path))


if __name__ == "__main__":
    sys.exit(main())
