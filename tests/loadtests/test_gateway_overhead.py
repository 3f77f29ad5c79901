"""What the overhead benchmark counts, and when it says that a run does not count."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from loadtests import gateway_overhead
from loadtests.facts import summary_ms, verdict
from loadtests.gateway_overhead import http_asker, one_by_one, open_loop
from loadtests.host import MAX_LATE_S
from loadtests.sample import ANSWERED, Fate, Sample

if TYPE_CHECKING:
    from loadtests.gateway_overhead import Ask


def asker(*fates: Fate) -> Ask:
    """Ends with the given fates in turn, again and again."""
    asked = 0

    async def ask(said: str) -> Fate:
        nonlocal asked
        asked += 1
        return fates[(asked - 1) % len(fates)]

    return ask


def test_a_failed_request_is_counted_and_the_run_is_not() -> None:
    sample = Sample()
    ask = asker(Fate(ANSWERED, 0.25), Fate("HTTP 503"))
    asyncio.run(one_by_one(ask, 4, random.Random(0), sample))

    assert sample.taken_s == [0.25, 0.25]
    assert sample.statuses == {ANSWERED: 2, "HTTP 503": 2}
    faults = sample.faults("http")
    assert faults == ["http: 2 requests ended with: HTTP 503"]
    assert verdict(faults) == {"valid": False, "invalid_because": faults}
    assert verdict([]) == {"valid": True, "invalid_because": []}


def test_a_sample_without_answers_does_not_count() -> None:
    assert Sample().faults("engine") == ["engine: nothing was answered"]


def test_a_request_that_was_sent_late_took_longer_and_too_many_do_not_count() -> None:
    sample = Sample()
    for late_s in (0.0, MAX_LATE_S * 2):
        sample.add(Fate(ANSWERED, 0.1), late_s)
    assert sample.taken_s == [0.1, pytest.approx(0.1 + MAX_LATE_S * 2)]
    assert sample.faults("http") == ["http: requests were sent 4.0 ms late at p99"]


def test_every_arrival_of_the_open_loop_is_counted() -> None:
    rng, again = random.Random(3), random.Random(3)
    num_due = 0
    at_s = again.expovariate(gateway_overhead.RATE_PER_S)
    while at_s < 0.1:
        num_due += 1
        again.choice(gateway_overhead.SAID)
        at_s += again.expovariate(gateway_overhead.RATE_PER_S)
    sample = Sample()
    asyncio.run(open_loop(asker(Fate(ANSWERED, 0.01), Fate("gone")), 0.1, rng, sample))
    assert sample.statuses.total() == num_due > 1
    assert len(sample.late_s) == num_due


def test_a_refused_connection_is_a_fate() -> None:
    async def ask() -> Fate:
        return await http_asker(1)("hello")

    assert asyncio.run(ask()).status == "ConnectionRefusedError"


def test_every_percentile_has_its_interval() -> None:
    summary = summary_ms([n / 1e3 for n in range(1, 101)], seed=1)
    assert (summary["n"], summary["p50"], summary["p90"], summary["p99"]) == (100, 50, 90, 99)
    for name in ("p50", "p90", "p99"):
        low, high = summary[f"{name}_ci95"]
        assert low <= summary[name] <= high
        assert low < high
    assert summary_ms([], seed=1) == {"n": 0}
