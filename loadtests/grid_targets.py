"""The grid's targets in the simulator, each with its result: `python -m loadtests.grid_targets`.

Two classes of turns: text (class agent, 500 ms to the first token) and voice, whose model has what
speech leaves of 500 ms. Sites run the shipped model's measured step times. Load 0.7 is 0.7 of
what the accelerators can do with all slots busy (`sim/saturation.py`). Every site's clients burst
fourfold, a tenth of the time, 3 s each. Shed and failed turns count as missed. `--seeds N` and
`--short` make it quicker and less certain.
"""

from __future__ import annotations

import argparse
import gc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.core.budget import TurnClass
from gateway.engine.step_profiles import load_profile
from loadtests import facts
from loadtests.sim.arms import POLICIES
from loadtests.sim.bound import pooled_bound
from loadtests.sim.faults import CapacityCut, SlowDown
from loadtests.sim.links import Link
from loadtests.sim.prepared import Prepared
from loadtests.sim.reports import Reporting
from loadtests.sim.saturation import saturation_hz
from loadtests.sim.scenario import (
    LoadTable,
    NetworkTable,
    Scenario,
    SitesTable,
    SloTable,
)
from loadtests.sim.shipped import Shipped
from loadtests.sim.site import SiteSpec
from loadtests.sim.workload import Sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtests.sim.faults import AnyFault
    from loadtests.sim.outcome import Outcome

_PROFILE = "cpu-2core"
_SPEC = SiteSpec(_PROFILE, num_slots=8, chunk_tokens=64, max_num_queued=64)
_PROMPTS, _OUTPUTS = Sizes(160.0, 0.5, 512), Sizes(30.0, 0.6, 120)
_VOICE_SHARE = 0.3
_VOICE_MODEL_S = 0.2
"""Assumed: what ingress, end of turn, recognition, speech and pacing leave the model."""
_FIRST_SEED = 3
_NUM_PEERS = 16
_FAULT_AT_S = 20.0
_SETTLED_S = 5.0
_FAULTY = 3
_BASELINES = ("local", "round_robin", "ranked_list", "two_random", "exact_greedy")


