"""The shape of the published AI grid benchmark, in the simulator: `python -m loadtests.ai_grid`.

Four accelerators, a small model that answers calls, 500 ms at the client, steady load and a burst
that hits all sites at once. For a pool at several round trips, a grid and a forwarding grid: the
highest load at which 99 % of calls are in time, its tokens a second and what a million cost. Two
searches: without the burst, and with the mean load of a run that has it. `--short` and `--seeds`
make it quicker and less certain.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from loadtests import facts
from loadtests.command_line import at_least, parser_for
from loadtests.comparison.capacity import probe
from loadtests.comparison.cost import usd_per_hour, usd_per_mtok
from loadtests.comparison.crossover import pool_at
from loadtests.comparison.resampling import over_seeds
from loadtests.local_site import ROOT
from loadtests.progress_line import ProgressLine
from loadtests.sim.scenario import load_scenario
from loadtests.sim.sustainable import highest_load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.sim.prepared import Prepared
    from loadtests.sim.scenario import Scenario

_FILE = ROOT / "loadtests" / "scenarios" / "voice-burst.toml"
_RTTS_MS = (20.0, 40.0, 60.0, 80.0, 100.0)
_SHORT_PART = 0.25


def _side(name: str, prepared: Prepared) -> tuple[str, Prepared]:
    """An arm's name in `sim.arms` and the run it has: `central 60 ms` is the pool that far away."""
    arm, _, rtt = name.partition(" ")
    return arm, pool_at(prepared, float(rtt.split()[0])) if rtt else prepared


def _names() -> tuple[str, ...]:
    return (*(f"central {rtt_ms:g} ms" for rtt_ms in _RTTS_MS), "grid", "grid_forwarding")


def _searched(scenario: Scenario, num_seeds: int, line: ProgressLine) -> dict[str, Any]:
    """Every side's highest load, in tokens a second of answers in time."""
    loads: dict[str, list[float]] = {name: [] for name in _names()}
    for number in range(num_seeds):
        prepared = probe(scenario, seed=scenario.seed + number)
        tokens = np.frombuffer(prepared.workload.output_tokens, np.int64)
        tok_per_s = float(tokens.sum()) / scenario.duration_s
        for name in loads:
            line.show(f"seed {number + 1} of {num_seeds}: {name}")
            arm, at = _side(name, prepared)
            loads[name].append(highest_load(at, arm, tolerance=0.01).ratio * tok_per_s)
    return {name: _summary(name, scenario, found) for name, found in loads.items()}


def _summary(name: str, scenario: Scenario, tok_per_s: list[float]) -> dict[str, Any]:
    mean = float(np.mean(tok_per_s))
    bounds = over_seeds(tok_per_s)
    price = scenario.sites.count * usd_per_hour(name.partition(" ")[0], scenario.prices)
    return {
        "tok_per_s": round(mean, 1),
        "tok_per_s_ci95": None if bounds is None else [round(bound, 1) for bound in bounds],
        "usd_per_mtok": usd_per_mtok(price, mean),
    }


def _shortened(scenario: Scenario) -> Scenario:
    surges = tuple(
        msgspec.structs.replace(
            surge, at_s=surge.at_s * _SHORT_PART, until_s=surge.until_s * _SHORT_PART
        )
        for surge in scenario.load.surges
    )
    load = msgspec.structs.replace(scenario.load, surges=surges)
    duration_s = scenario.duration_s * _SHORT_PART
    return msgspec.structs.replace(scenario, duration_s=duration_s, load=load)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write."""
    parser = parser_for("ai_grid", __doc__)
    parser.add_argument("--seeds", type=at_least(1), default=3)
    parser.add_argument("--short", action="store_true", help="a quarter of the virtual time")
    options = parser.parse_args(argv)
    scenario = load_scenario(_FILE)
    if options.short:
        scenario = _shortened(scenario)
    load = scenario.load
    steady = msgspec.structs.replace(scenario, load=msgspec.structs.replace(load, surges=()))
    line = ProgressLine()
    found = {
        "steady": _searched(steady, options.seeds, line),
        "burst": _searched(scenario, options.seeds, line),
    }
    line.clear()
    facts.save(
        "ai_grid",
        scenario.seed,
        {
            "kind": "simulated",
            "profile": scenario.sites.profile,
            "num_seeds": options.seeds,
            "duration_s": scenario.duration_s,
            "surges": msgspec.to_builtins(load.surges),
            "prices": msgspec.to_builtins(scenario.prices),
            **found,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
