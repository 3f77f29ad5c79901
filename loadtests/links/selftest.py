"""Measures every path and says which are not what their link says.

    python -m loadtests.links.selftest MATRIX.toml

An emulation that nobody checked proves nothing, so a run measures its paths before, during and
after its load. The bounds are those that an emulation on two busy cores kept with room to spare.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import SetupError
from loadtests.facts import percentile
from loadtests.links.matrix import read_matrix
from loadtests.links.namespaces import LinksFailed
from loadtests.links.network import emulated_network
from loadtests.links.probe import PathSample
from loadtests.local_site import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtests.links.delay_line import LineCounters
    from loadtests.links.matrix import Link
    from loadtests.links.network import EmulatedNetwork

MIN_LOSS_PACKETS = 5_000
"""A loss ratio is judged from so many packets on."""
_LOSS_SIGMAS = 2.58  # 99 % of a binomial's draws
_MIN_BULK_RTTS = 3
"""A new connection's window grows over several round trips; a relay would hide that."""


@dataclass(frozen=True, slots=True)
class PathResult:
    """A path as it was measured, from one of its ends."""

    src: str
    dst: str
    link: Link
    sample: PathSample

    def violations(self) -> list[str]:
        """Where it leaves its bounds, in words."""
        nominal_s, jitter_s, rtt_s = self.link.rtt_s, self.link.jitter_s, self.sample.rtt_s
        path = f"{self.src} to {self.dst}"
        if not rtt_s:
            return [f"{path}: none of {self.sample.num_sent} probes came back"]
        found = []
        p50_s, p95_s = percentile(rtt_s, 0.5), percentile(rtt_s, 0.95)
        off_s = max(0.5e-3, 0.02 * nominal_s) + jitter_s / 4
        if abs(p50_s - nominal_s) > off_s:
            found.append(_out(f"{path}: median round trip", p50_s, nominal_s, off_s))
        off_s = max(1e-3, 0.03 * nominal_s) + 2 * jitter_s
        if p95_s - nominal_s > off_s:
            found.append(_out(f"{path}: 95th percentile", p95_s, nominal_s, off_s))
        return found + self._tcp_violations(path)

    def _tcp_violations(self, path: str) -> list[str]:
        """Of the connection, on a link that loses nothing."""
        sample, nominal_s = self.sample, self.link.rtt_s
        if sample.connect_s is None or sample.bulk_s is None or self.link.loss_ratio:
            return []
        found = []
        off_s = max(1e-3, 0.02 * nominal_s) + 2 * self.link.jitter_s
        if not nominal_s - off_s <= sample.connect_s <= nominal_s + off_s:
            found.append(_out(f"{path}: TCP connect", sample.connect_s, nominal_s, off_s))
        if sample.bulk_s < _MIN_BULK_RTTS * (nominal_s - 2 * self.link.jitter_s):
            rtts = sample.bulk_s / nominal_s
            found.append(f"{path}: a bulk transfer took {rtts:.1f} round trips: no real TCP path")
        return found

    def row(self) -> dict[str, Any]:
        """The path's entry in a result, in ms."""
        rtt_ms = [rtt_s * 1e3 for rtt_s in self.sample.rtt_s]
        row: dict[str, Any] = {
            "from": self.src,
            "to": self.dst,
            "nominal_rtt_ms": round(self.link.rtt_s * 1e3, 3),
            "n": len(rtt_ms),
        }
        if rtt_ms:
            quantiles = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
            row |= {name: round(percentile(rtt_ms, q), 3) for name, q in quantiles.items()}
        if self.sample.connect_s is not None and self.sample.bulk_s is not None:
            row["connect_ms"] = round(self.sample.connect_s * 1e3, 3)
            row["bulk_ms"] = round(self.sample.bulk_s * 1e3, 3)
        return row


def _out(what: str, value_s: float, nominal_s: float, off_s: float) -> str:
    return (
        f"{what} is {value_s * 1e3:.2f} ms; {nominal_s * 1e3:g} ms wanted, "
        f"off by at most {off_s * 1e3:.2f} ms"
    )


