"""The engine against llama.cpp's server: same weights, same client, over HTTP and SSE, in turns.

A model of the Qwen2.5-0.5B shape with random weights, all matrices and the embedding in blocks of
32 with 4 bits (ONNX Runtime's MatMulNBits; llama.cpp's Q4_0). Prompts of 32 to 96
random bytes, which are tokens, and 32 tokens of answer; so many clients ask one after the other.
For each number of clients every setting of llama.cpp is tried, and its fastest is compared.

    python -m loadtests.llama_comparison [--quick] [--shape 0.5b] [--rounds 5]

Needs the package `gguf`, and what `loadtests.llama_server` names. It takes about 40 minutes on two
cores beside the build. Exits with 1 when a target is missed or the host was not left alone.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import random
import statistics
import sys
import time
from itertools import product
from typing import Any, Final, NamedTuple

import msgspec
import uvloop

from loadtests.command_line import BUILD, at_least, parser_for
from loadtests.facts import conclude, percentile, summary_ms, verdict
from loadtests.host import HostMeter
from loadtests.llama_server import (
    VERSION,
    CannotBuild,
    LlamaSettings,
    built_server,
    running_llama,
)
from loadtests.local_site import running_site
from loadtests.progress_line import ProgressLine
from loadtests.sse_client import SsePool
from models.gguf_file import write_gguf
from models.gqa_graph import random_weights
from models.make_tiny import BENCHMARK_SHAPES, write_benchmark_bundle

SEED: Final = 7
NUM_THREADS: Final = 2
MAX_NUM_CLIENTS: Final = 16
CONTEXT_TOKENS: Final = 256
PROMPT_TOKENS: Final = (32, 96)
ANSWER_TOKENS: Final = 32
TARGET_RATIO: Final = {1: 0.95, 4: 1.15, 8: 1.15, 16: 1.0}
"""Tokens per second over llama.cpp's, by number of clients."""
GRID: Final = tuple(
    LlamaSettings(*chosen) for chosen in product((128, 512), (False, True), (False, True))
)
_TEMPLATE_TOKENS: Final = 4
_TEMPLATE: Final = (
    "<s>{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<e>"
    "{% endfor %}<|assistant|>"
)
_LETTERS: Final = "abcdefghijklmnopqrstuv"
"""Only these: no filler word of the vocabulary begins like that."""
_MIN_NUM_REQUESTS, _MIN_NUM_EACH = 24, 6
"""In a closed loop altogether, and by each client."""
_MAX_BUSY_RATIO: Final = 0.1
"""Of the host before anything runs: what others take is not ours to compare."""


class Load(NamedTuple):
    """What a number of clients got."""

    tokens_per_s: float
    ttfts_s: list[float]


class _Usage(msgspec.Struct):
    completion_tokens: int


class _LastEvent(msgspec.Struct):
    usage: _Usage


def prompt_of(rng: random.Random) -> str:
    """A message whose prompt has a length by chance between the bounds."""
    num_tokens = rng.randint(*PROMPT_TOKENS) - _TEMPLATE_TOKENS
    return "".join(rng.choices(_LETTERS, k=num_tokens))


