"""A scenario made ready: what is drawn once, and the grid of each arm at its beginning."""

from __future__ import annotations

import dataclasses
import gc
import time
from array import array
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gateway.engine.step_profiles import load_profile
from loadtests.sim.arms import ARMS, Place
from loadtests.sim.bound import pooled_bound
from loadtests.sim.drawing import draw, thinned
from loadtests.sim.faults import Partition, schedule
from loadtests.sim.grid import Grid
from loadtests.sim.links import Link, Links
from loadtests.sim.ways import Ways

if TYPE_CHECKING:
    from loadtests.sim.arms import Arm
    from loadtests.sim.outcome import Outcome
    from loadtests.sim.policy import Policy
    from loadtests.sim.scenario import Scenario
    from loadtests.sim.workload import Workload


class Prepared:
    """A scenario with everything drawn that all arms share. Raises ConfigError for files that it
    names.
    """

    def __init__(self, scenario: Scenario, workload: Workload | None = None) -> None:
        self.scenario = scenario
        self.workload = draw(scenario) if workload is None else workload
        self.until_s = scenario.duration_s + scenario.drain_s
        table = scenario.sites
        self.sites = [(table.spec(), load_profile(table.profile))] * table.count

    def at_load(self, ratio: float) -> Prepared:
        """The same run at this part of its load, at most 1. Raises ConfigError.

        Gamma arrivals and traces are drawn anew, the others thinned (`drawing.thinned`).
        """
        scenario = self.scenario
        if scenario.load.arrivals in ("gamma", "trace"):
            load = msgspec.structs.replace(scenario.load, rate_hz=scenario.load.rate_hz * ratio)
            return Prepared(msgspec.structs.replace(scenario, load=load))
        return Prepared(scenario, thinned(self.workload, ratio, scenario.seed))

    def grid(self, policy: Policy, *, max_num_missed: float = inf) -> Grid:
        """Sites at their places, at the beginning."""
        scenario = self.scenario
        grid = self._grid(self.workload, self._scattered(), policy, max_num_missed=max_num_missed)
        schedule(scenario.faults, grid)
        return grid

    def grid_of(self, arm: Arm | str, *, max_num_missed: float = inf) -> Grid:
        """An arm, or one of `arms.ARMS` by its name, at its beginning."""
        arm = _arm(arm)
        if arm.is_pooled:
            return self._pooled(arm, max_num_missed)
        return self.grid(arm.policy(), max_num_missed=max_num_missed)

    def run(self, arm: Arm | str, *, max_num_missed: float = inf) -> Outcome:
        """One arm's raw samples, whose clients live where `workload` says.

        Raises TooManyMissed.
        """
        # A run makes millions of small objects and no cycles worth collecting while it lasts.
        gc.collect()
        gc.disable()
        try:
            outcome = self.grid_of(arm, max_num_missed=max_num_missed).run(self.until_s)
        finally:
            gc.enable()
        outcome.workload = self.workload
        if _arm(arm).is_pooled:
            outcome.num_forwarded = 0  # from one engine of the pool to another
        return outcome

    def path(self, place: Place) -> list[Link]:
        """The links between a client and the place that serves it."""
        central, access = self.scenario.central, self.scenario.clients.access
        match place:
            case Place.SITES | Place.POOL:
                return [access]
            case Place.REGIONAL:
                return [access, central.regional_path]
        return [access, central.path]

    def _pooled(self, arm: Arm, max_num_missed: float) -> Grid:
        """One place for all. Clients come to its engines in turn; who serves, the policy says."""
        scenario, count = self.scenario, len(self.workload)
        turns = np.arange(count, dtype=np.int64) % scenario.sites.count
        workload = dataclasses.replace(self.workload, home=array("q", turns.tobytes()))
        is_far = arm.place in (Place.CENTRAL, Place.REGIONAL)
        ways = Ways.drawn(
            workload,
            self.path(arm.place),
            seed=scenario.seed,
            playout_s=scenario.central.playout_s if is_far else 0.0,
        )
        together = Links([(0.0, 0.0)] * scenario.sites.count, nearest=Link(0.0))
        cut_off = () if arm.place is Place.POOL else self._cut_off()
        grid = self._grid(
            workload,
            together,
            arm.policy(),
            ways=ways,
            cut_off=cut_off,
            max_num_missed=max_num_missed,
        )
        within = [fault for fault in scenario.faults if not isinstance(fault, Partition)]
        schedule(within, grid)
        return grid

    def _cut_off(self) -> frozenset[int]:
        """Requests whose clients a partition parts from the centre: it is on the far side."""
        sent_s = np.frombuffer(self.workload.sent_s)
        home = np.frombuffer(self.workload.home, np.int64)
        cut = np.zeros(len(sent_s), np.bool_)
        for fault in self.scenario.faults:
            if isinstance(fault, Partition):
                lasts = (sent_s >= fault.at_s) & (sent_s < fault.until_s)
                cut |= lasts & np.isin(home, fault.sites)
        return frozenset(np.flatnonzero(cut).tolist())

    def _scattered(self) -> Links:
        network = self.scenario.network
        return Links.scattered(
            self.scenario.sites.count,
            nearest=network.nearest,
            farthest_s=network.farthest_s,
            seed=self.scenario.seed,
        )

    def _grid(
        self,
        workload: Workload,
        links: Links,
        policy: Policy,
        *,
        ways: Ways | None = None,
        cut_off: frozenset[int] | tuple[()] = (),
        max_num_missed: float = inf,
    ) -> Grid:
        scenario = self.scenario
        return Grid(
            workload,
            self.sites,
            links,
            policy,
            clients=scenario.clients,
            reporting=scenario.reporting,
            seed=scenario.seed,
            ways=ways,
            cut_off=cut_off,
            max_num_missed=max_num_missed,
        )

    def results(self) -> dict[str, Any]:
        """Every arm's summary and speed, and the bound, as JSON-like data."""
        arms = {arm: self._timed(arm) for arm in self.scenario.arms}
        bound = pooled_bound(self.workload, self.sites, self.scenario.faults, until_s=self.until_s)
        count = bound.num_requests
        return {
            "profile": msgspec.to_builtins(self.sites[0][1]),
            "arms": arms,
            "pooled_bound": {
                "attained": round(bound.num_attained / count, 6) if count else None,
                "hopeless": bound.num_hopeless,
                "overloaded_intervals": len(bound.intervals),
            },
        }

    def _timed(self, arm: str) -> dict[str, Any]:
        grid = self.grid_of(arm)
        gc.collect()
        gc.disable()
        try:
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            outcome = grid.run(self.until_s)
            wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        finally:
            gc.enable()
        num_steps = sum(node.site.engine.num_steps for node in grid.nodes)
        return {
            **outcome.summary(),
            "wall_s": round(wall_s, 2),
            "cpu_s": round(cpu_s, 2),
            "events": grid.events.num_happened,  # calls the event queue made
            "events_per_cpu_s": round(grid.events.num_happened / max(1e-9, cpu_s)),
            "engine_steps": num_steps,  # most of them computed many at once
        }


def _arm(arm: Arm | str) -> Arm:
    return ARMS[arm] if isinstance(arm, str) else arm
