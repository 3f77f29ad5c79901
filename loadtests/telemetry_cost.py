"""What telemetry costs: each part for each turn, and all of it at a steady rate of turns.

python -m loadtests.telemetry_cost

Parts are timed alone, in CPU time of this thread, in interleaved batches over thousands of turns,
so that none finds its turn in the processor's cache. `record` is all that the loop does for a turn;
the other parts run in threads. At the steady rate the same schedule of turns runs with and without
telemetry on an event loop, in turns (ABBA), after a phase of each that does not count. One turn in
twenty is slow and so traced, to an exporter that encodes OTLP and sends it nowhere. CPU is all of
this process's until everything is written, other threads included; lag is that of the loop's own
timers. The search is over a full store of records, read from the page cache.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import tempfile
import time
from contextlib import closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from gateway.core.budget import TurnClass
from gateway.core.slo import Objectives
from gateway.core.stages import (
    Candidate,
    Outcome,
    RouteDecision,
    Stage,
    StageClock,
    TurnRecord,
    TurnTrail,
)
from gateway.runtime.garbage import settle_garbage
from gateway.runtime.interpreter import share_interpreter
from gateway.runtime.loop_lag import watch_loop_lag
from gateway.telemetry.batches import RecordSink, TurnBatches
from gateway.telemetry.missed_turns import MissedTurns
from gateway.telemetry.record_store import RecordStore, TurnQuery
from gateway.telemetry.records import KeptTurn, RecordRing
from gateway.telemetry.segment_log import LogBounds
from gateway.telemetry.slo import SloKeeper
from gateway.telemetry.trace_context import TurnTrace
from gateway.telemetry.tracing import TurnTracer, is_wanted
from gateway.telemetry.turn_metrics import TurnMetrics
from gateway.telemetry.turn_spans import TurnSpans
from loadtests import facts
from loadtests.command_line import parser_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NUM_BATCHES, _BATCH = 40, 500
_NUM_TURNS = 5000
_RATE_PER_S, _PHASE_S, _NUM_PHASES = 500, 5.0, 5
_SLOW_EVERY = 20
"""Five times what an objective of 99 % allows."""
_NUM_STORED = 250_000
_DAYS_NS = 7 * 86_400 * 1_000_000_000
_BOUNDS = LogBounds(256 << 20, 8 * 86_400.0)


def main() -> None:
    """Measure, print and write the result."""
    parser_for("telemetry_cost", __doc__).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        parts_us = _parts(Path(directory) / "parts")
        steady = _steady(Path(directory))
        search = _search(Path(directory) / "search")
    targets = {
        "a record costs the loop at most 3 us": parts_us["record"]["p50"] <= 3.0,
        "telemetry takes at most 2 % of a core at 500 turns/s": steady["cpu_ratio"] <= 0.02,
        "and adds at most 1 ms to the loop's lag p99": steady["added_lag_p99_ms"] <= 1.0,
        "a turn of 7 days is found within 2 s": max(search["found_s"].values()) <= 2.0,
    }
    body = {
        "us_per_turn": parts_us,
        "all_of_an_unsampled_turn_us": round(sum(part["p50"] for part in parts_us.values()), 3),
        "steady": steady,
        "search": search,
        "targets_met": targets,
    }
    facts.save("telemetry_cost", None, body)


def turn(number: int, *, is_slow: bool = False) -> TurnRecord:
    """An answered turn of 40 tokens, with one decision among three places."""
    started_s = 100.0 + number / _RATE_PER_S
    clock = StageClock(started_s)
    for stage, at_s in ((Stage.INGRESS, 0.001), (Stage.PROMPT, 0.002), (Stage.ADMISSION, 0.003)):
        clock.mark(stage, started_s + at_s)
    first_s = started_s + (0.8 if is_slow else 0.12)
    clock.mark_parts(((Stage.QUEUE, 0.02), (Stage.PREFILL, 0.09)), Stage.LINK, first_s)
    clock.mark_first_content(first_s + 0.001)
    clock.mark(Stage.DECODE, first_s + 0.3)
    places = tuple(Candidate(f"edge-{one}", 0.12, 0.02, "fits", 0.1) for one in "abc")
    trail = TurnTrail(
        f"turn-{number}",
        clock,
        turn_class=TurnClass.VOICE,
        tenant="acme",
        caller=f"{number % 5000:016x}",
        session=f"session-{number // 8}",
        interface="openai",
        budget_s=0.5,
        site="edge-a",
        path=["edge-a"],
        model="subscriber-care@0123456789ab",
        decisions=[RouteDecision("edge-a", "fits", 0.5, 0.497, places)],
        prompt_tokens=200,
        completion_tokens=41,
    )
    return trail.close(Outcome.ANSWERED, "stop", first_s + 0.301)


class _Encoding:
    """Encodes as the OTLP exporter does, and sends nothing."""

    _spans = TurnSpans(Resource.get_empty())

    def export(self, turns: list[KeptTurn]) -> None:
        """Encode them."""
        ExportTraceServiceRequest.FromString(self._spans.request(turns)).SerializeToString()

    def close(self) -> None:
        """Nothing is open."""


def _parts(directory: Path) -> dict[str, Any]:
    """CPU microseconds of each part of recording an unsampled turn."""
    records = [turn(number) for number in range(_NUM_TURNS)]
    kept = [KeptTurn(record, 1_790_000_000_000_000_000) for record in records]
    metrics, slo = TurnMetrics("edge-a"), SloKeeper("edge-a", Objectives())
    with _store(directory) as store, closing(TurnBatches([])) as batches:
        cases: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
            "record": (_sink(batches).record, records),
            "slo": (slo.record, records),
            "metrics": (metrics.record, records),
            "sampling": (is_wanted, kept),
            "store_append": (store.keep, kept),
            "store_encode": (msgspec.msgpack.Encoder().encode, kept),
        }
        return {name: _summary_us(samples) for name, samples in _measure(cases).items()}


def _measure(
    cases: dict[str, tuple[Callable[[Any], object], list[Any]]],
) -> dict[str, list[float]]:
    """Mean CPU nanoseconds of a call, batch by batch."""
    samples: dict[str, list[float]] = {name: [] for name in cases}
    endless = {name: cycle(items) for name, (_, items) in cases.items()}
    gc.collect()
    gc.disable()
    for _ in range(_NUM_BATCHES):
        for name, (call, _) in cases.items():
            items = list(islice(endless[name], _BATCH))
            began_ns = time.thread_time_ns()
            for item in items:
                call(item)
            samples[name].append((time.thread_time_ns() - began_ns) / _BATCH)
    gc.enable()
    return samples


def _summary_us(samples_ns: list[float]) -> dict[str, float]:
    return {
        f"p{100 * quantile:g}": round(facts.percentile(samples_ns, quantile) / 1e3, 3)
        for quantile in (0.5, 0.9)
    }


def _steady(directory: Path) -> dict[str, Any]:
    """CPU and loop lag at a steady rate, with telemetry less without."""
    cpu_s: dict[bool, list[float]] = {True: [], False: []}
    lags_s: dict[bool, list[float]] = {True: [], False: []}
    settle_garbage()
    share_interpreter()
    for phase in range(_NUM_PHASES):
        for has_telemetry in (True, False) if phase % 2 else (False, True):
            began_s = time.process_time()
            with _recorder(directory / f"{phase}", has_telemetry) as record:
                phase_lags_s = uvloop.run(_phase(record))
            if phase:
                cpu_s[has_telemetry].append(time.process_time() - began_s)
                lags_s[has_telemetry] += phase_lags_s
    added_s = statistics.median(cpu_s[True]) - statistics.median(cpu_s[False])
    lag_ms = {
        key: facts.percentile(lags, 0.99) * 1e3
        for key, lags in (("with", lags_s[True]), ("without", lags_s[False]))
    }
    return {
        "turns_per_s": _RATE_PER_S,
        "slow_ratio": 1 / _SLOW_EVERY,
        "phases": len(cpu_s[True]),
        "cpu_ratio": round(added_s / _PHASE_S, 5),
        "loop_lag_p99_ms": {key: round(value, 3) for key, value in lag_ms.items()},
        "added_lag_p99_ms": round(lag_ms["with"] - lag_ms["without"], 3),
    }


@contextmanager
def _recorder(directory: Path, has_telemetry: bool) -> Iterator[Callable[[TurnRecord], None]]:
    """All that a site does with a record, or nothing."""
    if not has_telemetry:
        yield lambda _: None
        return
    metrics, slo = TurnMetrics("edge-a"), SloKeeper("edge-a", Objectives())
    tracer = TurnTracer(_Encoding())
    with _store(directory) as store:

        def trace(kept: KeptTurn) -> None:
            if tracer.record(kept):
                metrics.exemplify(kept)

        batches = TurnBatches(
            [
                lambda kept: metrics.record(kept.record),
                lambda kept: slo.record(kept.record),
                store.keep,
                trace,
            ]
        )
        with closing(tracer), closing(batches):
            yield _sink(batches).record


async def _phase(record: Callable[[TurnRecord], None]) -> list[float]:
    """Make and record turns at the rate; the lags of the loop's timers."""
    lags_s: list[float] = []
    watching = asyncio.get_running_loop().create_task(watch_loop_lag(lags_s.append))
    began_s = time.monotonic()
    for number in range(round(_PHASE_S * _RATE_PER_S)):
        due_s = began_s + number / _RATE_PER_S
        if (wait_s := due_s - time.monotonic()) > 0.0:
            await asyncio.sleep(wait_s)
        ended = turn(number, is_slow=number % _SLOW_EVERY == 0)
        TurnTrace.of(ended.request_id, ended.started_s)  # as the desk does when it begins
        record(ended)
    watching.cancel()
    return lags_s


