"""Measures how long a model's runs take here, and fits a step-time profile to it.

    python -m loadtests.step_times NAME [--model DIR] [--threads N]   measure
    python -m loadtests.step_times NAME --fit > PROFILE.toml          fit to the saved result

Shapes are visited in turn, round after round, so that a disturbance of the machine hits all of
them; the median of the rounds counts. Runs have real-time priority where that is allowed: the
profile is the model's, not that of whoever else uses the machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.config.site import SHIPPED_MODEL
from gateway.engine.bundle import load_bundle
from loadtests.command_line import at_least, parser_for
from loadtests.facts import RESULTS, conclude, verdict
from loadtests.host import HostGuard
from loadtests.priority import CLIENTS, hurry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.engine.worker.port import RunnableModel

ROWS = (1, 2, 4, 8, 16)
CHUNKS = (1, 8, 16, 32, 64)
NEAR_TOKENS, FAR_TOKENS = 64, 448
"""The contexts, and the pasts, between which the slopes are taken."""
NUM_ROUNDS = 15


def decode_run(model: RunnableModel, rows: int, context: int) -> Callable[[], object]:
    """One decode step of `rows` rows that hold `context` tokens each."""
    return lambda: model.decode([1] * rows, [context] * rows)


def prefill_run(model: RunnableModel, tokens: int, past: int) -> Callable[[], object]:
    """One chunk over a past."""
    return lambda: model.prefill(0, [1] * tokens, past)


def measure(model: RunnableModel) -> dict[str, list[dict[str, Any]]]:
    """Median times by shape."""
    runs: dict[tuple[str, int, int], Callable[[], object]] = {}
    for context in (NEAR_TOKENS, FAR_TOKENS):
        runs |= {("decode", n, context): decode_run(model, n, context) for n in ROWS}
    for past in (0, FAR_TOKENS):
        runs |= {("prefill", n, past): prefill_run(model, n, past) for n in CHUNKS}
    taken_s: dict[tuple[str, int, int], list[float]] = {shape: [] for shape in runs}
    for _ in range(NUM_ROUNDS + 1):  # the first warms up
        for shape, run in runs.items():
            began_s = time.perf_counter()
            run()
            taken_s[shape].append(time.perf_counter() - began_s)
    figures: dict[str, list[dict[str, Any]]] = {"decode": [], "prefill": []}
    for (kind, count, before), times_s in taken_s.items():
        median_ms = statistics.median(times_s[1:]) * 1e3
        figures[kind].append({"count": count, "before": before, "ms": round(median_ms, 4)})
    return figures


def fit(figures: Sequence[dict[str, Any]]) -> tuple[list[int], list[float], float]:
    """Counts, milliseconds with nothing before them, and milliseconds per token (or pair) before.

    The slope is that of all counts together, so the large ones, where it shows, weigh most; a
    negative one is noise and becomes 0. A larger count never gets a smaller time: noise again.
    """
    by_count: dict[int, list[tuple[int, float]]] = {}
    for figure in figures:
        by_count.setdefault(figure["count"], []).append((figure["before"], figure["ms"]))
    grown_ms, num_grown = 0.0, 0
    for count, points in by_count.items():
        (near, near_ms), (far, far_ms) = sorted(points)
        grown_ms += far_ms - near_ms
        num_grown += count * (far - near)
    slope = max(0.0, grown_ms / num_grown)
    times_ms: list[float] = []
    for count, points in sorted(by_count.items()):
        near, near_ms = min(points)
        floor = times_ms[-1] if times_ms else 0.001
        times_ms.append(max(floor, round(near_ms - slope * count * near, 3)))
    return sorted(by_count), times_ms, slope


def profile_toml(result: dict[str, Any], result_name: str) -> str:
    """The profile of a saved measurement."""
    rows, step_ms, per_token_ms = fit(result["decode"])
    tokens, chunk_ms, per_pair_ms = fit(result["prefill"])
    return f"""\
# Written by `python -m loadtests.step_times NAME --fit`; measure again instead of editing.
basis = "measured"
about = {json.dumps(result["about"])}

[decode]
rows = {rows}
step_ms = {step_ms}
context_us_per_token = {round(per_token_ms * 1e3, 5)}

[prefill]
tokens = {tokens}
chunk_ms = {chunk_ms}
past_ns_per_pair = {round(per_pair_ms * 1e6, 3)}

[sources]
measurement = "loadtests/results/{result_name}.json"
"""


def main() -> int:
    """Measure and save, or fit what was saved."""
    parser = parser_for("step_times", __doc__)
    parser.add_argument("name", help="of the profile")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="DIR")
    parser.add_argument("--threads", type=at_least(1), default=1)
    parser.add_argument("--fit", action="store_true", help="print the profile of the saved result")
    args = parser.parse_args()
    result_name = f"step_times_{args.name}"
    if args.fit:
        try:
            result = json.loads((RESULTS / f"{result_name}.json").read_text())
        except OSError as error:
            raise SystemExit(
                f"step_times: there is no result to fit ({error.filename}: {error.strerror}); "
                f"run `python -m loadtests.step_times {args.name}` first"
            ) from error
        print(profile_toml(result, result_name), end="")
        return 0
    from gateway.engine.worker.model import DecoderModel

    bundle = load_bundle(args.model)
    artifact = bundle.artifact("cpu")
    model = DecoderModel.load(
        artifact.path,
        num_rows=max(ROWS),
        max_context_tokens=min(bundle.max_context_tokens, FAR_TOKENS + max(CHUNKS) + 1),
        num_threads=args.threads,
        spin=False,
    )
    scheduler = hurry(CLIENTS, children_too=True)
    guard = HostGuard()
    figures = measure(model)
    guard.stop()
    about = f"{bundle.name} {bundle.version} ({artifact.precision}), {args.threads} CPU thread(s)"
    return conclude(
        result_name,
        None,
        {
            "command": f"python -m loadtests.step_times {args.name}",
            "about": about,
            "rounds": NUM_ROUNDS,
            "scheduler": scheduler,
            **figures,
            "host": guard.row(),
            **verdict(guard.faults()),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
