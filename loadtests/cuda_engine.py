"""The decoder on a GPU: is it right, and how fast is it in batches of 1 to 256?

The engine of a site runs on the CPU. This is what serving on CUDA would rest on, in one script for
whenever a GPU is at hand: the graph that the engine serves, in half precision, over keys and values
that stay on the device, past and present in the same memory. It is held to the CPU's fp32: both are
fed the CPU's own greedy tokens, behind prompts prefilled in one padded batch, and must agree on the
likeliest next token almost always. Then come decode steps and first prefills, by batch.

    python -m loadtests.cuda_engine [--shape 0.5b] [--provider cuda] [--quick]

Needs the extra `cuda`; with `--provider cpu` everything but the speed can be tried without a GPU.
Exits with 1 when the two disagree.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime

from gateway.engine.bundle import load_bundle
from gateway.engine.worker.model import DecoderModel
from gateway.engine.worker.served_graph import (
    EXTERNAL_WEIGHTS_KEY,
    LAST_POSITIONS,
    LOGITS_INDEX,
    NUM_TOP,
    TOP_IDS,
    TOP_VALUES,
    TOTAL_LENGTH,
    served_graph,
)
from loadtests.command_line import BUILD, parser_for
from loadtests.facts import conclude, verdict
from models.make_tiny import BENCHMARK_SHAPES, write_benchmark_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gateway.engine.bundle_facts import Provider
    from models.matrices import Precision

SEED: Final = 11
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NUM_CHECKED: Final = 16
CHECKED_TOKENS: Final = 32
PROMPT_TOKENS: Final = 64
CONTEXT_TOKENS: Final = 256
PREFILLED_ROWS: Final = (1, 4, 16)
TARGET_AGREEMENT: Final = 0.98
TARGET_TOKENS_PER_S: Final = 42_362.0
_PROVIDERS: Final = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
_NUM_WARM_UPS: Final = 5
_QUIET: Final = 3

Ids = list[list[int]]


class DeviceDecoder:
    """Rows of keys and values on a device, and the graph over the first of them."""

    def __init__(self, model_path: Path, provider: str, num_rows: int) -> None:
        graph, layout = served_graph(model_path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        options.add_session_config_entry(EXTERNAL_WEIGHTS_KEY, str(model_path.parent))
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=[_PROVIDERS[provider]]
        )
        if _PROVIDERS[provider] not in self._session.get_providers():
            raise SystemExit(f"ONNX Runtime has no {_PROVIDERS[provider]} here")
        self.vocab_size = layout.vocab_size
        self._device = provider
        self._kv_type = np.float16 if layout.kv_dtype == "float16" else np.float32
        self._kv_shape = [layout.num_kv_heads, CONTEXT_TOKENS, layout.head_dim]
        self._kv = {
            f"{layer}.{part}": self._on_device([num_rows, *self._kv_shape], self._kv_type)
            for layer in range(layout.num_layers)
            for part in ("key", "value")
        }
        self._logits = self._on_device([num_rows, layout.vocab_size], np.float32)

    def _on_device(self, shape: list[int], dtype: type) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._device, 0)

    def prefill(self, prompts: Ids) -> np.ndarray[Any, Any]:
        """Whole prompts into the first rows, padded on the right: the likeliest next tokens."""
        lengths = [len(prompt) for prompt in prompts]
        width = max(lengths)
        ids = np.zeros((len(prompts), width), np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
        return self._run(ids, [length - 1 for length in lengths], lengths)

    def decode(self, last_ids: Sequence[int], lengths: Sequence[int]) -> np.ndarray[Any, Any]:
        """One token for each of the first rows, at these positions: the likeliest next tokens."""
        ids = np.array(last_ids, np.int64)[:, None]
        return self._run(ids, [0] * len(lengths), [length + 1 for length in lengths])

    def _run(
        self, ids: np.ndarray[Any, Any], wanted: Sequence[int], totals: Sequence[int]
    ) -> np.ndarray[Any, Any]:
        """`wanted` are the positions among the new tokens, `totals` how long the rows are then."""
        num_rows, width = ids.shape
        binding = self._session.io_binding()
        inputs = {
            "input_ids": ids,
            LOGITS_INDEX: np.stack([np.arange(num_rows), np.array(wanted)], axis=1),
            LAST_POSITIONS: np.array(totals, np.int32) - np.int32(1),
            TOTAL_LENGTH: np.array(max(*totals, width), np.int32),
        }
        for name, array in inputs.items():
            shape, pointer = list(array.shape), array.ctypes.data
            binding.bind_input(name, "cpu", 0, array.dtype.type, shape, pointer)
        for name, rows in self._kv.items():
            kv = (self._kv_type, [num_rows, *self._kv_shape], rows.data_ptr())
            binding.bind_input(f"past_key_values.{name}", self._device, 0, *kv)
            binding.bind_output(f"present.{name}", self._device, 0, *kv)
        shape = [num_rows, self.vocab_size]
        pointer = self._logits.data_ptr()
        binding.bind_output("logits", self._device, 0, np.float32, shape, pointer)
        top_ids = np.zeros((num_rows, NUM_TOP), np.int64)
        top_values = np.zeros((num_rows, NUM_TOP), np.float32)
        for name, array in ((TOP_IDS, top_ids), (TOP_VALUES, top_values)):
            shape, pointer = list(array.shape), array.ctypes.data
            binding.bind_output(name, "cpu", 0, array.dtype.type, shape, pointer)
        self._session.run_with_iobinding(binding)
        return top_ids[:, 0]


def bundle_of(shape: str, provider: Provider, precision: Precision) -> Path:
    """The graph with random weights in this precision, written if it is not there yet."""
    out = BUILD / "cuda_engine" / f"{shape}-{precision}"
    if not (out / "manifest.toml").exists():
        write_benchmark_bundle(out, shape, precision)
    return load_bundle(out).artifact(provider).path


def prompts_of(rng: random.Random, vocab_size: int, count: int, *, is_ragged: bool) -> Ids:
    """Random prompts; ragged ones are of 1 to PROMPT_TOKENS tokens."""
    sizes = [rng.randint(1, PROMPT_TOKENS) if is_ragged else PROMPT_TOKENS for _ in range(count)]
    return [rng.choices(range(vocab_size), k=size) for size in sizes]


def expected_tokens(model_path: Path, prompts: Ids, num_tokens: int) -> Ids:
    """What the engine's own model on the CPU answers, greedily, one prompt at a time."""
    model = DecoderModel.load(
        model_path, num_rows=1, max_context_tokens=CONTEXT_TOKENS, num_threads=0, spin=True
    )
    answers = []
    for prompt in prompts:
        answer = [int(model.prefill(0, prompt, 0)[0].argmax())]
        while len(answer) < num_tokens:
            at = len(prompt) + len(answer) - 1
            answer.append(int(model.decode([answer[-1]], [at])[0].argmax()))
        answers.append(answer)
    return answers


