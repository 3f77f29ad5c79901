"""The engine on a GPU: is it right, is it exact, and how fast is it?

One script for whenever a GPU is at hand. It runs the engine of a site as the engine process builds
it for CUDA, in this process: half precision, keys and values on the device, decode steps captured
as graphs. In turn: its distance from the CPU's fp32, token by token; whether generations come out
the same in company, from the cache and resumed; decode steps in batches of 1 to 256, captured and
not; first prefills; and a burst of clients through the scheduler, with the time to first token.

    python -m loadtests.cuda_engine [--shape 0.5b] [--json FILE] [--quick]

Of what `pip install 'firsthop[cuda]'` installs, it needs numpy, onnx, onnxruntime-gpu, msgspec and
tokenizers, and CUDA's libraries, which may be PyTorch's. `--provider cpu` goes the
same way without a GPU: arrays lie in memory that the engine treats as a device's. The models are
written to build/cuda_engine first. Prints a table last; exits with 1 when the GPU is wrong or
misses the target.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.core.generation import GenerationRequest, Sampling, TokenFrame
from gateway.engine.bundle import load_bundle
from gateway.engine.frames import Start
from gateway.engine.worker.__main__ import engine_over
from gateway.engine.worker.cuda import what_is_missing
from gateway.engine.worker.loading import Loaded
from gateway.engine.worker.model import DecoderModel
from gateway.engine.worker.processor import CPU, Processor, cuda
from loadtests.command_line import BUILD, parser_for
from loadtests.device_checks import divergence, exactness, faults, reference
from loadtests.facts import conclude, percentile, summary_ms, verdict
from models.make_tiny import BENCHMARK_SHAPES, write_benchmark_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.engine.bundle_facts import Bundle, Provider
    from gateway.engine.worker.engine import Engine
    from models.matrices import Precision

SEED: Final = 11
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PREFILLED: Final = (1, 4, 16)
CONTEXT_TOKENS: Final = 512
PROMPT_TOKENS: Final = 64
ANSWER_TOKENS: Final = 48
TARGET_TOKENS_PER_S: Final = 42_362.0
TARGET_TTFT_S: Final = 0.5
_NUM_SPARE_ROWS: Final = 16
_NUM_WARM_UPS: Final = 5
_GREEDY: Final = Sampling(temperature=0.0)

Ids = list[list[int]]


def processor_of(provider: Provider, *, captures: bool = True) -> Processor:
    """The GPU, or what takes its way on the CPU."""
    if provider == "cuda":
        return cuda(captures=captures)
    return Processor("cpu", "CPUExecutionProvider", is_apart=True, captures=captures)


def bundle_of(shape: str, precision: Precision) -> Bundle:
    """Random weights in this precision, written if they are not there yet."""
    out = BUILD / "cuda_engine" / f"{shape}-{precision}"
    if not (out / "manifest.toml").exists():
        write_benchmark_bundle(out, shape, precision)
    return load_bundle(out, verify=False)


def model_of(bundle: Bundle, processor: Processor, num_rows: int) -> DecoderModel:
    """The bundle's only graph."""
    return DecoderModel.load(
        bundle.artifacts[0].path,
        num_rows=num_rows,
        max_context_tokens=CONTEXT_TOKENS,
        num_threads=0,
        spin=False,
        processor=processor,
    )


def prompts_of(vocab_size: int, count: int, *, longest: int, shortest: int) -> Ids:
    """Random prompts of so many tokens, always the same ones."""
    rng = random.Random(SEED)
    sizes = [rng.randint(shortest, longest) for _ in range(count)]
    return [rng.choices(range(vocab_size), k=size) for size in sizes]


def timed_s(run: Callable[[], object], num_rounds: int) -> float:
    """The median of some runs."""
    taken_s = []
    for _ in range(_NUM_WARM_UPS + num_rounds):
        began_s = time.perf_counter()
        run()
        taken_s.append(time.perf_counter() - began_s)
    return statistics.median(taken_s[_NUM_WARM_UPS:])


