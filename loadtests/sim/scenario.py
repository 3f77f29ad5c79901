"""A scenario file: sites, network, load, faults and the arms to compare.

    seed = 7
    duration_s = 120.0
    arms = ["local", "two_choices", "exact_greedy"]
    [sites]
    count = 8
    profile = "edge-accelerator"
    [load]
    arrivals = "mmpp_local"
    rate_hz = 12.0
    [[slos]]
    turn_class = "voice"
    first_token_s = 0.5
    [[faults]]
    kind = "kill"
    site = 3
    at_s = 60.0

`arrivals = "trace"` takes times and sizes from a published trace instead, its requests spread
over the sites at random and its time stretched to `rate_hz` a site:

    [load]
    arrivals = "trace"
    rate_hz = 12.0
    trace = { path = "azure.csv", format = "azure" }   # beside the scenario; burstgpt, mooncake

Every arm sees the same requests on the same network. Beside them stands the pooled bound.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np

from gateway.config.toml_lines import TomlFile
from gateway.core.errors import ConfigError
from gateway.engine.step_profiles import load_profile
from loadtests import arrivals
from loadtests.sim.arms import POLICIES
from loadtests.sim.bound import pooled_bound
from loadtests.sim.faults import AnyFault, Partition, check_apart, schedule
from loadtests.sim.grid import Clients, Grid
from loadtests.sim.links import Link, Links
from loadtests.sim.reports import Reporting
from loadtests.sim.site import SiteSpec
from loadtests.sim.workload import Sizes, Slo, Workload
from loadtests.traces import InvalidTrace, TraceFormat, read_trace

if TYPE_CHECKING:
    from gateway.core.step_time import StepTimes
    from loadtests.sim.outcome import Outcome
    from loadtests.sim.policy import Policy

_MAX_NUM_REQUESTS = 100_000_000
Arm = Literal[
    "local", "round_robin", "ranked_list", "two_random", "two_choices", "exact_greedy", "shipped"
]


class SitesTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sites, all alike, at random places."""

    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    profile: str
    num_slots: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 16
    chunk_tokens: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256
    max_num_queued: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 64
    grid_tokens: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 16

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit each other."""
        self.spec()

    def spec(self) -> SiteSpec:
        """Each of them."""
        return SiteSpec(
            self.profile, self.num_slots, self.chunk_tokens, self.max_num_queued, self.grid_tokens
        )


class NetworkTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Paths between sites: `nearest` for neighbours, `farthest_s` across the whole area."""

    nearest: Link = Link(0.002)
    farthest_s: Annotated[float, msgspec.Meta(ge=0.0, lt=10.0)] = 0.02


class TraceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of requests."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    format: TraceFormat
    quantum_s: Annotated[float, msgspec.Meta(gt=0.0, lt=3600.0)] | None = None
    """The resolution of its times; requests of one instant are spread over it."""


class LoadTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every site's clients send."""

    rate_hz: Annotated[float, msgspec.Meta(gt=0.0, le=100_000.0)]
    arrivals: Literal["poisson", "gamma", "mmpp_local", "mmpp_correlated", "trace"] = "poisson"
    cv: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 2.0
    """For gamma."""
    burst_factor: Annotated[float, msgspec.Meta(ge=1.0, le=1000.0)] = 4.0
    burst_mean_s: Annotated[float, msgspec.Meta(gt=0.0, lt=86_400.0)] = 3.0
    burst_time_ratio: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.1
    sites_per_region: Annotated[int, msgspec.Meta(ge=1)] = 4
    """For mmpp_correlated."""
    prompts: Sizes = Sizes(200.0, 0.8, 2000)
    outputs: Sizes = Sizes(40.0, 0.7, 400)
    trace: TraceTable | None = None

    def __post_init__(self) -> None:
        """A trace is named where one is replayed, and nowhere else."""
        if (self.arrivals == "trace") != (self.trace is not None):
            raise ValueError("`trace` and `arrivals` = 'trace' need each other")


