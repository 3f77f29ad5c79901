"""Voice calls to an echo, and what their reports add up to."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loadtests.child import Child
from loadtests.clients.rtp import FRAME_S
from loadtests.clients.voice import Call, VoicePlan
from loadtests.facts import percentile
from loadtests.host import MAX_LATE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loadtests.clients.voice import CallReport

TARGET_FRAMES_PER_S = 3_000
NUM_CALLS = round(TARGET_FRAMES_PER_S * FRAME_S)
MAX_LOST_RATIO = 0.001
_START_LIMIT_S = 30.0


@contextmanager
def echo(
    host: str = "127.0.0.1", within: Callable[[list[str]], list[str]] = lambda command: command
) -> Iterator[int]:
    """A process that sends every datagram back; its port."""
    command = within([sys.executable, "-m", "loadtests.clients.echo", host])
    with Child("the echo", command) as child:
        yield int(child.expect("ready", _START_LIMIT_S))


def plan_calls(num_calls: int, seconds: float, host: str, port: int) -> VoicePlan:
    """Calls of people who speak all the time and do not know of each other."""
    starts_s = [place * FRAME_S / num_calls for place in range(num_calls)]
    calls = tuple(Call(start_s, seconds, ((0.0, seconds),)) for start_s in starts_s)
    return VoicePlan(host, port, calls)


def delays_s(reports: Sequence[CallReport]) -> list[float]:
    """How late each frame left."""
    return [delay_s for report in reports for delay_s in report.schedule_delays_s]


def summarize_calls(reports: Sequence[CallReport], seconds: float) -> dict[str, Any]:
    """The calls' entry in a result."""
    delays_ms = [delay_s * 1e3 for delay_s in delays_s(reports)]
    gaps_ms = [gap_s * 1e3 for report in reports for gap_s in report.gaps_s]
    num_sent = sum(report.num_sent for report in reports)
    figures: dict[str, Any] = {
        "calls": len(reports),
        "frames_per_s": round(num_sent / seconds),
        "num_sent": num_sent,
        "num_lost": num_sent - sum(report.num_received for report in reports),
        "schedule_delay_ms": _quantiles(delays_ms) | {"target_p99": MAX_LATE_S * 1e3},
    }
    return figures | {"arrival_gap_ms": _quantiles(gaps_ms)} if gaps_ms else figures


def missed_by(figures: dict[str, Any]) -> list[str]:
    """Which targets such an entry misses."""
    missed = []
    if figures["frames_per_s"] < TARGET_FRAMES_PER_S:
        missed.append(f"{figures['frames_per_s']} frames/s; {TARGET_FRAMES_PER_S} wanted")
    if figures["num_lost"] > MAX_LOST_RATIO * figures["num_sent"]:
        missed.append(f"{figures['num_lost']} of {figures['num_sent']} frames never came back")
    return missed


def _quantiles(values_ms: list[float]) -> dict[str, float]:
    return {
        "p50": round(percentile(values_ms, 0.5), 3),
        "p99": round(percentile(values_ms, 0.99), 3),
        "max": round(max(values_ms), 3),
    }