def decode_speeds(
    model: DecoderModel, batches: Sequence[int], num_rounds: int
) -> list[dict[str, Any]]:
    """Steps of rows that hold PROMPT_TOKENS tokens, their likeliest tokens read."""

    def step(rows: int) -> None:
        model.decode([1] * rows, [PROMPT_TOKENS] * rows)
        model.top(rows)

    found = []
    for rows in batches:
        step_s = timed_s(partial(step, rows), num_rounds)
        found.append(
            {"rows": rows, "step_ms": round(step_s * 1e3, 3), "tokens_per_s": round(rows / step_s)}
        )
    return found


def prefill_speeds(model: DecoderModel, num_rounds: int) -> list[dict[str, Any]]:
    """Whole prompts of PROMPT_TOKENS tokens in one run."""
    found = []
    for rows in PREFILLED:
        prompts = prompts_of(
            model.layout.vocab_size, rows, longest=PROMPT_TOKENS, shortest=PROMPT_TOKENS
        )
        run_s = timed_s(partial(model.prefill_together, 0, prompts), num_rounds)
        tokens_per_s = round(rows * PROMPT_TOKENS / run_s)
        found.append(
            {"prompts": rows, "run_ms": round(run_s * 1e3, 3), "tokens_per_s": tokens_per_s}
        )
    return found


def burst(engine: Engine, prompts: Ids, num_clients: int) -> dict[str, Any]:
    """Clients that come at the same moment and ask again as soon as they are answered."""
    waiting = list(enumerate(prompts))
    asked_s: dict[int, float] = {}
    firsts: list[float] = []
    num_tokens = 0

    def ask() -> None:
        key, prompt = waiting.pop()
        asked_s[key] = time.perf_counter()
        engine.submit(
            key,
            GenerationRequest(str(key), tuple(prompt), ANSWER_TOKENS, _GREEDY, ignore_end=True),
        )

    began_s = time.perf_counter()
    for _ in range(min(num_clients, len(waiting))):
        ask()
    while not engine.is_idle:
        engine.step()
        now_s = time.perf_counter()
        for key, event in engine.take_events():
            if isinstance(event, TokenFrame):
                num_tokens += len(event.ids)
                if event.first_index == 0:
                    firsts.append(now_s - asked_s[key])
            elif event.error:
                raise RuntimeError(event.error)
            elif waiting:
                ask()
    took_s = time.perf_counter() - began_s
    return {
        "clients": num_clients,
        "answer_tokens": ANSWER_TOKENS,
        "tokens_per_s": round(num_tokens / took_s),
        "ttft_ms": summary_ms(firsts, SEED),
        "ttft_p99_s": round(percentile(firsts, 0.99), 4),
    }


class Run:
    """One shape on one provider; `quick` takes a few samples of everything."""

    def __init__(self, shape: str, provider: Provider, *, quick: bool) -> None:
        self._provider = provider
        self._batches = BATCHES[:3] if quick else BATCHES
        self._num_rounds = 3 if quick else 50
        self._num_checked, self._checked_tokens = (4, 8) if quick else (16, 32)
        self._num_requests = 12 if quick else 2000
        self._half, self._single = bundle_of(shape, "fp16"), bundle_of(shape, "fp32")
        self._num_rows = max(self._batches[-1], PREFILLED[-1], self._num_checked)

    def figures(self) -> dict[str, Any]:
        """Everything, in the order of the module's text."""
        vocab_size, found = 0, {}
        for captures in (True, False):
            processor = processor_of(self._provider, captures=captures)
            model = model_of(self._half, processor, self._num_rows + _NUM_SPARE_ROWS + 1)
            vocab_size = model.layout.vocab_size
            if captures:
                found = self._captured(model, vocab_size)
            else:
                found["decode_without_graphs"] = decode_speeds(
                    model, self._batches, self._num_rounds
                )
            del model  # before the next one takes as much memory
        return found

    def _captured(self, model: DecoderModel, vocab_size: int) -> dict[str, Any]:
        checked = prompts_of(vocab_size, self._num_checked, longest=PROMPT_TOKENS, shortest=1)
        single = model_of(self._single, CPU, 1)
        expected = reference(single, checked, self._checked_tokens)
        del single
        asked = prompts_of(vocab_size, self._num_requests, longest=96, shortest=32)
        return {
            "against_cpu_fp32": divergence(model, checked, expected),
            "exactness": exactness(partial(self._engine, model, 4), checked),
            "decode": decode_speeds(model, self._batches, self._num_rounds),
            "first_prefill": prefill_speeds(model, self._num_rounds),
            "burst": burst(self._engine(model, self._batches[-1]), asked, self._batches[-1]),
        }

    def _engine(self, model: DecoderModel, num_slots: int) -> Engine:
        start = Start(str(self._half.root), num_slots=num_slots, max_num_queued=BATCHES[-1])
        loaded = Loaded(model, self._provider, True, _NUM_SPARE_ROWS)
        return engine_over(loaded, start, self._half, lambda: None)