def agreement(decoder: DeviceDecoder, prompts: Ids, expected: Ids) -> float:
    """How often the device finds the expected token likeliest, fed with those before it."""
    found = [decoder.prefill(prompts)]
    for nth in range(len(expected[0]) - 1):
        lengths = [len(prompt) + nth for prompt in prompts]
        found.append(decoder.decode([answer[nth] for answer in expected], lengths))
    return float((np.stack(found, axis=1) == np.array(expected)).mean())


def timed_s(run: Callable[[], object], num_rounds: int) -> float:
    """The median of some runs."""
    taken_s = []
    for _ in range(_NUM_WARM_UPS + num_rounds):
        began_s = time.perf_counter()
        run()
        taken_s.append(time.perf_counter() - began_s)
    return statistics.median(taken_s[_NUM_WARM_UPS:])


def speeds(
    decoder: DeviceDecoder, batches: Sequence[int], num_rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Decode steps of rows that hold PROMPT_TOKENS tokens, and first prefills of such prompts."""
    rng = random.Random(SEED)
    decodes, prefills = [], []
    for rows in batches:
        step_s = timed_s(partial(decoder.decode, [0] * rows, [PROMPT_TOKENS] * rows), num_rounds)
        decodes.append(
            {"rows": rows, "step_ms": round(step_s * 1e3, 3), "tokens_per_s": round(rows / step_s)}
        )
    for rows in PREFILLED_ROWS:
        prompts = prompts_of(rng, decoder.vocab_size, rows, is_ragged=False)
        run_s = timed_s(partial(decoder.prefill, prompts), num_rounds)
        prefills.append(
            {
                "prompts": rows,
                "run_ms": round(run_s * 1e3, 3),
                "tokens_per_s": round(rows * PROMPT_TOKENS / run_s),
            }
        )
    return {"decode": decodes, "first_prefill": prefills}


def main() -> int:
    """Check, measure and save the result."""
    parser = parser_for("cuda_engine", __doc__)
    parser.add_argument("--shape", choices=sorted(BENCHMARK_SHAPES), default="0.5b")
    parser.add_argument("--provider", choices=sorted(_PROVIDERS), default="cuda")
    parser.add_argument("--quick", action="store_true", help="few samples, not saved")
    arguments = parser.parse_args()
    batches = BATCHES[:3] if arguments.quick else BATCHES
    num_checked, num_tokens = (4, 8) if arguments.quick else (NUM_CHECKED, CHECKED_TOKENS)
    decoder = DeviceDecoder(
        bundle_of(arguments.shape, "cuda", "fp16"),
        arguments.provider,
        max(*batches, *PREFILLED_ROWS, num_checked),
    )
    rng = random.Random(SEED)
    prompts = prompts_of(rng, decoder.vocab_size, num_checked, is_ragged=True)
    expected = expected_tokens(bundle_of(arguments.shape, "cpu", "fp32"), prompts, num_tokens)
    agreed = agreement(decoder, prompts, expected)
    found = speeds(decoder, batches, 3 if arguments.quick else 50)
    fastest = max(row["tokens_per_s"] for row in found["decode"])
    missed = [] if agreed >= TARGET_AGREEMENT else ["agreement with the CPU's fp32"]
    missed += [] if fastest >= TARGET_TOKENS_PER_S else ["tokens per second of decode"]
    body = {
        "model": f"{arguments.shape} shape, random weights, fp16 on {arguments.provider}",
        "agreement_with_cpu_fp32": {
            "tokens": num_checked * num_tokens,
            "ratio": round(agreed, 4),
            "target": TARGET_AGREEMENT,
        },
        "context_tokens": PROMPT_TOKENS,
        "target_tokens_per_s": TARGET_TOKENS_PER_S,
        **found,
        **verdict([], missed=missed),
    }
    if arguments.quick:
        print(body)
        return int(agreed < TARGET_AGREEMENT)
    return conclude("cuda_engine", SEED, body)


if __name__ == "__main__":
    sys.exit(main())
