"""Runs client processes together and sums up what they saw."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loadtests.child import Child
from loadtests.clients.process import read_samples
from loadtests.clients.voice import CallReport, VoicePlan
from loadtests.facts import percentile, summary_ms
from loadtests.host import MAX_LATE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtests.clients.plan import Plan, Sample

_START_IN_S = 0.25
_END_LIMIT_S = 60.0
_LOOK_INTERVAL_S = 0.2

_READY_LIMIT_S = 60.0


class Seen(NamedTuple):
    """What client processes saw of one run."""

    samples: list[Sample]
    """By due time."""
    calls: list[CallReport]
    lags_s: dict[str, list[float]]
    """How late the timers of each process's event loop were."""


def run_clients(
    plans: Sequence[Plan | VoicePlan],
    out: Path,
    *,
    command: Callable[[int, list[str]], list[str]] = lambda _, words: words,
    on_start: Callable[[], None] = lambda: None,
    on_begin: Callable[[float], None] = lambda _: None,
    is_over: Callable[[], bool] = lambda: False,
) -> Seen:
    """Run one process for each plan, all from the same instant.

    `command` may wrap the command for the plan at a place, to start it in a namespace. `on_start`
    is called once all are ready, `on_begin` with the monotonic instant that the plans count from.
    Once `is_over`, asked a few times a second, no request is sent any more, and those that had
    ended are what was seen. It stays in `out` as `samples-N.jsonl.zst` and `calls-N.msgpack`,
    whole. Raises ChildFailed, and OSError when `out` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    works = [_work(plan, place, out) for place, plan in enumerate(plans)]
    seen = Seen([], [], {})
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                Child(work.name, command(place, [sys.executable, "-m", *work.words]))
            )
            for place, work in enumerate(works)
        ]
        for child in children:
            child.expect("ready", _READY_LIMIT_S)
        on_start()
        start_s = time.monotonic() + _START_IN_S
        for child in children:
            child.tell(repr(start_s))
        on_begin(start_s)
        _wait(children, is_over, max(map(_time_limit_s, plans), default=0.0))
        for work, plan, child in zip(works, plans, children, strict=True):
            lags = child.expect("done", _time_limit_s(plan))
            if lags:
                seen.lags_s[work.name] = msgspec.json.decode(lags, type=list[float])
    for work, plan in zip(works, plans, strict=True):
        if isinstance(plan, VoicePlan):
            seen.calls.extend(msgspec.msgpack.decode(work.path.read_bytes(), type=list[CallReport]))
        else:
            seen.samples.extend(read_samples(work.path))
    seen.samples.sort(key=lambda sample: sample.ask.due_s)
    return seen


def _wait(children: Sequence[Child], is_over: Callable[[], bool], limit_s: float) -> None:
    """Until all have something to say, of their own accord or because the run is over."""
    until_s = time.monotonic() + limit_s
    for child in children:
        while time.monotonic() < until_s and not child.has_spoken(_LOOK_INTERVAL_S):
            if is_over():
                for one in children:
                    if not one.has_spoken(0.0):
                        one.tell("stop")
                return


class _Work(NamedTuple):
    name: str
    words: list[str]
    """Module and arguments."""
    path: Path
    """Where what was seen goes."""


def _work(plan: Plan | VoicePlan, place: int, out: Path) -> _Work:
    """Write a plan, and say how it is run."""
    plan_path = out / f"plan-{place}.msgpack"
    plan_path.write_bytes(msgspec.msgpack.encode(plan))
    if isinstance(plan, VoicePlan):
        path, module = out / f"calls-{place}.msgpack", "loadtests.clients.voice"
    else:
        path, module = out / f"samples-{place}.jsonl.zst", "loadtests.clients.process"
    return _Work(f"client {place}", [module, str(plan_path), str(path)], path)


def _time_limit_s(plan: Plan | VoicePlan) -> float:
    """After which a client that has not ended never will."""
    if isinstance(plan, VoicePlan):
        last_s = max((call.start_s + call.duration_s for call in plan.calls), default=0.0)
    else:
        last_s = plan.time_limit_s + max((ask.due_s for ask in plan.asks), default=0.0)
    return last_s + _END_LIMIT_S


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
