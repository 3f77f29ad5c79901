"""Each arm of a comparison at its own best settings: `python -m loadtests.arm_search`.

A small grid of settings per arm, judged by the highest load sustained on calls over modelled
accelerators (`scenarios/crossover.toml`), steady and with local bursts. Says whether what
`sim/arms.py` gives each arm is the best of them, or within a hundredth of it.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gateway.core.routing import Rules
from loadtests import facts
from loadtests.command_line import at_least, parser_for
from loadtests.comparison.capacity import probe
from loadtests.local_site import ROOT
from loadtests.progress_line import ProgressLine
from loadtests.sim.arms import ARMS, Arm, Place
from loadtests.sim.policy import ExactGreedy, Local, TwoRandom
from loadtests.sim.scenario import load_scenario
from loadtests.sim.shipped import Shipped
from loadtests.sim.sustainable import highest_load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtests.sim.policy import Policy
    from loadtests.sim.scenario import Scenario

_FILE = ROOT / "loadtests" / "scenarios" / "crossover.toml"
_ENOUGH = 0.99
"""Of the best, which a tolerance of the search can hide."""
_RULES = {
    "as shipped": Rules(),
    "comfort 0.3": Rules(comfort_ratio=0.3),
    "comfort 0.8, 0.2 s": Rules(comfort_ratio=0.8, comfort_s=0.2),
    "gain 0": Rules(gain_s=0.0),
    "gain 0.06": Rules(gain_s=0.06),
}
_POOLED: dict[str, Callable[[], Policy]] = {
    "exact state": ExactGreedy,
    "the grid's own rules": Shipped,
    "two at random": TwoRandom,
}
_GIVEN = {"central": "exact state", "grid": "as shipped", "grid_forwarding": "as shipped"}


def _settings() -> dict[str, dict[str, Arm]]:
    """Per arm, by the words for it."""
    return {
        "central": {words: Arm(Place.CENTRAL, policy) for words, policy in _POOLED.items()},
        "grid": {
            "as shipped": ARMS["grid"],
            "estimate without margin": Arm(Place.SITES, Local),
        },
        "grid_forwarding": {
            words: Arm(Place.SITES, partial(Shipped, rules)) for words, rules in _RULES.items()
        },
    }


def _loads_hz(scenario: Scenario, arm: Arm, num_seeds: int) -> float:
    found = []
    for number in range(num_seeds):
        prepared = probe(scenario, seed=scenario.seed + number)
        per_s = len(prepared.workload) / scenario.duration_s
        found.append(highest_load(prepared, arm).ratio * per_s)
    return float(np.mean(found))


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write; 1 when an arm is not given its best."""
    parser = parser_for("arm_search", __doc__)
    parser.add_argument("--seeds", type=at_least(1), default=3)
    options = parser.parse_args(argv)
    steady = load_scenario(_FILE)
    bursts = msgspec.structs.replace(
        steady, load=msgspec.structs.replace(steady.load, arrivals="mmpp_local")
    )
    line = ProgressLine()
    found: dict[str, dict[str, Any]] = {}
    missed = []
    for arm, settings in _settings().items():
        rates: dict[str, float] = {}
        for words, setting in settings.items():
            line.show(f"{arm}: {words}")
            rates[words] = round(
                sum(_loads_hz(load, setting, options.seeds) for load in (steady, bursts)) / 2.0, 2
            )
        best = max(rates, key=lambda words: rates[words])
        found[arm] = {"rate_hz": rates, "best": best, "given": _GIVEN[arm]}
        if rates[_GIVEN[arm]] < _ENOUGH * rates[best]:
            missed.append(f"{arm}: {best} sustains more than {_GIVEN[arm]}")
    line.clear()
    body = {"num_seeds": options.seeds, "arms": found, **facts.verdict([], missed=missed)}
    return facts.conclude("arm_search", steady.seed, body)


if __name__ == "__main__":
    sys.exit(main())
