"""Runs client processes together and sums up what they saw."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import msgspec

from loadtests.clients.process import read_samples
from loadtests.facts import percentile, summary_ms
from loadtests.host import MAX_LATE_S
from loadtests.local_site import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtests.clients.plan import Plan, Sample

_START_IN_S = 0.25
_END_LIMIT_S = 60.0


class ClientFailed(Exception):
    """A client process ended before its work did; what it printed says why."""


def run_clients(
    plans: Sequence[Plan],
    out: Path,
    *,
    command: Callable[[int, list[str]], list[str]] = lambda place, command: command,
) -> list[Sample]:
    """Run one process for each plan, all from the same instant; every sample, by due time.

    `command` may wrap the command of the process at a place, to start it in a namespace. The raw
    samples stay in `out` as `samples-N.jsonl.zst`. Raises ClientFailed.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"samples-{place}.jsonl.zst" for place in range(len(plans))]
    with ExitStack() as stack:
        processes = []
        for place, (plan, path) in enumerate(zip(plans, paths, strict=True)):
            plan_path = out / f"plan-{place}.msgpack"
            plan_path.write_bytes(msgspec.msgpack.encode(plan))
            words = ["-m", "loadtests.clients.process", str(plan_path), str(path)]
            process = _start(command(place, [sys.executable, *words]))
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            _expect(process, "ready")
        start_s = time.monotonic() + _START_IN_S
        for process in processes:
            stdin = _pipe(process.stdin)
            stdin.write(f"{start_s!r}\n")
            stdin.flush()
        for process in processes:
            _expect(process, "done")
            process.wait(_END_LIMIT_S)
    samples = [sample for path in paths for sample in read_samples(path)]
    return sorted(samples, key=lambda sample: sample.ask.due_s)


def summarize(samples: Sequence[Sample], seed: int) -> dict[str, Any]:
    """The figures of one arm of a load test.

    What was shed or failed has no time to first token and counts as a miss. `attained` is the
    share of all that was offered whose first token came within the request's budget; requests
    without a budget attain by an answer.
    """
    answered = [sample for sample in samples if sample.outcome == "ok"]
    ttft_s = [sample.ttft_s for sample in answered if sample.ttft_s is not None]
    delays_s = [sample.schedule_delay_s for sample in samples]
    outcomes = Counter(sample.outcome for sample in samples)
    delay_p99_s = percentile(delays_s, 0.99) if delays_s else 0.0
    invalid = []
    if delay_p99_s > MAX_LATE_S:
        invalid.append(
            f"the clients sent {delay_p99_s * 1e3:.1f} ms late at the 99th percentile, "
            f"{MAX_LATE_S * 1e3:g} ms allowed"
        )
    full = sum(sample.code == "client_full" for sample in samples)
    if full:
        invalid.append(f"{full} requests were not sent: the client had too many open")
    return {
        "offered": len(samples),
        "attained": round(sum(map(attained, samples)) / max(1, len(samples)), 5),
        "shed": outcomes["shed"],
        "failed": outcomes["failed"],
        "codes": dict(Counter(sample.code for sample in samples if sample.code)),
        "ttft_ms": summary_ms(ttft_s, seed) if ttft_s else None,
        "tok_per_s": _tokens_per_s(samples),
        "schedule_delay_ms": {
            "p50": round(percentile(delays_s, 0.5) * 1e3, 3) if delays_s else 0.0,
            "p99": round(delay_p99_s * 1e3, 3),
            "max": round(max(delays_s, default=0.0) * 1e3, 3),
        },
        "valid": not invalid,
        "invalid_because": invalid,
    }


def attained(sample: Sample) -> bool:
    """Whether the request got its first content within its budget, from the intended instant."""
    if sample.outcome != "ok" or sample.ttft_s is None:
        return False
    return sample.ask.budget_s is None or sample.ttft_s <= sample.ask.budget_s


def _tokens_per_s(samples: Sequence[Sample]) -> float:
    """Over the time from the first request due to the last end."""
    if not samples:
        return 0.0
    first_s = min(sample.ask.due_s for sample in samples)
    last_s = max(sample.ended_s for sample in samples)
    num_tokens = sum(sample.completion_tokens for sample in samples)
    return round(num_tokens / max(1e-9, last_s - first_s), 2)


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def _expect(process: subprocess.Popen[str], word: str) -> None:
    said = _pipe(process.stdout).readline().strip()
    if said != word:
        raise ClientFailed(f"a client ended before it was {word}; what it printed says why")


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("the process was started without pipes")
    return pipe