class SloTable(Slo, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An SLO and the share of requests that have it."""

    share: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 1.0


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole run. Raises ValueError for parts that do not fit together."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 1
    duration_s: Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)]
    drain_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 30.0
    """How long sites go on after the last request was sent."""
    arms: Annotated[tuple[Arm, ...], msgspec.Meta(min_length=1)] = ("local",)
    sites: SitesTable
    load: LoadTable
    network: NetworkTable = NetworkTable()
    clients: Clients = Clients()
    reporting: Reporting = Reporting()
    slos: Annotated[tuple[SloTable, ...], msgspec.Meta(min_length=1)] = (SloTable(),)
    faults: tuple[AnyFault, ...] = ()

    def __post_init__(self) -> None:
        """Faults must name sites that exist, and requests fit into memory."""
        num_requests = self.load.rate_hz * self.duration_s * self.sites.count
        if num_requests > _MAX_NUM_REQUESTS:
            raise ValueError(f"`load.rate_hz`: {num_requests:.0f} requests in all, too many")
        for number, fault in enumerate(self.faults):
            named = fault.sites if isinstance(fault, Partition) else (fault.site,)
            if not all(0 <= site < self.sites.count for site in named):
                raise ValueError(f"`faults.{number}`: a site outside 0..{self.sites.count - 1}")
        check_apart(self.faults)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises ConfigError, naming file, line and key."""
    file = TomlFile.read(path)
    scenario = file.convert(Scenario)
    try:
        load_profile(scenario.sites.profile)
    except ConfigError as error:
        raise ConfigError(f"{file.origin('sites', 'profile')}: sites.profile: {error}") from error
    trace = scenario.load.trace
    if trace is None:
        return scenario
    beside = msgspec.structs.replace(trace, path=str(path.parent / trace.path))
    load = msgspec.structs.replace(scenario.load, trace=beside)
    return msgspec.structs.replace(scenario, load=load)


class Prepared:
    """A scenario with everything drawn that all arms share. Raises ConfigError for files that it
    names.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.workload = _workload(scenario)
        self.until_s = scenario.duration_s + scenario.drain_s
        table = scenario.sites
        site: tuple[SiteSpec, StepTimes] = (table.spec(), load_profile(table.profile))
        self.sites = [site] * table.count

    def grid(self, policy: Policy) -> Grid:
        """A grid at its beginning."""
        scenario = self.scenario
        network = scenario.network
        links = Links.scattered(
            scenario.sites.count,
            nearest=network.nearest,
            farthest_s=network.farthest_s,
            seed=scenario.seed,
        )
        grid = Grid(
            self.workload,
            self.sites,
            links,
            policy,
            clients=scenario.clients,
            reporting=scenario.reporting,
            seed=scenario.seed,
        )
        schedule(scenario.faults, grid)
        return grid

    def run(self, arm: Arm) -> Outcome:
        """One arm's raw samples."""
        return self.grid(POLICIES[arm]()).run(self.until_s)

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

    def _timed(self, arm: Arm) -> dict[str, Any]:
        grid = self.grid(POLICIES[arm]())
        # A run makes millions of small objects and no cycles worth collecting while it lasts.
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


def _workload(scenario: Scenario) -> Workload:
    load, count = scenario.load, scenario.sites.count
    rng = np.random.default_rng(scenario.seed)
    duration_s = scenario.duration_s
    if load.trace is not None:
        return _replayed(scenario, load.trace, rng)
    bursts = arrivals.Bursts(load.burst_factor, load.burst_mean_s, load.burst_time_ratio)
    match load.arrivals:
        case "poisson":
            by_site = [arrivals.poisson(load.rate_hz, duration_s, rng) for _ in range(count)]
        case "gamma":
            by_site = [arrivals.gamma(load.rate_hz, load.cv, duration_s, rng) for _ in range(count)]
        case "mmpp_local":
            by_site = arrivals.mmpp_local(count, load.rate_hz, bursts, duration_s, rng)
        case _:
            regions = [site // load.sites_per_region for site in range(count)]
            by_site = arrivals.mmpp_correlated(regions, load.rate_hz, bursts, duration_s, rng)
    return Workload.of(
        by_site,
        prompts=load.prompts,
        outputs=load.outputs,
        slos=[(slo, slo.share) for slo in scenario.slos],
        rng=rng,
    )


def _replayed(scenario: Scenario, table: TraceTable, rng: np.random.Generator) -> Workload:
    """The requests of a trace, as many as `duration_s` holds at the rate asked for."""
    load, num_sites = scenario.load, scenario.sites.count
    try:
        trace = read_trace(Path(table.path), table.format)
        if table.quantum_s is not None:
            at_s = arrivals.spread_batches(trace.at_s, table.quantum_s, rng)
            trace = dataclasses.replace(trace, at_s=at_s - at_s[0])
        trace = trace.at_rate(load.rate_hz * num_sites)
    except InvalidTrace as error:
        raise ConfigError(f"load.trace: {error}") from error
    except ValueError as error:
        raise ConfigError(f"load.trace: {table.path}: {error}") from error
    if trace.at_s[-1] < scenario.duration_s:
        raise ConfigError(
            f"load.trace: {table.path}: lasts {trace.at_s[-1]:g} s at that rate, "
            f"`duration_s` is {scenario.duration_s:g}"
        )
    trace = trace.cut(scenario.duration_s)
    count = len(trace.at_s)
    shares = np.array([slo.share for slo in scenario.slos])
    return Workload.from_columns(
        tuple(scenario.slos),
        trace.at_s,
        rng.integers(0, num_sites, count),
        trace.prompt_tokens,
        trace.output_tokens,
        rng.choice(len(shares), count, p=shares / shares.sum()),
    )
