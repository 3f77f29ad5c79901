"""What every result carries: machine, commit, seed, and percentiles with their uncertainty."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtests.local_site import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).resolve().parent / "results"
_BOOTSTRAP_ROUNDS = 400


def machine() -> dict[str, Any]:
    """The machine, in the words of its kernel."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit that was measured, with "+changes" when the tree differs from it."""

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = [line for line in git("status", "--porcelain").splitlines() if "results/" not in line]
    return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")


def percentile(values: Sequence[float], quantile: float) -> float:
    """The nearest-rank percentile of a sample that is not empty; `quantile` in 0..1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(quantile * len(ordered)) - 1))]


def summary_ms(values_s: Sequence[float], seed: int) -> dict[str, Any]:
    """n, p50, p90 and p99 in ms, each with its 95 % bootstrap interval; n alone of no values."""
    values = sorted(values_s)
    summary: dict[str, Any] = {"n": len(values)}
    if not values:
        return summary
    rng = random.Random(seed)
    resampled = [sorted(rng.choices(values, k=len(values))) for _ in range(_BOOTSTRAP_ROUNDS)]
    for quantile in (0.5, 0.9, 0.99):
        name = f"p{quantile * 100:g}"
        spread = [percentile(sample, quantile) for sample in resampled]
        bounds = (percentile(spread, 0.025), percentile(spread, 0.975))
        summary[name] = round(percentile(values, quantile) * 1e3, 3)
        summary[f"{name}_ci95"] = [round(bound * 1e3, 3) for bound in bounds]
    return summary


def verdict(faults: Sequence[str], *, missed: Sequence[str] | None = None) -> dict[str, Any]:
    """Whether the run counts, and what speaks against it; of targets, whether all were met."""
    found: dict[str, Any] = {"valid": not faults, "invalid_because": list(faults)}
    return found if missed is None else found | {"met": not missed, "missed": list(missed)}


def conclude(name: str, seed: int | None, body: dict[str, Any]) -> int:
    """Save a result with a verdict; the exit code: 1 when it does not count or misses a target."""
    save(name, seed, body)
    return 0 if body["valid"] and body.get("met", True) else 1


def save(name: str, seed: int | None, body: dict[str, Any]) -> Path:
    """Write a result with its facts to `results/NAME.json` and print it.

    A file that cannot be written ends the program, in one line, after the result was printed.
    """
    result = {
        "benchmark": name,
        "command": f"python -m loadtests.{name}",
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "seed": seed,
        **body,
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="", flush=True)
    path = RESULTS / f"{name}.json"
    try:
        RESULTS.mkdir(exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}") from error
    return path