@dataclass(slots=True)
class Tally:
    """Attained turns of some runs of one arm, added up."""

    num: int = 0
    num_attained: int = 0
    by_class: dict[str, list[int]] = field(
        default_factory=lambda: {"text": [0, 0], "voice": [0, 0]}
    )
    num_forwarded: int = 0
    num_settled: list[int] = field(default_factory=lambda: [0, 0])
    voice_settled: list[int] = field(default_factory=lambda: [0, 0])
    first_token_s: list[NDArray[np.float64]] = field(default_factory=list)
    named_after_s: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One run."""
        workload = outcome.workload
        attained = outcome.attained()
        is_voice = np.frombuffer(workload.slo, np.int64) == 1
        settled = np.frombuffer(workload.sent_s) >= _FAULT_AT_S + _SETTLED_S
        self.num += len(attained)
        self.num_attained += int(attained.sum())
        for counted, chosen in (
            (self.by_class["text"], ~is_voice),
            (self.by_class["voice"], is_voice),
            (self.num_settled, settled),
            (self.voice_settled, settled & is_voice),
        ):
            counted[0] += int(chosen.sum())
            counted[1] += int(attained[chosen].sum())
        self.num_forwarded += outcome.num_forwarded
        first_s = np.frombuffer(outcome.first_token_s)
        self.first_token_s.append(first_s[~np.isnan(first_s)])

    @property
    def attained(self) -> float:
        """The share of all turns."""
        return self.num_attained / self.num

    def of_class(self, name: str) -> float:
        """The share of a class."""
        return _share(self.by_class[name])

    def summary(self) -> dict[str, Any]:
        """As JSON-like data."""
        first_ms = np.concatenate(self.first_token_s) * 1e3
        return {
            "n": self.num,
            "attained": round(self.attained, 5),
            "text": round(self.of_class("text"), 5),
            "voice": round(self.of_class("voice"), 5),
            "forward_ratio": round(self.num_forwarded / self.num, 4),
            "ttft_ms": {f"p{q}": round(float(np.percentile(first_ms, q)), 1) for q in (50, 99)},
        }


def _share(counted: list[int]) -> float:
    return counted[1] / counted[0] if counted[0] else 0.0


class Runs:
    """Every run that is asked for, and their results by name."""

    def __init__(self, num_seeds: int, *, duration_s: float) -> None:
        self.num_seeds = num_seeds
        self.duration_s = duration_s
        self.results: dict[str, dict[str, Any]] = {}

    def scenario(self, name: str, **parts: Any) -> dict[str, Tally]:
        """Run the arms on every seed; see `_scenario` for the parts."""
        arms = parts.pop("arms", ("shipped",))
        num_seeds = parts.pop("num_seeds", self.num_seeds)
        parts.setdefault("duration_s", self.duration_s)
        tallies = {arm: Tally() for arm in arms}
        num_bound = num_requests = 0
        overloaded: list[float] = []
        for seed in range(_FIRST_SEED, _FIRST_SEED + num_seeds):
            prepared = Prepared(_scenario(seed=seed, **parts))
            bound = pooled_bound(
                prepared.workload,
                prepared.sites,
                prepared.scenario.faults,
                until_s=prepared.until_s,
            )
            num_bound += bound.num_attained
            num_requests += bound.num_requests
            overloaded.append(_overloaded_ratio(prepared))
            for arm, tally in tallies.items():
                _run(prepared, arm, tally)
        self.results[name] = {
            "arms": {arm: tally.summary() for arm, tally in tallies.items()},
            "pooled_bound": round(num_bound / num_requests, 5),
            "overloaded_time_ratio": round(sum(overloaded) / num_seeds, 4),
        }
        print(name, self.results[name], flush=True)
        return tallies


def _run(prepared: Prepared, arm: str, tally: Tally) -> None:
    policy = POLICIES[arm]()
    grid = prepared.grid(policy)
    gc.collect()
    gc.disable()
    try:
        tally.add(grid.run(prepared.until_s))
    finally:
        gc.enable()
    if isinstance(policy, Shipped) and _FAULTY in policy.named_slow_s:
        tally.named_after_s.append(policy.named_slow_s[_FAULTY] - _FAULT_AT_S)


def _overloaded_ratio(prepared: Prepared) -> float:
    """The share of seconds in which all clients together send more than all sites can serve."""
    scenario = prepared.scenario
    second = np.frombuffer(prepared.workload.sent_s).astype(np.int64)
    per_second = np.bincount(second, minlength=int(scenario.duration_s))
    most = scenario.sites.count * saturation_hz(prepared.sites[0][1], _SPEC, _PROMPTS, _OUTPUTS)
    return float((per_second > most).mean())


def _scenario(
    *,
    seed: int,
    num_sites: int,
    load: float,
    duration_s: float,
    reporting: Reporting | None = None,
    faults: tuple[AnyFault, ...] = (),
) -> Scenario:
    rate_hz = load * saturation_hz(load_profile(_PROFILE), _SPEC, _PROMPTS, _OUTPUTS)
    return Scenario(
        seed=seed,
        duration_s=duration_s,
        drain_s=10.0,
        sites=SitesTable(
            count=num_sites,
            profile=_PROFILE,
            num_slots=_SPEC.num_slots,
            chunk_tokens=_SPEC.chunk_tokens,
            max_num_queued=_SPEC.max_num_queued,
        ),
        network=NetworkTable(nearest=Link(0.002, 0.0005), farthest_s=0.02),
        load=LoadTable(rate_hz=rate_hz, arrivals="mmpp_local", prompts=_PROMPTS, outputs=_OUTPUTS),
        reporting=reporting or Reporting(num_peers=min(_NUM_PEERS, num_sites - 1)),
        slos=(
            SloTable(turn_class=TurnClass.AGENT, first_token_s=0.5, share=1.0 - _VOICE_SHARE),
            SloTable(turn_class=TurnClass.VOICE, first_token_s=_VOICE_MODEL_S, share=_VOICE_SHARE),
        ),
        faults=faults,
    )


def _target(measured: float, bound: float, *, at_most: bool = False) -> dict[str, Any]:
    met = measured <= bound if at_most else measured >= bound
    return {"target": bound, "measured": round(measured, 5), "met": bool(met)}


def _targets(runs: Runs) -> dict[str, dict[str, Any]]:
    """Run everything; each target of the grid with what came of it."""
    found: dict[str, dict[str, Any]] = {}
    arms = (*_BASELINES, "shipped")
    seven = runs.scenario("8 sites at 0.7", num_sites=8, load=0.7, arms=arms)
    high = runs.scenario("8 sites at 0.85", num_sites=8, load=0.85, arms=arms)
    for load, tallies in ((0.7, seven), (0.85, high)):
        ratio = tallies["shipped"].attained / tallies["exact_greedy"].attained
        found[f"of exact greedy, 1 report/s, 8 sites at {load}"] = _target(ratio, 0.995)
        bound = runs.results[f"8 sites at {load}"]["pooled_bound"]
        found[f"of the pooled bound, 8 sites at {load}"] = _target(
            tallies["shipped"].attained / bound, 0.97
        )
    lossy = Reporting(interval_s=5.0, loss_ratio=0.2, num_peers=7)
    for load, tallies in ((0.7, seven), (0.85, high)):
        name = f"8 sites at {load}, reports every 5 s, 20 % lost"
        few = runs.scenario(name, num_sites=8, load=load, reporting=lossy)
        ratio = few["shipped"].attained / tallies["exact_greedy"].attained
        found[f"of exact greedy, 5 s and 20 % lost, 8 sites at {load}"] = _target(ratio, 0.99)
    _large(runs, found, seven["shipped"], high["shipped"])
    _faulty(runs, found)
    return found


def _large(runs: Runs, found: dict[str, dict[str, Any]], seven: Tally, high: Tally) -> None:
    """Attainment by class, at three sizes."""
    sizes = {8: (seven, high)}
    for num_sites, duration_s in ((32, runs.duration_s / 2), (500, runs.duration_s / 6)):
        made = [
            runs.scenario(
                f"{num_sites} sites at {load}",
                num_sites=num_sites,
                load=load,
                duration_s=duration_s,
                num_seeds=1,
                arms=("exact_greedy", "shipped") if num_sites == 32 else ("shipped",),
            )
            for load in (0.7, 0.85)
        ]
        sizes[num_sites] = (made[0]["shipped"], made[1]["shipped"])
        if num_sites == 32:
            for load, tallies in zip((0.7, 0.85), made, strict=True):
                ratio = tallies["shipped"].attained / tallies["exact_greedy"].attained
                found[f"of exact greedy, 1 report/s, 32 sites at {load}"] = _target(ratio, 0.995)
    for num_sites, (lower, higher) in sizes.items():
        found[f"text, {num_sites} sites at 0.7"] = _target(lower.of_class("text"), 0.99)
        found[f"text, {num_sites} sites at 0.85"] = _target(higher.of_class("text"), 0.98)
        forwarded = lower.num_forwarded / lower.num
        found[f"forwarded, {num_sites} sites at 0.7"] = _target(forwarded, 0.3, at_most=True)


def _faulty(runs: Runs, found: dict[str, dict[str, Any]]) -> None:
    """A site that became slow without knowing, and one whose capacity was cut."""
    slow = runs.scenario(
        "8 sites at 0.7, one 5 times slower from 20 s on",
        num_sites=8,
        load=0.7,
        faults=(SlowDown(site=_FAULTY, at_s=_FAULT_AT_S, factor=5.0),),
    )["shipped"]
    found["one site 5 times slower: all turns after 5 s"] = _target(_share(slow.num_settled), 0.98)
    named = len(slow.named_after_s) == runs.num_seeds
    latest_s = max(slow.named_after_s, default=0.0) if named else 1e9
    found["the slow site is named within (s)"] = _target(latest_s, 3.0, at_most=True)
    cut = runs.scenario(
        "8 sites at 0.6, one cut to half from 20 s on",
        num_sites=8,
        load=0.6,
        faults=(CapacityCut(site=_FAULTY, at_s=_FAULT_AT_S, ratio=0.5),),
    )["shipped"]
    found["capacity cut to half: voice after 5 s"] = _target(_share(cut.voice_settled), 0.99)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.grid_targets", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each scenario of 8 sites")
    parser.add_argument("--short", action="store_true", help="a third of the virtual time")
    options = parser.parse_args()
    runs = Runs(options.seeds, duration_s=30.0 if options.short else 90.0)
    targets = _targets(runs)
    facts.save(
        "grid_targets",
        _FIRST_SEED,
        {
            "num_seeds": options.seeds,
            "duration_s": runs.duration_s,
            "profile": _PROFILE,
            "voice_model_budget_ms": {"value": 1e3 * _VOICE_MODEL_S, "basis": "assumed"},
            "targets": targets,
            "num_met": sum(target["met"] for target in targets.values()),
            "scenarios": runs.results,
        },
    )


if __name__ == "__main__":
    main()
