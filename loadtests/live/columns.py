"""The passes of an arm as one table of requests, and the simulator's word on the same passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from loadtests.comparison.measured import Measured
from loadtests.facts import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.live.passes import Pass
    from loadtests.sim.scenario import Scenario

WANTED_POINTS = 3.0
"""The simulator is to be this close to the live run, where that attains so much:"""
TELLING_RATIOS = 0.80, 0.97
"""Below, everything is late; above, everything is in time, whatever the model of it."""


def measured(passes: Sequence[Pass], duration_s: float) -> Measured:
    """All passes of one arm. Of a pass that was broken off, the requests that had ended."""
    return joined([_of_pass(one, duration_s) for one in passes])


def joined(parts: Sequence[Measured]) -> Measured:
    """Several runs of one arm, of the same duration, as one run after the other."""
    delays = [part.schedule_delay_s for part in parts if part.schedule_delay_s is not None]

    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return Measured(
        slos=parts[0].slos,
        duration_s=sum(part.duration_s for part in parts),
        sent_s=np.concatenate(
            [part.sent_s + number * part.duration_s for number, part in enumerate(parts)]
        ),
        slo=column("slo"),
        home=column("home"),
        served_by=column("served_by"),
        fate=column("fate"),
        output_tokens=column("output_tokens"),
        first_token_s=column("first_token_s"),
        last_token_s=column("last_token_s"),
        num_forwarded=sum(part.num_forwarded for part in parts),
        schedule_delay_s=np.concatenate(delays) if delays else None,
    )


def repeated(scenario: Scenario, num_passes: int) -> Scenario:
    """What a scenario is that is run so many times, one after the other."""
    offsets_s = [number * scenario.duration_s for number in range(num_passes)]
    replace = msgspec.structs.replace
    surges = tuple(
        replace(surge, at_s=surge.at_s + offset_s, until_s=surge.until_s + offset_s)
        for offset_s in offsets_s
        for surge in scenario.load.surges
    )
    faults = tuple(
        replace(
            fault,
            at_s=fault.at_s + offset_s,
            until_s=min(fault.until_s, scenario.duration_s) + offset_s,
        )
        for offset_s in offsets_s
        for fault in scenario.faults
    )
    return replace(
        scenario,
        duration_s=num_passes * scenario.duration_s,
        load=replace(scenario.load, surges=surges),
        faults=faults,
    )


def path_rows(passes: Sequence[Pass]) -> list[dict[str, Any]]:
    """Every arm's paths, as they were under load in all of its passes."""
    found: dict[tuple[str, str, str], tuple[float, list[float]]] = {}
    for one in passes:
        for path in one.paths:
            key = (one.arm, path.src, path.dst)
            found.setdefault(key, (path.nominal_s, []))[1].extend(path.sample.rtt_s)
    return [
        {
            "arm": arm,
            "from": src,
            "to": dst,
            "nominal_rtt_ms": round(nominal_s * 1e3, 3),
            "n": len(rtt_s),
            "p50_ms": round(percentile(rtt_s, 0.5) * 1e3, 3),
            "p99_ms": round(percentile(rtt_s, 0.99) * 1e3, 3),
        }
        for (arm, src, dst), (nominal_s, rtt_s) in found.items()
        if rtt_s
    ]


def beside_simulated(live: Measured, simulated: Measured) -> dict[str, Any]:
    """The shares attained, and how far apart they are; `is_telling` where that says something."""
    attained = [float(one.attained().mean()) if len(one) else 0.0 for one in (live, simulated)]
    points = (attained[0] - attained[1]) * 100.0
    least, most = TELLING_RATIOS
    return {
        "live": round(attained[0], 5),
        "simulated": round(attained[1], 5),
        "apart_points": round(points, 3),
        "is_telling": least <= attained[0] <= most,
        "met": abs(points) <= WANTED_POINTS,
    }


def _of_pass(one: Pass, duration_s: float) -> Measured:
    found = Measured.of(one.outcome, duration_s)
    delays_s = np.array([sample.schedule_delay_s for sample in one.samples])
    rows = np.arange(len(found))
    if one.broken_off:
        rows = np.array(sorted(sample.ask.key for sample in one.samples), np.int64)
    return Measured(
        slos=found.slos,
        duration_s=duration_s,
        sent_s=found.sent_s[rows],
        slo=found.slo[rows],
        home=found.home[rows],
        served_by=found.served_by[rows],
        fate=found.fate[rows],
        output_tokens=found.output_tokens[rows],
        first_token_s=found.first_token_s[rows],
        last_token_s=found.last_token_s[rows],
        num_forwarded=found.num_forwarded,
        schedule_delay_s=delays_s,
    )
