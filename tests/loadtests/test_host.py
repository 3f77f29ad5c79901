"""When a run counts, and what it says when it does not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from math import inf

import pytest

from loadtests import host
from loadtests.host import MAX_BUSY_RATIO, MAX_LATE_S, HostGuard, lag_counts, lag_p99_s
from loadtests.links.delay_line import LineCounters


def exposition(counts: dict[str, int]) -> str:
    lines = [f'firsthop_loop_lag_seconds_bucket{{le="{le}"}} {n}' for le, n in counts.items()]
    return "\n".join(["# TYPE firsthop_loop_lag_seconds histogram", *lines, ""])


def line(*late_s: float) -> LineCounters:
    counts = Counter(round(each_s / 1e-5) - 1 for each_s in late_s)
    return LineCounters("a", "b", len(late_s), 1000, 0, 0, dict(counts))


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_ticks", lambda: (0, 0))


@pytest.mark.usefixtures("idle")
def test_a_run_within_bounds_counts_and_says_what_was_watched() -> None:
    counts = {"0.001": 50, "0.002": 100, "+Inf": 100}
    lines = [line()]
    guard = HostGuard(sites={"edge": lambda: exposition(counts)}, forwarder=lambda: lines)
    guard.note("clients", [0.0] * 98 + [MAX_LATE_S] * 2)
    counts.update({"0.001": 150, "0.002": 1099, "+Inf": 1100})
    lines[0] = line(0.001)
    guard.stop()
    assert guard.faults() == []
    assert guard.row() == {
        "busy_ratio": 0.0,
        "busiest_5_s_ratio": 0.0,
        "late_p99_ms": {"clients": 2.0, "loop of edge": 2.0, "forwarder": 1.0},
    }


@pytest.mark.usefixtures("idle")
def test_whoever_was_late_is_named() -> None:
    counts = {"0.002": 10_000, "0.005": 10_000, "+Inf": 10_000}
    lines = [line(*[1e-5] * 10_000), line(*[1e-5] * 10_000)]
    guard = HostGuard(sites={"edge": lambda: exposition(counts)}, forwarder=lambda: lines)
    guard.note("clients", [0.0] * 98 + [0.004] * 2)
    # Before the run there was a lot of punctual time; of the run's 100 timers two were late, and
    # all packets of one direction.
    lines[1] = line(*[1e-5] * 10_000, 0.0031, 0.0031)
    counts.update({"0.002": 10_098, "0.005": 10_100, "+Inf": 10_100})
    guard.stop()
    assert guard.faults() == [
        "clients: 4.0 ms late at p99; at most 2 ms count",
        "loop of edge: 5.0 ms late at p99; at most 2 ms count",
        "forwarder: 3.1 ms late at p99; at most 2 ms count",
    ]


def test_a_busy_host_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([(0, 0), (81, 100), (0, 0), (70, 100)])
    monkeypatch.setattr(host, "_ticks", lambda: next(ticks))
    guard = HostGuard()
    guard.stop()
    assert guard.faults() == [
        "the host was 81% busy over the run; at most 70% count",
        "the host was 81% busy over its busiest 5 s; at most 70% count",
    ]
    guard.start()
    guard.stop()
    assert guard.faults() == []
    assert guard.row()["busy_ratio"] == MAX_BUSY_RATIO


def test_an_idle_half_does_not_make_up_for_a_busy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    num_read, done = 0, threading.Event()

    def ticks() -> tuple[int, int]:
        nonlocal num_read
        num_read += 1
        if num_read > 20:
            done.set()
        return min(10, max(0, num_read - 11)), min(20, num_read - 1)

    monkeypatch.setattr(host, "_ticks", ticks)
    monkeypatch.setattr(host, "WINDOW_S", 0.001)
    guard = HostGuard()
    assert done.wait(20)
    guard.stop()
    assert guard.row()["busy_ratio"] == 0.5
    assert guard.faults() == ["the host was 100% busy over its busiest 0.005 s; at most 70% count"]


def test_a_site_that_counted_nothing_proves_nothing() -> None:
    assert lag_p99_s(lag_counts("")) == inf
    assert lag_p99_s(lag_counts(exposition({"0.002": 0, "+Inf": 0}))) == inf
    assert lag_p99_s(lag_counts(exposition({"0.002": 98, "+Inf": 100}))) == inf


def test_a_loop_that_was_blocked_shows() -> None:
    async def run() -> HostGuard:
        guard = HostGuard()
        async with guard.watching_loop("loop"):
            for _ in range(3):
                await asyncio.sleep(0.03)
                time.sleep(0.05)  # noqa: ASYNC251 - the fault
        guard.stop()
        return guard

    assert any(fault.startswith("loop: ") for fault in asyncio.run(run()).faults())