async def closed_loop(
    port: int, model: str, num_clients: int, num_requests: int, seed: int
) -> Load:
    """So many clients, each with its next request when the last is answered."""
    rng = random.Random(seed)
    prompts = [prompt_of(rng) for _ in range(num_clients * num_requests)]
    pool = SsePool("127.0.0.1", port)
    ttfts_s: list[float] = []
    num_tokens = 0

    async def client() -> None:
        nonlocal num_tokens
        for _ in range(num_requests):
            body = {
                "model": model,
                "messages": [{"role": "user", "content": prompts.pop()}],
                "max_tokens": ANSWER_TOKENS,
                "temperature": 0,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            if model == "noise":
                body |= {"cache_prompt": False, "ignore_eos": True}
            answer = await pool.chat(body, {"x-firsthop-class": "batch"})
            if answer.status != 200 or answer.ttft_s is None:
                raise RuntimeError(f"{model}: {answer.status} {answer.body!r}{answer.last_event!r}")
            num_tokens += msgspec.json.decode(
                answer.last_event, type=_LastEvent
            ).usage.completion_tokens
            ttfts_s.append(answer.ttft_s)

    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(num_clients):
            group.create_task(client())
    taken_s = time.monotonic() - began_s
    pool.close()
    return Load(num_tokens / taken_s, ttfts_s)


class Bench:
    """The two models, and whether little is asked of them."""

    def __init__(self, shape: str, runner: asyncio.Runner, *, quick: bool) -> None:
        self._folder = BUILD / "llama_comparison"
        self._runner = runner
        self._quick = quick
        self.bundle = self._folder / f"{shape}-int4"
        self.gguf = self._folder / f"{shape}-q4_0.gguf"
        if not (self.bundle / "manifest.toml").exists():
            write_benchmark_bundle(self.bundle, shape, "int4")
        if not self.gguf.exists():
            sizes = BENCHMARK_SHAPES[shape]
            write_gguf(
                self.gguf,
                sizes,
                random_weights(sizes, seed=0),
                "Q4_0",
                chat_template=_TEMPLATE,
                gguf=importlib.import_module("gguf"),
            )

    def load(
        self, port: int, model: str, num_clients: int, seed: int, *, warms_up: bool = False
    ) -> Load:
        """One closed loop; where it only warms up, of one request for each client."""
        is_short = warms_up or self._quick
        num_requests = 1 if is_short else max(_MIN_NUM_REQUESTS // num_clients, _MIN_NUM_EACH)
        return self._runner.run(closed_loop(port, model, num_clients, num_requests, seed))

    def fastest(self, num_clients: int) -> tuple[LlamaSettings, dict[str, float]]:
        """llama.cpp's best settings for so many clients, and what each gave in tokens/s."""
        speeds: dict[LlamaSettings, float] = {}
        for settings in GRID:
            with self._llama(settings, num_clients) as llama:
                self.load(llama.port, "noise", num_clients, SEED, warms_up=True)
                speeds[settings] = self.load(llama.port, "noise", num_clients, SEED).tokens_per_s
        best = max(speeds, key=speeds.__getitem__)
        return best, {" ".join(s.arguments): round(v, 1) for s, v in speeds.items()}

    def _llama(self, settings: LlamaSettings, num_clients: int) -> Any:
        return running_llama(
            self.gguf,
            settings,
            num_slots=num_clients,
            context_tokens=CONTEXT_TOKENS,
            num_threads=NUM_THREADS,
        )

    def compare(self, num_clients: int, num_rounds: int) -> dict[str, Any]:
        """Both in turns, llama.cpp at its best."""
        settings, grid = self.fastest(num_clients)
        ours: list[Load] = []
        theirs: list[Load] = []
        with (
            self._llama(settings, num_clients) as llama,
            running_site(
                self._folder / "site",
                *("--model", str(self.bundle)),
                FIRSTHOP_MODEL_NUM_SLOTS=str(MAX_NUM_CLIENTS),
                FIRSTHOP_MODEL_MAX_CONTEXT_TOKENS=str(CONTEXT_TOKENS),
                FIRSTHOP_MODEL_THREADS=str(NUM_THREADS),
            ) as site,
        ):
            servers = (ours, site.port_base, "default"), (theirs, llama.port, "noise")
            for _, port, model in servers:
                self.load(port, model, num_clients, SEED, warms_up=True)
            for nth in range(1, num_rounds + 1):
                for taken, port, model in servers:
                    taken.append(self.load(port, model, num_clients, SEED + nth))
        return _row(num_clients, grid, settings, ours, theirs)


def _row(
    num_clients: int,
    grid: dict[str, float],
    settings: LlamaSettings,
    ours: list[Load],
    theirs: list[Load],
) -> dict[str, Any]:
    ratios = [
        one.tokens_per_s / other.tokens_per_s for one, other in zip(ours, theirs, strict=True)
    ]
    ttfts_s = {
        name: [ttft_s for load in loads for ttft_s in load.ttfts_s]
        for name, loads in (("firsthop", ours), ("llama_cpp", theirs))
    }
    p95_ms = {name: round(percentile(values, 0.95) * 1e3, 1) for name, values in ttfts_s.items()}
    ratio = statistics.median(ratios)
    return {
        "clients": num_clients,
        "llama_cpp_settings": {"best": " ".join(settings.arguments), "tokens_per_s": grid},
        "tokens_per_s": {
            "firsthop": [round(load.tokens_per_s, 1) for load in ours],
            "llama_cpp": [round(load.tokens_per_s, 1) for load in theirs],
        },
        "ratio": {
            "rounds": [round(one, 3) for one in ratios],
            "median": round(ratio, 3),
            "target": TARGET_RATIO[num_clients],
            "met": ratio >= TARGET_RATIO[num_clients],
        },
        "ttft_p95_ms": p95_ms | {"met": p95_ms["firsthop"] <= p95_ms["llama_cpp"]},
        "ttft_ms": {name: summary_ms(values, SEED) for name, values in ttfts_s.items()},
    }


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """The targets that a result misses."""
    return [
        f"{what} at {row['clients']} clients"
        for row in rows
        for what in ("ratio", "ttft_p95_ms")
        if not row[what]["met"]
    ]


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("llama_comparison", __doc__)
    parser.add_argument("--quick", action="store_true", help="few samples, not saved")
    parser.add_argument("--shape", choices=sorted(BENCHMARK_SHAPES), default="0.5b")
    parser.add_argument("--rounds", type=at_least(1), default=5)
    arguments = parser.parse_args()
    if importlib.util.find_spec("gguf") is None:
        sys.exit("the package gguf is missing; pip install gguf")
    meter = HostMeter()
    time.sleep(0 if arguments.quick else 10)
    busy_before = meter.busy_ratio()
    try:
        built_server(num_jobs=NUM_THREADS)
    except CannotBuild as error:
        sys.exit(str(error))
    progress = ProgressLine()
    rows = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        bench = Bench(arguments.shape, runner, quick=arguments.quick)
        for num_clients in TARGET_RATIO:
            progress.show(f"{num_clients} clients")
            rows.append(bench.compare(num_clients, 1 if arguments.quick else arguments.rounds))
    progress.clear()
    others = f"the host was {busy_before:.0%} busy before the run"
    body = {
        "model": f"{arguments.shape} shape, random weights, 4 bits",
        "llama_cpp": f"llama-cpp-python {VERSION}",
        "threads": NUM_THREADS,
        "rows": rows,
        "host_busy_before": busy_before,
        **verdict([others] if busy_before > _MAX_BUSY_RATIO else [], missed=missed(rows)),
    }
    if arguments.quick:
        print(body)
        return 0
    return conclude("llama_comparison", SEED, body)


if __name__ == "__main__":
    sys.exit(main())
