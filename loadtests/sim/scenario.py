"""A scenario file: sites, network, clients, load, faults, prices and the arms to compare.

    claim = "Forwarding keeps 99 % of voice turns in time through a burst at one site"
    seed = 7
    duration_s = 120.0
    arms = ["central", "central_regional", "grid", "grid_forwarding"]
    [sites]
    count = 4
    profile = "edge-accelerator"
    [clients]
    access_delay_s = 0.005          # one way to the nearest site
    [central]
    path = { delay_s = 0.03 }       # one way to the pool, beside the access
    [load]
    arrivals = "poisson"
    rate_hz = 12.0                  # a site, on average
    [[load.surges]]
    at_s = 40.0
    until_s = 60.0
    factor = 3.0
    sites = [0]                     # empty: everywhere
    [[slos]]
    turn_class = "voice"
    first_token_s = 0.5
    speech = { mean_s = 0.15, cv = 0.3, voice_s = 0.05 }
    [[faults]]
    kind = "kill"
    site = 3
    at_s = 60.0
    [prices]
    edge_usd_per_hour = 2.0
    core_usd_per_hour = 2.0

`arrivals = "trace"` takes times and sizes from a published trace instead, its requests spread
over the sites at random and its time stretched to `rate_hz` a site:

    [load]
    arrivals = "trace"
    rate_hz = 12.0
    trace = { path = "azure.csv", format = "azure" }   # beside the scenario; burstgpt, mooncake

Every arm sees the same requests; live runs and simulated ones read the same file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from gateway.config.toml_lines import TomlFile
from gateway.core.errors import ConfigError
from gateway.engine.step_profiles import load_profile
from loadtests.sim.faults import AnyFault, Partition, check_apart
from loadtests.sim.links import Link
from loadtests.sim.reports import Reporting
from loadtests.sim.site import SiteSpec
from loadtests.sim.ways import Clients
from loadtests.sim.workload import Sizes, Slo, Speech
from loadtests.traces import TraceFormat

if TYPE_CHECKING:
    from pathlib import Path

_MAX_NUM_REQUESTS = 100_000_000
Arm = Literal[
    "central",
    "central_regional",
    "central_edge_media",
    "grid",
    "grid_forwarding",
    "pool",
    "local",
    "round_robin",
    "ranked_list",
    "two_random",
    "two_choices",
    "exact_greedy",
    "shipped",
]
"""See `sim/arms.py`."""


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


class CentralTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the pool stands that holds as many accelerators as all sites together."""

    path: Link = Link(0.03)
    """One way between a site's place and the pool, beside a client's access to that place."""
    regional_path: Link = Link(0.0125)
    """The same to the regional pool."""
    playout_s: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.02
    """Assumed: what a jitter buffer for a call over the wide area holds back beyond one for the
    access alone. Not spent where media end at the edge."""


class PricesTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an accelerator costs for an hour, busy or not."""

    edge_usd_per_hour: Annotated[float, msgspec.Meta(gt=0.0, le=10_000.0)] = 2.0
    core_usd_per_hour: Annotated[float, msgspec.Meta(gt=0.0, le=10_000.0)] = 2.0


class TraceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of requests."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    format: TraceFormat
    quantum_s: Annotated[float, msgspec.Meta(gt=0.0, lt=3600.0)] | None = None
    """The resolution of its times; requests of one instant are spread over it."""


class Surge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Some sites' clients send `factor` times as much for a while. Raises ValueError."""

    at_s: Annotated[float, msgspec.Meta(ge=0.0, le=86_400.0)]
    until_s: Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)]
    factor: Annotated[float, msgspec.Meta(ge=0.0, le=1000.0)]
    sites: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = ()
    """Whose clients; empty: everybody's."""

    def __post_init__(self) -> None:
        """A surge must last."""
        if not self.at_s < self.until_s:
            raise ValueError("`until_s` must be after `at_s`")


class Wave(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A day's rise and fall, as a sine around the mean."""

    period_s: Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)]
    amplitude_ratio: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
    phase_spread_ratio: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """How much of a period lies between the peaks of the first site and the last."""


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
    hot_ratio: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] | None = None
    """The part of all requests whose clients live at site 0; None: all sites alike."""
    surges: tuple[Surge, ...] = ()
    wave: Wave | None = None
    trace: TraceTable | None = None

    def __post_init__(self) -> None:
        """A trace is named where one is replayed, and nowhere else."""
        if (self.arrivals == "trace") != (self.trace is not None):
            raise ValueError("`trace` and `arrivals` = 'trace' need each other")
        if self.trace is not None and (self.surges or self.wave or self.hot_ratio is not None):
            raise ValueError(
                "`trace` has its own times: no `surges`, `wave` or `hot_ratio` with it"
            )


class LiveTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a live run on one machine takes instead, where a scenario is too large for it."""

    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """Of the sites; those that faults and surges name must be among them."""
    profile: str | None = None
    num_slots: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    rate_hz: Annotated[float, msgspec.Meta(gt=0.0, le=100_000.0)] | None = None
    prompts: Sizes | None = None
    outputs: Sizes | None = None
    time_ratio: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1.0
    """Duration, surges, waves and faults come so much sooner. What a request takes stays."""


class SloTable(Slo, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An SLO, the share of requests that have it, and their sizes where they are not `load`'s."""

    share: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 1.0
    prompts: Sizes | None = None
    outputs: Sizes | None = None
    speech: Speech | None = None
    """For calls: what the ear and the mouth take before and after the model."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole run. Raises ValueError for parts that do not fit together."""

    claim: str = ""
    """The one sentence that the file is there to prove or refute."""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 1
    duration_s: Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)]
    drain_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 30.0
    """How long sites go on after the last request was sent."""
    arms: Annotated[tuple[Arm, ...], msgspec.Meta(min_length=1)] = ("local",)
    sites: SitesTable
    load: LoadTable
    network: NetworkTable = NetworkTable()
    clients: Clients = Clients()
    central: CentralTable = CentralTable()
    prices: PricesTable = PricesTable()
    reporting: Reporting = Reporting()
    slos: Annotated[tuple[SloTable, ...], msgspec.Meta(min_length=1)] = (SloTable(),)
    faults: tuple[AnyFault, ...] = ()
    live: LiveTable | None = None

    def __post_init__(self) -> None:
        """Faults must name sites that exist, and requests fit into memory."""
        num_requests = self.load.rate_hz * self.duration_s * self.sites.count
        if num_requests > _MAX_NUM_REQUESTS:
            raise ValueError(f"`load.rate_hz`: {num_requests:.0f} requests in all, too many")
        for number, fault in enumerate(self.faults):
            named = fault.sites if isinstance(fault, Partition) else (fault.site,)
            self._check_sites(f"faults.{number}", named)
        for number, surge in enumerate(self.load.surges):
            self._check_sites(f"load.surges.{number}", surge.sites)
        check_apart(self.faults)

    def _check_sites(self, key: str, named: tuple[int, ...]) -> None:
        if not all(0 <= site < self.sites.count for site in named):
            raise ValueError(f"`{key}`: a site outside 0..{self.sites.count - 1}")

    def rates_hz(self) -> list[float]:
        """What each site's clients send on average, surges and waves aside."""
        load, count = self.load, self.sites.count
        if load.hot_ratio is None or count == 1:
            return [load.rate_hz] * count
        total_hz = load.rate_hz * count
        others_hz = total_hz * (1.0 - load.hot_ratio) / (count - 1)
        return [total_hz * load.hot_ratio] + [others_hz] * (count - 1)


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
