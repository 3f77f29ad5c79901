"""The shape of the published AI grid benchmark, in the simulator: `python -m loadtests.ai_grid`.

Four accelerators, a small model that answers calls, 500 ms at the client, steady load and a burst
that hits all sites at once. For a pool at several round trips, a grid and a forwarding grid: the
highest load at which 99 % of calls are in time, its tokens a second and what a million cost. Two
searches: without the burst and with it, where the burst by itself must be in time too. Then every
side runs through the burst at the load that the forwarding grid sustains. `--short` and `--seeds`
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

    from numpy.typing import NDArray

    from loadtests.sim.prepared import Prepared
    from loadtests.sim.scenario import Scenario

_FILE = ROOT / "loadtests" / "scenarios" / "voice-burst.toml"
_RTTS_MS = (20.0, 40.0, 60.0, 80.0, 100.0)
_SHORT_PART = 0.25
_TOLERANCE = 0.005
"""Of the load searched up to: distances of tens of ms are worth a few hundredths of it."""


def _side(name: str, prepared: Prepared) -> tuple[str, Prepared]:
    """An arm's name in `sim.arms` and the run it has: `central 60 ms` is the pool that far away."""
    arm, _, rtt = name.partition(" ")
    return arm, pool_at(prepared, float(rtt.split()[0])) if rtt else prepared


def _names() -> tuple[str, ...]:
    return (*(f"central {rtt_ms:g} ms" for rtt_ms in _RTTS_MS), "grid", "grid_forwarding")


def _searched(scenario: Scenario, num_seeds: int, line: ProgressLine) -> dict[str, Any]:
    """Every side's highest load, in tokens a second of answers in time; with a burst, those that
    are asked for while it lasts, and how each side does at the load of the forwarding grid.
    """
    loads: dict[str, list[float]] = {name: [] for name in _names()}
    held: dict[str, list[tuple[float, float | None]]] = {name: [] for name in _names()}
    for number in range(num_seeds):
        prepared = probe(scenario, seed=scenario.seed + number)
        tok_per_s = _tok_per_s(prepared)
        for name in loads:
            line.show(f"seed {number + 1} of {num_seeds}: {name}")
            arm, at = _side(name, prepared)
            loads[name].append(highest_load(at, arm, tolerance=_TOLERANCE).ratio * tok_per_s)
        ratio = loads["grid_forwarding"][-1] / tok_per_s
        for name in held if scenario.load.surges and ratio else ():
            line.show(f"seed {number + 1} of {num_seeds}: {name} at forwarding's load")
            held[name].append(_through_surges(*_side(name, prepared.at_load(ratio))))
    return {
        name: _summary(name, scenario, found) | _held(held[name]) for name, found in loads.items()
    }


def _tok_per_s(prepared: Prepared) -> float:
    """Tokens of answers asked for in a second, of the surges where there are any."""
    tokens = np.frombuffer(prepared.workload.output_tokens, np.int64)
    surges = prepared.scenario.load.surges
    if not surges:
        return float(tokens.sum()) / prepared.scenario.duration_s
    length_s = sum(surge.until_s - surge.at_s for surge in surges)
    return float(tokens[_in_surges(prepared)].sum()) / length_s


def _in_surges(prepared: Prepared) -> NDArray[np.bool_]:
    sent_s = np.frombuffer(prepared.workload.sent_s)
    inside = np.zeros(len(sent_s), np.bool_)
    for surge in prepared.scenario.load.surges:
        inside |= (sent_s >= surge.at_s) & (sent_s < surge.until_s)
    return inside


def _through_surges(arm: str, prepared: Prepared) -> tuple[float, float | None]:
    """Of what is sent within surges: the part in time, and the P99 in ms of what is answered."""
    outcome = prepared.run(arm)
    inside = _in_surges(prepared)
    first_s = np.frombuffer(outcome.first_token_s)[inside]
    answered_s = first_s[~np.isnan(first_s)]
    p99_ms = round(1e3 * float(np.percentile(answered_s, 99)), 1) if len(answered_s) else None
    return float(outcome.attained()[inside].mean()), p99_ms


def _held(runs: list[tuple[float, float | None]]) -> dict[str, Any]:
    if not runs:
        return {}
    attained, p99_ms = zip(*runs, strict=True)
    return {
        "at_forwardings_load": {
            "attained": round(float(np.mean(attained)), 5),
            "attained_by_seed": [round(share, 5) for share in attained],
            "p99_ms_by_seed": list(p99_ms),
        }
    }


def _summary(name: str, scenario: Scenario, tok_per_s: list[float]) -> dict[str, Any]:
    mean = float(np.mean(tok_per_s))
    bounds = over_seeds(tok_per_s)
    price = scenario.sites.count * usd_per_hour(name.partition(" ")[0], scenario.prices)
    return {
        "tok_per_s": round(mean, 1),
        "tok_per_s_by_seed": [round(one, 1) for one in tok_per_s],
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
