"""What one routing decision costs, beside a chain of empty calls of the same depth.

python -m loadtests.decision_cost

Every decision is timed alone, in CPU time of this thread, in interleaved batches. The chain is as
many nested Python calls as the decision nests, doing nothing: what the interpreter alone takes.
"""

from __future__ import annotations

import gc
import random
import time
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import CLASS_RANK, Backlog, EngineLoad
from gateway.core.load_report import Credits, report_load
from gateway.core.peer_view import PeerView, Trust
from gateway.core.peers import Peers
from gateway.core.route_choice import Ask, Here, Verdict
from gateway.core.routing import choose
from loadtests import facts
from loadtests.command_line import parser_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.route_choice import Choice

_SEED = 1
_NUM_PEERS = (2, 8, 32, 128)
_NUM_BATCHES = 40
_BATCH = 2000
_DEPTH = 5
"""choose, _consider, _look_at, estimate_s and what it calls."""
_IDLE = EngineLoad(0.0, 8, 2, 0.0002, 0.004, 20.0, 30.0, chunk_tokens=64)
_FULL = msgspec.structs.replace(
    _IDLE, num_active=8, backlog=(Backlog(2, 300), Backlog(20, 3000), Backlog())
)
_HERE = Here("here", max_num_queued=64)
_ASK = Ask(CLASS_RANK[TurnClass.AGENT], 160, 0.5)


def main() -> None:
    """Measure every case, print and write the result."""
    parser_for("decision_cost", __doc__).parse_args()
    cases: dict[str, Callable[[], object]] = {"empty_calls": _chain(_DEPTH)}
    cases["local_fast_path"] = _decision(_IDLE, 32, _IDLE)
    for num_peers in _NUM_PEERS:
        cases[f"two_fit_of_{num_peers}"] = _decision(_FULL, num_peers, _IDLE)
    cases["none_fits_of_32"] = _decision(_FULL, 32, _FULL)
    results = {name: _summary_us(samples) for name, samples in _measure(cases).items()}
    empty_us = results["empty_calls"]["p50"]
    for result in results.values():
        result["times_empty"] = round(result["p50"] / empty_us, 1)
    targets = {
        "at 32 peers at most 10 us p99": results["two_fit_of_32"]["p99"] <= 10.0,
        "at 32 peers at most 10 times the empty calls": results["two_fit_of_32"]["times_empty"]
        <= 10.0,
        "local fast path at most 1 us": results["local_fast_path"]["p50"] <= 1.0,
        "flat: 128 peers at most 1.5 times 8": results["two_fit_of_128"]["p50"]
        <= 1.5 * results["two_fit_of_8"]["p50"],
    }
    facts.save("decision_cost", _SEED, {"depth": _DEPTH, "us": results, "targets_met": targets})


def _decision(load: EngineLoad, num_peers: int, peer_load: EngineLoad) -> Callable[[], Choice]:
    """A decision at `load` among peers that report `peer_load`."""
    draw = random.Random(_SEED).random
    views = []
    for number in range(num_peers):
        view = PeerView(f"site-{number}", trust=Trust(silent_after_s=inf))
        view.timed(0.010 + 0.0001 * number, 0.0)
        view.take(
            report_load(peer_load, now_s=0.0, epoch=1, seq=1, max_num_queued=64, credits=Credits()),
            0.0,
        )
        views.append(view)
    peers = Peers(views)
    verdict = choose(_ASK, load, _HERE, peers, now_s=0.1, random=draw).verdict
    expected = Verdict.PEER if peer_load is not load else Verdict.HERE
    if load is _FULL and peer_load is _FULL:
        expected = Verdict.SHED
    if verdict is not expected:
        raise RuntimeError(f"the case was meant to end with {expected}, not {verdict}")
    return lambda: choose(_ASK, load, _HERE, peers, now_s=0.1, random=draw)


def _chain(depth: int) -> Callable[[], object]:
    """That many nested calls that do nothing."""

    def bottom() -> None:
        return None

    call: Callable[[], object] = bottom
    for _ in range(depth - 1):
        call = _around(call)
    return call


def _around(inner: Callable[[], object]) -> Callable[[], object]:
    return lambda: inner()


def _measure(cases: dict[str, Callable[[], object]]) -> dict[str, list[int]]:
    """Nanoseconds of every call, what reading the clock takes included."""
    samples: dict[str, list[int]] = {name: [] for name in cases}
    clock = time.perf_counter_ns
    gc.collect()
    gc.disable()
    for _ in range(_NUM_BATCHES):
        for name, call in cases.items():
            kept = samples[name]
            for _ in range(_BATCH):
                began_ns = clock()
                call()
                kept.append(clock() - began_ns)
    gc.enable()
    return samples


def _summary_us(samples_ns: list[int]) -> dict[str, Any]:
    return {
        "n": len(samples_ns),
        **{
            f"p{100 * quantile:g}": round(facts.percentile(samples_ns, quantile) / 1e3, 3)
            for quantile in (0.5, 0.99, 0.999)
        },
    }


if __name__ == "__main__":
    main()
