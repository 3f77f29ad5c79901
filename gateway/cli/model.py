"""`firsthop model inspect`: what a model directory holds and whether it fits this machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.action import add_action
from gateway.cli.progress import progress
from gateway.config.site import SiteConfig
from gateway.engine.bundle import load_bundle
from gateway.engine.graph_report import probe_runtime

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers
    from gateway.engine.bundle_facts import Bundle
    from gateway.engine.graph_report import GraphReport, RuntimeReport

_EPILOG = """\
examples:
  firsthop model inspect models/subscriber_care/bundle
  firsthop model inspect ~/models/qwen2.5-0.5b-int4 --json
"""
_WEIGHTS_RESIDENT_RATIO = 2.0
"""Resident bytes per byte of weights: 1.9 for int4 and 1.5 for fp32, measured on the CPU."""


class Fitness(msgspec.Struct, frozen=True):
    """Whether one graph can be served here; `problem` is empty when it can."""

    provider: str
    precision: str
    needed_bytes: int
    """Weights as they are loaded and KV rows of a full site, about."""
    problem: str


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `model` with its action."""
    parser = subparsers.add_parser(
        "model",
        description="Look into a model directory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    inspect = add_action(
        actions,
        "inspect",
        "print layout, precision, sizes and fitness",
        "firsthop model inspect models/subscriber_care/bundle",
        "firsthop model inspect ~/models/qwen2.5-0.5b-int4 --no-run --json",
    )
    inspect.add_argument("directory", type=Path, metavar="DIR")
    inspect.add_argument("--no-run", action="store_true", help="do not try how fast it runs")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(run=run_inspect)


def run_inspect(args: argparse.Namespace) -> int:
    """Verify and print; 1 when no graph of the directory can be served on this machine."""
    with progress("verifying and trying the model"):
        bundle = load_bundle(args.directory)
        runtime = probe_runtime(args.directory, run=not args.no_run)
    verdicts = [fitness(graph, bundle, runtime) for graph in runtime.graphs]
    if args.json:
        print(json.dumps(_json(bundle, runtime, verdicts), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(bundle, runtime, verdicts)))
    return 0 if any(not verdict.problem for verdict in verdicts) else 1


def fitness(graph: GraphReport, bundle: Bundle, runtime: RuntimeReport) -> Fitness:
    """What the graph needs against what this machine has."""
    context_tokens = bundle.max_context_tokens * SiteConfig().model.num_slots
    needed = int(
        graph.weights_bytes * _WEIGHTS_RESIDENT_RATIO + graph.kv_bytes_per_token * context_tokens
    )
    problem = graph.problem
    if not problem and graph.provider not in runtime.accelerators:
        problem = runtime.cuda_problem
    available = _available_bytes()
    if not problem and available and needed > available:
        problem = f"needs {_size(needed)} of memory, {_size(available)} are free; use fewer slots"
    return Fitness(graph.provider, graph.precision, needed, problem)


def _lines(bundle: Bundle, runtime: RuntimeReport, verdicts: list[Fitness]) -> list[str]:
    template = bundle.chat_template
    lines = [
        f"model          {bundle.name} {bundle.version}",
        f"digest         {bundle.digest}",
        f"layout         {bundle.layout}",
        f"licence        {bundle.licence or 'not stated'}",
        f"intended use   {bundle.intended_use or 'not stated'}",
        f"limits         {bundle.limits or 'not stated'}",
        f"context        {bundle.max_context_tokens} tokens",
        f"chat template  {len(template)} characters"
        if template
        else "chat template  none: this model cannot answer messages",
        f"tools          {bundle.tools}, format {bundle.tool_format}",
        f"instructions   {bundle.instructions}",
        f"end tokens     {' '.join(bundle.end_tokens)}",
    ]
    for graph, verdict in zip(runtime.graphs, verdicts, strict=True):
        lines += ["", *_graph_lines(graph), f"  fitness      {_verdict_words(verdict)}"]
    return lines


def _graph_lines(graph: GraphReport) -> list[str]:
    lines = [f"graph {graph.file} ({graph.provider}, {graph.precision})"]
    lines.append(f"  weights      {_size(graph.weights_bytes)}")
    if graph.num_layers:
        inputs = [name for name in graph.inputs if not name.startswith("past_key_values.")]
        lines += [
            f"  inputs       {', '.join(inputs)} and KV of {graph.num_layers} layers",
            f"  KV           {graph.kv_bytes_per_token} bytes per token ({graph.num_kv_heads} "
            f"heads of {graph.head_dim}, {graph.kv_dtype})",
            f"  vocabulary   {graph.vocab_size} tokens",
        ]
    if graph.trial is not None:
        lines.append(
            f"  one row      prefill {graph.trial.prefill_tokens_per_s:.0f} tokens/s, "
            f"decode {graph.trial.decode_tokens_per_s:.0f} tokens/s, on this machine now"
        )
    return lines


def _verdict_words(verdict: Fitness) -> str:
    if verdict.problem:
        return f"no: {verdict.problem}"
    slots = SiteConfig().model.num_slots
    return f"ok, about {_size(verdict.needed_bytes)} of memory with {slots} full slots"


def _json(bundle: Bundle, runtime: RuntimeReport, verdicts: list[Fitness]) -> dict[str, object]:
    facts: dict[str, object] = msgspec.to_builtins(bundle, enc_hook=str)
    return {
        **facts,
        "runtime": msgspec.to_builtins(runtime),
        "fitness": msgspec.to_builtins(verdicts),
    }


def _available_bytes() -> int | None:
    """Memory that could be used now, by Linux's own estimate; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(kib) * 1024 if kib else None


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