def environment() -> dict[str, str]:
    """The GPU, its driver and ONNX Runtime."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    found = {"gpu": "none"}
    with suppress(OSError):
        said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
        found = {"gpu": said.strip() or "none"}
    for name in ("onnxruntime-gpu", "onnxruntime"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def table(body: dict[str, Any]) -> str:
    """The figures for people."""
    check, crowd = body["against_cpu_fp32"], body["burst"]
    lines = [
        body["model"],
        f"against the CPU's fp32: {check['same_choice_ratio']:.2%} of {check['tokens']} choices "
        f"the same, worst regret {check['worst_regret']}, "
        f"divergence {check['mean_divergence_nats']:.2g} nats",
    ]
    for name, one in body["exactness"].items():
        lines.append(f"{name:<20} {one['identical']} of {one['answers']} answers as alone")
    lines.append(f"{'rows':>6} {'step ms':>9} {'tokens/s':>10} {'without graphs':>15}")
    for graph, eager in zip(body["decode"], body["decode_without_graphs"], strict=True):
        lines.append(
            f"{graph['rows']:>6} {graph['step_ms']:>9} {graph['tokens_per_s']:>10} "
            f"{eager['tokens_per_s']:>15}"
        )
    lines += [
        f"{one['prompts']:>3} prompts at once: {one['run_ms']} ms, {one['tokens_per_s']} tokens/s"
        for one in body["first_prefill"]
    ]
    lines.append(
        f"burst of {crowd['clients']} clients: {crowd['tokens_per_s']} tokens/s, "
        f"first token p99 {crowd['ttft_p99_s'] * 1e3:.0f} ms"
    )
    return "\n".join(lines)


def missed_targets(found: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    missed = faults(found["against_cpu_fp32"])
    if found["burst"]["tokens_per_s"] < TARGET_TOKENS_PER_S:
        missed.append("tokens per second under a burst")
    if not found["burst"]["ttft_p99_s"] < TARGET_TTFT_S:
        missed.append("time to first token under a burst")
    return missed


def main() -> int:
    """Check, measure and save the result."""
    parser = parser_for("cuda_engine", __doc__)
    parser.add_argument("--shape", choices=sorted(BENCHMARK_SHAPES), default="0.5b")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="few samples, not kept")
    arguments = parser.parse_args()
    if arguments.provider == "cuda" and (missing := what_is_missing()):
        parser.exit(1, f"cuda_engine: {missing}\n")
    found = Run(arguments.shape, arguments.provider, quick=arguments.quick).figures()
    missed = missed_targets(found)
    body = {
        "model": f"{arguments.shape} shape, random weights, fp16 on {arguments.provider}",
        "environment": environment(),
        "context_tokens": PROMPT_TOKENS,
        "target_tokens_per_s": TARGET_TOKENS_PER_S,
        "target_ttft_s": TARGET_TTFT_S,
        **found,
        **verdict([], missed=missed),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(body, indent=2) + "\n")
    if arguments.quick:
        code = int(bool(faults(found["against_cpu_fp32"])))
    else:
        code = conclude("cuda_engine", SEED, body)
    print(table(body))
    return code


if __name__ == "__main__":
    sys.exit(main())
