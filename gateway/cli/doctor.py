"""`firsthop doctor`: what works on this machine, one line each, with the mend."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.grid_plan import ADMIN_OFFSET, GRPC_OFFSET, HTTP_OFFSET, PEER_OFFSET
from gateway.cli.machine import Check, State, check_ports, machine_checks
from gateway.cli.progress import progress
from gateway.cli.speech_checks import speech_checks
from gateway.cli.up import DEFAULT_PORT_BASE, add_port_base
from gateway.config.site import Model
from gateway.core.errors import SetupError
from gateway.engine.bundle import load_bundle
from gateway.engine.graph_report import probe_runtime

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers
    from gateway.engine.bundle_facts import Bundle
    from gateway.engine.graph_report import RuntimeReport

_EPILOG = """\
examples:
  firsthop doctor
  firsthop doctor --model ~/models/qwen2.5-0.5b-int4
  firsthop doctor --json

Exit code 1 when something fails; warnings name parts that are left out.
"""
_COLOURS = {State.OK: "\x1b[32m", State.WARN: "\x1b[33m", State.FAIL: "\x1b[31m"}


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        description="Say what works on this machine, one line each, with the mend.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="", metavar="DIR", help="model directory to try")
    add_port_base(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run every check and print it; 1 when one fails."""
    base: int = args.port_base or DEFAULT_PORT_BASE
    ports = {
        "HTTP": base + HTTP_OFFSET,
        "gRPC": base + GRPC_OFFSET,
        "peer": base + PEER_OFFSET,
        "admin": base + ADMIN_OFFSET,
    }
    with progress("trying the machine and the model"):
        checks = [*machine_checks(), *engine_checks(args.model), *speech_checks()]
        checks += check_ports(ports, admin_port=ports["admin"])
    if args.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(checks)).decode() + "\n")
    else:
        print(report(checks, colour=sys.stdout.isatty()))
    return 1 if any(check.state is State.FAIL for check in checks) else 0


def report(checks: list[Check], *, colour: bool) -> str:
    """One line per check: state, name, what was found, and after an arrow the mend."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        state = f"{check.state:<5}"
        if colour:
            state = f"{_COLOURS[check.state]}{state}\x1b[0m"
        mend = f" -> {check.mend}" if check.mend else ""
        lines.append(f"{state} {check.name:<{width}}  {check.detail}{mend}")
    return "\n".join(lines)


def engine_checks(model_directory: str) -> list[Check]:
    """ONNX Runtime, its accelerators, and a model that is verified and runs.

    One engine process answers for all of it: starting one is what takes the time.
    """
    bundle: Bundle | None = None
    try:
        bundle = load_bundle(Model(directory=model_directory).path)
    except SetupError as error:
        cause, _, mend = str(error).rpartition("; ")
        model = Check("model", State.FAIL, cause or mend, mend if cause else "")
    try:
        runtime = probe_runtime(bundle.root if bundle else None, run=True)
    except SetupError as error:
        return [Check("onnxruntime", State.FAIL, str(error), "make setup")]
    if bundle is not None:
        model = _trial_check(f"{bundle.name} {bundle.version}", runtime)
    return [*_runtime_checks(runtime), model]


def _runtime_checks(runtime: RuntimeReport) -> list[Check]:
    checks = [Check("onnxruntime", State.OK, f"{runtime.version}, runs models on the CPU")]
    if "cuda" in runtime.accelerators:
        detail = "models with a graph for it run on the GPU, with model.accelerator = cuda or auto"
        checks.append(Check("cuda", State.OK, detail))
    elif Path("/dev/nvidiactl").exists():
        cause, _, mend = runtime.cuda_problem.rpartition("; ")
        checks.append(Check("cuda", State.WARN, f"models run on the CPU: {cause}", mend))
    else:
        checks.append(Check("cuda", State.OK, "no NVIDIA GPU: models run on the CPU"))
    return checks


def _trial_check(name: str, runtime: RuntimeReport) -> Check:
    for graph in runtime.graphs:
        if graph.trial is not None:
            return Check(
                "model",
                State.OK,
                f"{name} verifies and runs: one row decodes "
                f"{graph.trial.decode_tokens_per_s:.0f} tokens/s",
            )
    problem = next((graph.problem for graph in runtime.graphs if graph.problem), "")
    if problem:
        return Check("model", State.FAIL, f"{name}: {problem}")
    return Check("model", State.WARN, f"{name} verifies; it has no graph for the CPU to try")