def _sink(batches: TurnBatches) -> RecordSink:
    return RecordSink((RecordRing(2048).keep, MissedTurns().keep), batches)


@contextmanager
def _store(directory: Path) -> Iterator[RecordStore]:
    store = RecordStore(directory, _BOUNDS)
    try:
        yield store
    finally:
        store.close()


def _search(directory: Path) -> dict[str, Any]:
    """How long it takes to find turns among those of seven days."""
    now_ns = time.time_ns()
    begin_ns, step_ns = now_ns - _DAYS_NS, _DAYS_NS // _NUM_STORED
    with _store(directory) as store:
        for number in range(_NUM_STORED):
            store.keep(KeptTurn(turn(number), begin_ns + number * step_ns))
            if number % 10_000 == 0:
                store.search(TurnQuery(request_id="nobody", limit=1))
        dropped = store.num_dropped
    with _store(directory) as store:  # as after a restart
        store.search(TurnQuery(request_id="nobody", limit=1))
        middle_ns = begin_ns + _DAYS_NS // 2
        queries = {
            "oldest request": TurnQuery(request_id="turn-0"),
            "no request": TurnQuery(request_id="turn-x"),
            "session": TurnQuery(session="session-7"),
            "caller": TurnQuery(caller=f"{17:016x}"),
            "an hour, days ago": TurnQuery(
                since_ns=middle_ns, until_ns=middle_ns + 3_600_000_000_000
            ),
        }
        found_s, num_found = {}, {}
        for name, query in queries.items():
            began_s = time.perf_counter()
            num_found[name] = len(store.search(query))
            found_s[name] = round(time.perf_counter() - began_s, 4)
    return {
        "num_turns": _NUM_STORED,
        "dropped": dropped,
        "mib": round(sum(p.stat().st_size for p in directory.rglob("*") if p.is_file()) / 2**20, 1),
        "num_found": num_found,
        "found_s": found_s,
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    main()
