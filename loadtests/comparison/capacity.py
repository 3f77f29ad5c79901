"""Maximum sustainable load of a scenario's arms, over seeds, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gateway.engine.step_profiles import load_profile
from loadtests.comparison.cost import usd_per_hour, usd_per_mtok
from loadtests.comparison.resampling import over_seeds
from loadtests.sim.faults import Kill
from loadtests.sim.prepared import Prepared
from loadtests.sim.saturation import saturation_hz
from loadtests.sim.sustainable import LEAST_ATTAINED, highest_load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtests.sim.scenario import Scenario

MOST = 1.15
"""The load searched up to, of what the accelerators do with no idle second: more is never met."""


def probe(scenario: Scenario, *, seed: int, site_lost: bool = False) -> Prepared:
    """The scenario with more load than any arm sustains; with a site dead from the start, if asked.

    Faults on the timeline are left out: a load that is only met while all is well is no claim, and
    one that a dead site must meet is its own figure.
    """
    load = msgspec.structs.replace(scenario.load, rate_hz=MOST * saturated_hz(scenario))
    faults = (Kill(site=scenario.sites.count - 1, at_s=0.0),) if site_lost else ()
    return Prepared(msgspec.structs.replace(scenario, seed=seed, load=load, faults=faults))


def saturated_hz(scenario: Scenario) -> float:
    """What one accelerator does of the classes in their shares with no idle second."""
    spec, times = scenario.sites.spec(), load_profile(scenario.sites.profile)
    load = scenario.load
    whole = sum(slo.share for slo in scenario.slos)
    seconds = sum(
        slo.share
        / whole
        / saturation_hz(times, spec, slo.prompts or load.prompts, slo.outputs or load.outputs)
        for slo in scenario.slos
    )
    return 1.0 / seconds


def sustainable(
    scenario: Scenario,
    arms: Sequence[str],
    *,
    num_seeds: int,
    site_lost: bool = False,
    tolerance: float = 0.01,
    done: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Per arm the highest load in requests a second of all sites, its interval over seeds and its
    part of the zero-RTT pool's on the same seeds.
    """
    loads: dict[str, list[float]] = {arm: [] for arm in arms}
    tokens: list[float] = []
    for number in range(num_seeds):
        prepared = probe(scenario, seed=scenario.seed + number, site_lost=site_lost)
        per_s = len(prepared.workload) / scenario.duration_s
        tokens.append(float(np.mean(np.frombuffer(prepared.workload.output_tokens, np.int64))))
        # Every other seed the other way around, so that a machine that slows down favours none.
        for arm in arms if number % 2 == 0 else tuple(reversed(arms)):
            done(f"seed {number + 1} of {num_seeds}: {arm}")
            found = highest_load(prepared, arm, tolerance=tolerance)
            loads[arm].append(found.ratio * per_s)
    return {
        "least_attained": LEAST_ATTAINED,
        "num_seeds": num_seeds,
        "tolerance": tolerance,
        "site_lost": site_lost,
        "arms": {
            arm: _summary(loads[arm], loads.get("pool"))
            | {
                "usd_per_mtok": usd_per_mtok(
                    scenario.sites.count * usd_per_hour(arm, scenario.prices),
                    float(np.mean(loads[arm]) * np.mean(tokens)),
                )
            }
            for arm in arms
        },
    }


def _summary(loads_hz: list[float], pool_hz: list[float] | None) -> dict[str, Any]:
    mean_hz = sum(loads_hz) / len(loads_hz)
    bounds = over_seeds(loads_hz)
    found: dict[str, Any] = {
        "rate_hz": round(mean_hz, 3),
        "rate_hz_ci95": None if bounds is None else [round(bound, 3) for bound in bounds],
        "by_seed": [round(load_hz, 3) for load_hz in loads_hz],
    }
    if pool_hz is not None and all(pool_hz):
        ratios = [own / pool for own, pool in zip(loads_hz, pool_hz, strict=True)]
        bounds = over_seeds(ratios)
        found["of_pool"] = round(sum(ratios) / len(ratios), 4)
        found["of_pool_ci95"] = None if bounds is None else [round(bound, 4) for bound in bounds]
    return found