def loss_violations(network: EmulatedNetwork, counters: list[LineCounters]) -> list[str]:
    """Directions whose loss is not within 99 % of what chance allows, given enough packets."""
    links = {frozenset((one, other)): link for one, other, link in network.matrix.links}
    found = []
    for line in counters:
        wanted = links[frozenset((line.src, line.dst))].loss_ratio
        if line.num_packets < MIN_LOSS_PACKETS:
            continue
        spread = _LOSS_SIGMAS * sqrt(wanted * (1 - wanted) / line.num_packets)
        got = line.num_lost / line.num_packets
        if abs(got - wanted) > spread:
            found.append(f"{line.src} to {line.dst}: {got:.3%} lost, {wanted:.3%} wanted")
    return found


def late_violations(network: EmulatedNetwork, counters: list[LineCounters]) -> list[str]:
    """Directions that sent packets on too late to trust what was measured over them."""
    smallest_s = min((link.rtt_s for _, _, link in network.matrix.links if link.rtt_s), default=0.0)
    bound_s = max(2e-3, 0.05 * smallest_s)
    return [
        f"{line.src} to {line.dst}: the forwarder was {line.late_p99_s * 1e3:.1f} ms late at the "
        f"99th percentile, {bound_s * 1e3:.1f} ms allowed"
        for line in counters
        if line.late_p99_s > bound_s
    ]


class PathProbe:
    """Probes under way at every site of a network."""

    def __init__(self, network: EmulatedNetwork, processes: dict[str, subprocess.Popen[str]]):
        self._network = network
        self._processes = processes

    def results(self) -> list[PathResult]:
        """Wait for the probes' end. Raises LinksFailed when a probe dies."""
        links = {(one, other): link for one, other, link in self._network.matrix.links}
        site_of = {self._network.address(site): site for site in self._network.matrix.sites}
        found = []
        for site, process in self._processes.items():
            while (line := _line(process, site)) != "done":
                sample = msgspec.json.decode(line, type=PathSample)
                peer = site_of[sample.peer]
                found.append(PathResult(site, peer, links[site, peer], sample))
        return found


@contextmanager
def probing(
    network: EmulatedNetwork, *, count: int = 100, rate_per_s: float = 100.0, bulk: bool = True
) -> Iterator[PathProbe]:
    """Probe every path from one of its ends, `count` times at a rate, while the context lasts."""
    matrix = network.matrix
    with ExitStack() as stack:
        processes = {}
        for place, site in enumerate(matrix.sites):
            peers = ",".join(network.address(peer) for peer in matrix.sites[place + 1 :])
            command = [sys.executable, "-m", "loadtests.links.probe"]
            command += ["--address", network.address(site), "--peers", peers]
            command += ["--count", str(count), "--interval-ms", str(1e3 / rate_per_s)]
            command += ["--bulk"] if bulk else []
            processes[site] = stack.enter_context(_process(network.command(site, command)))
        for site, process in processes.items():
            if _line(process, site) != "ready":
                raise LinksFailed(f"the probe at {site} did not start")
        for process in processes.values():
            _stdin(process).write("go\n")
            _stdin(process).flush()
        yield PathProbe(network, processes)


def self_test(network: EmulatedNetwork, *, count: int = 100) -> list[PathResult]:
    """Measure every path of an otherwise idle network. Raises LinksFailed when a probe dies."""
    with probing(network, count=count) as probe:
        return probe.results()


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A probe; it ends when its standard input closes."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            _stdin(process).close()


def _stdin(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdin is None:
        raise ValueError("the process was started without a standard input")
    return process.stdin


def _line(process: subprocess.Popen[str], site: str) -> str:
    line = process.stdout.readline().rstrip("\n") if process.stdout else ""
    if not line:
        raise LinksFailed(f"the probe at {site} ended; what it printed says why")
    return line


def main() -> int:
    """Print every path; 1 when one is out of bounds or there are no links here."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.links.selftest", description=__doc__)
    parser.add_argument("matrix", type=Path, help="TOML file; its format is in links/matrix.py")
    parser.add_argument("--backend", choices=("netem", "tun"), help="default: what works")
    args = parser.parse_args()
    try:
        with emulated_network(read_matrix(args.matrix), backend=args.backend) as network:
            results = self_test(network)
            counters = network.counters()
            bad = [line for result in results for line in result.violations()]
            bad += late_violations(network, counters)
            print(f"{network.backend}, {network.scheduler}")
    except SetupError as error:
        print(f"selftest: {error}", file=sys.stderr)
        return 1
    for result in results:
        print("  ".join(f"{key} {value}" for key, value in result.row().items()))
    print("\n".join(bad) if bad else "every path is within bounds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
