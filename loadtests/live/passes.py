"""One arm run once: its links, its sites, its clients, its faults, and whether the host bore it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from loadtests.clients.run import run_clients
from loadtests.facts import percentile
from loadtests.host import MAX_LATE_S, HostGuard
from loadtests.links.network import emulated_network
from loadtests.links.selftest import late_violations, loss_violations, probing, self_test
from loadtests.live.ground import ground
from loadtests.live.sites import running_sites
from loadtests.live.timeline import Timeline, deeds
from loadtests.live.traffic import outcome, plans, wrong_sizes
from loadtests.sim.faults import CapacityCut, Partition, SlowDown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtests.clients.plan import Sample
    from loadtests.links.network import EmulatedNetwork
    from loadtests.links.selftest import PathResult
    from loadtests.live.ground import Ground
    from loadtests.live.sites import LiveSite
    from loadtests.live.traffic import PromptWriter
    from loadtests.sim.outcome import Outcome
    from loadtests.sim.prepared import Prepared

PROBES_PER_S = 2.0
_NUM_PROBES = 50
"""Of each path before and after."""


@dataclass(slots=True)
class Pass:
    """What one run of one arm gave."""

    arm: str
    outcome: Outcome
    samples: list[Sample]
    network: str
    """What kept the links, and how it was scheduled."""
    paths: list[PathResult]
    """Under load; before it where the pass was broken off."""
    host: dict[str, Any]
    faults: list[dict[str, Any]]
    """What was done, and when."""
    invalid_because: list[str] = field(default_factory=list)
    broken_off: str = ""
    """Why it ended before its end; empty: it did not."""

    @property
    def schedule_delay_p99_s(self) -> float:
        """How late the clients sent."""
        delays_s = [sample.schedule_delay_s for sample in self.samples]
        return percentile(delays_s, 0.99) if delays_s else 0.0


@dataclass(frozen=True, slots=True)
class Passes:
    """What all passes of a load test share."""

    writer: PromptWriter
    folder: Path
    """For logs and raw samples of processes."""
    is_stopped: Callable[[], bool]
    """Whether somebody wants the run to end."""

    def run(self, prepared: Prepared, arm: str, name: str) -> Pass:
        """One pass. Raises SetupError, SiteFailed, ChildFailed and OSError when there is none."""
        stands, folder = ground(prepared, arm), self.folder / name
        with ExitStack() as stack:
            network = stack.enter_context(
                emulated_network(stands.matrix, seed=prepared.scenario.seed)
            )
            before = self_test(network, count=_NUM_PROBES)
            sites = stack.enter_context(running_sites(stands, prepared.scenario, network, folder))
            return self._measured(prepared, arm, _Bench(stands, network, sites, folder), before)

    def _measured(
        self, prepared: Prepared, arm: str, bench: _Bench, before: list[PathResult]
    ) -> Pass:
        scenario, network = prepared.scenario, bench.network
        timeline = Timeline(deeds(scenario.faults, bench.ground, bench.sites, network))
        guard = HostGuard(sites=bench.readers(prepared), forwarder=network.counters)
        seconds = scenario.duration_s
        count = max(1, int(PROBES_PER_S * seconds))
        try:
            with probing(network, count=count, rate_per_s=PROBES_PER_S, bulk=False) as under_load:
                seen = run_clients(
                    plans(prepared, arm, bench.ground, self.writer),
                    bench.folder,
                    command=lambda place, words: network.command(bench.ground.homes[place], words),
                    on_start=guard.start,
                    on_begin=timeline.begin,
                    is_over=lambda: bool(self.is_stopped() or timeline.error or bench.died()),
                )
                broken_off = self._why_broken_off(timeline, bench.died())
                timeline.stop()
                guard.stop()
                if broken_off:
                    under_load.give_up()
                during = [] if broken_off else under_load.results()
        finally:
            bench.timeline_over(timeline)
        for who, lags_s in seen.lags_s.items():
            guard.note(f"loop of {who}", lags_s)
        paths = {"before": before, "during": during}
        found = Pass(
            arm,
            outcome(prepared, bench.ground, seen.samples),
            seen.samples,
            f"{network.backend}, {network.scheduler}",
            during or before,
            guard.row(),
            timeline.done,
            broken_off=broken_off,
        )
        found.invalid_because += guard.faults() + _bad_paths(prepared, bench.ground, network, paths)
        found.invalid_because += _bad_clients(prepared, found)
        return found

    def _why_broken_off(self, timeline: Timeline, died: list[str]) -> str:
        if self.is_stopped():
            return "stopped"
        if timeline.error is not None:
            return f"a fault could not be done: {str(timeline.error).partition(chr(10))[0]}"
        return f"{', '.join(died)} died" if died else ""


@dataclass(frozen=True, slots=True)
class _Bench:
    """What stands while one pass lasts."""

    ground: Ground
    network: EmulatedNetwork
    sites: Sequence[LiveSite]
    folder: Path

    def died(self) -> list[str]:
        """Sites that ended though nobody had told them to."""
        return [site.spot.name for site in self.sites if site.has_died]

    def readers(self, prepared: Prepared) -> dict[str, Callable[[], str]]:
        """The metrics of the sites that no fault ends or stops."""
        gentle = (CapacityCut, Partition, SlowDown)
        touched = {
            fault.site for fault in prepared.scenario.faults if not isinstance(fault, gentle)
        }
        return {
            site.spot.name: partial(_metrics, site)
            for number, site in enumerate(self.sites)
            if number not in touched
        }

    def timeline_over(self, timeline: Timeline) -> None:
        """End the sites that the timeline started, and with them its thread."""
        timeline.stop()
        if timeline.deeds:
            for site in self.sites:
                site.end()
        timeline.end()


def _metrics(site: LiveSite) -> str:
    return "" if site.has_died else site.admin("/metrics")


def _bad_paths(
    prepared: Prepared, ground: Ground, network: EmulatedNetwork, paths: dict[str, list[PathResult]]
) -> list[str]:
    """What is not as its link says; paths that a partition cuts lose what they lose."""
    partitions = [fault for fault in prepared.scenario.faults if isinstance(fault, Partition)]
    apart = [set(ground.within(fault.sites)) for fault in partitions]
    found = []
    for when, results in paths.items():
        lines = [
            line
            for result in results
            if when == "before"
            or not any((result.src in one) != (result.dst in one) for one in apart)
            for line in result.violations()
        ]
        found += _shortened(f"{when} the load", lines)
    counters = network.counters()
    found += _shortened("under load", late_violations(network, counters))
    return found + _shortened("under load", loss_violations(network, counters))


def _shortened(when: str, lines: list[str]) -> list[str]:
    """One reason for all that is alike."""
    if len(lines) < 2:
        return [f"{when}: {line}" for line in lines]
    return [f"{when}: {lines[0]}; and {len(lines) - 1} more like it"]


def _bad_clients(prepared: Prepared, found: Pass) -> list[str]:
    bad = []
    if found.schedule_delay_p99_s > MAX_LATE_S:
        bad.append(
            f"the clients sent {found.schedule_delay_p99_s * 1e3:.1f} ms late at the 99th "
            f"percentile, {MAX_LATE_S * 1e3:g} ms allowed"
        )
    full = sum(sample.code == "client_full" for sample in found.samples)
    if full:
        bad.append(f"{full} requests were not sent: the client had too many open")
    bad += [
        f"{count} {what} had another size than the scenario says"
        for what, count in wrong_sizes(prepared, found.samples).items()
        if count
    ]
    return bad
