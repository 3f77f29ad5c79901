"""Measures every path and says which are not what their link says.

    python -m loadtests.links.selftest MATRIX.toml

An emulation that nobody checked proves nothing, so a run measures its paths before, during and
after its load. The bounds are those that an emulation on two busy cores kept with room to spare.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import SetupError
from loadtests.child import Child, ChildFailed
from loadtests.command_line import parser_for
from loadtests.facts import percentile
from loadtests.links.matrix import read_matrix
from loadtests.links.network import emulated_network
from loadtests.links.probe import BULK_BYTES, ECHO_BYTES, PROBE_BYTES, PathSample, ProbePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtests.links.delay_line import LineCounters
    from loadtests.links.matrix import Link, LinkMatrix
    from loadtests.links.network import EmulatedNetwork

MIN_LOSS_PACKETS = 5_000
"""A loss ratio is judged from so many packets on."""
_LOSS_SIGMAS = 2.58  # 99 % of a binomial's draws
_PROBE_SIGMAS = 4.0
"""So that of ten thousand paths as they should be, less than one is complained about."""
_SYN_BYTES = 60
_MIN_RATE_SHARE = 0.9
_MIN_BULK_BYTES = 10_000
_MAX_PROBE_SHARE = 0.25
"""Probes take no more of the slowest link, or they would queue behind each other."""
_GRACE_S = 0.5
_REPLY_LIMIT_S = 120.0
_MIN_BULK_RTTS = 3
"""A new connection's window grows over several round trips; a relay would hide that."""


@dataclass(frozen=True, slots=True)
class PathResult:
    """A path as it was measured, from one of its ends."""

    src: str
    dst: str
    link: Link
    sample: PathSample

    @property
    def nominal_s(self) -> float:
        """The round trip of a probe, the time to put it on the link included."""
        rate = self.link.rate_bit_per_s
        return self.link.rtt_s + (8 * (PROBE_BYTES + ECHO_BYTES) / rate if rate else 0.0)

    def violations(self) -> list[str]:
        """Where it leaves its bounds, in words."""
        nominal_s, jitter_s, rtt_s = self.nominal_s, self.link.jitter_s, self.sample.rtt_s
        path = f"{self.src} to {self.dst}"
        found = self._loss_violations(path)
        if not rtt_s:
            return found
        p50_s, p95_s = percentile(rtt_s, 0.5), percentile(rtt_s, 0.95)
        off_s = max(0.5e-3, 0.02 * nominal_s) + jitter_s / 4
        if abs(p50_s - nominal_s) > off_s:
            found.append(_out(f"{path}: median round trip", p50_s, nominal_s, off_s))
        off_s = max(1e-3, 0.03 * nominal_s) + 2 * jitter_s
        if p95_s - nominal_s > off_s:
            found.append(_out(f"{path}: 95th percentile", p95_s, nominal_s, off_s))
        return found + self._tcp_violations(path)

    def _loss_violations(self, path: str) -> list[str]:
        """Probes that are missing, or too many that are not; both directions may lose one."""
        num_sent, num_back = self.sample.num_sent, len(self.sample.rtt_s)
        back_ratio = (1 - self.link.loss_ratio) ** 2
        off = _PROBE_SIGMAS * sqrt(back_ratio * (1 - back_ratio) * num_sent)
        if abs(num_back - back_ratio * num_sent) <= off:
            return []
        return [
            f"{path}: {num_back} of {num_sent} probes came back; "
            f"{back_ratio * num_sent:.0f} expected, off by at most {off:.0f}"
        ]

    def _tcp_violations(self, path: str) -> list[str]:
        """Of the connection, where one was timed."""
        sample, nominal_s = self.sample, self.link.rtt_s
        if sample.tcp_error:
            return [f"{path}: TCP: {sample.tcp_error}"]
        if sample.connect_s is None or sample.bulk_s is None or sample.both_s is None:
            return []
        found = []
        off_s = max(1e-3, 0.02 * nominal_s) + 2 * self.link.jitter_s
        connect_s = nominal_s
        if self.link.rate_bit_per_s:
            connect_s += 8 * 2 * _SYN_BYTES / self.link.rate_bit_per_s
        if abs(sample.connect_s - connect_s) > off_s:
            found.append(_out(f"{path}: TCP connect", sample.connect_s, connect_s, off_s))
        least_s = _MIN_BULK_RTTS * (nominal_s - 2 * self.link.jitter_s)
        if sample.bulk_bytes == BULK_BYTES and sample.bulk_s < least_s:
            rtts = sample.bulk_s / nominal_s
            found.append(f"{path}: a bulk transfer took {rtts:.1f} round trips: no real TCP path")
        return found + self._rate_violations(path, sample.bulk_s, sample.both_s)

    def _rate_violations(self, path: str, bulk_s: float, both_s: float) -> list[str]:
        """A link that is slower shows in every round trip, one that is faster only in bulk."""
        if not self.link.rate_bit_per_s:
            return []
        one_way_s = 8 * self.sample.bulk_bytes / self.link.rate_bit_per_s
        return [
            f"{path}: {what} took {taken_s * 1e3:.1f} ms; at the link's rate it takes "
            f"{least_s * 1e3:.1f} ms"
            for what, taken_s, least_s in (
                ("a bulk transfer", bulk_s, one_way_s),
                ("a bulk transfer there and back", both_s, 2 * one_way_s),
            )
            if taken_s < _MIN_RATE_SHARE * least_s
        ]

    def row(self) -> dict[str, Any]:
        """The path's entry in a result, in ms."""
        rtt_ms = [rtt_s * 1e3 for rtt_s in self.sample.rtt_s]
        row: dict[str, Any] = {
            "from": self.src,
            "to": self.dst,
            "nominal_rtt_ms": round(self.nominal_s * 1e3, 3),
            "n": len(rtt_ms),
            "lost": self.sample.num_sent - len(rtt_ms),
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
    """Probes under way at every site of a network, for so many seconds."""

    def __init__(
        self, network: EmulatedNetwork, children: dict[str, Child], duration_s: float
    ) -> None:
        self._network = network
        self._children = children
        self._limit_s = duration_s + _REPLY_LIMIT_S

    def give_up(self) -> None:
        """Let the probes go: their results are not wanted any more."""
        for child in self._children.values():
            child.give_up()

    def results(self) -> list[PathResult]:
        """Wait for the probes' end. Raises ChildFailed when a probe dies or falls silent."""
        links = {(one, other): link for one, other, link in self._network.matrix.links}
        site_of = {self._network.address(site): site for site in self._network.matrix.sites}
        found = []
        for site, child in self._children.items():
            while (line := child.hear(self._limit_s)) != "done":
                sample = msgspec.json.decode(line, type=PathSample)
                peer = site_of[sample.peer]
                found.append(PathResult(site, peer, links[site, peer], sample))
        return found


@contextmanager
def probing(
    network: EmulatedNetwork, *, count: int = 100, rate_per_s: float = 100.0, bulk: bool = True
) -> Iterator[PathProbe]:
    """Probe every path from one of its ends, `count` times at a rate, while the context lasts.

    With slow links the rate is less. Raises ChildFailed.
    """
    matrix = network.matrix
    interval_s = max(1.0 / rate_per_s, _least_interval_s(matrix))
    grace_s = _GRACE_S + max(link.rtt_s for _, _, link in matrix.links)
    with ExitStack() as stack:
        children = {}
        for site in matrix.sites:
            peers = tuple(
                (network.address(other), _bulk_bytes(link) if bulk else 0)
                for one, other, link in matrix.links
                if one == site
            )
            plan = ProbePlan(peers, count, interval_s, grace_s)
            command = [sys.executable, "-m", "loadtests.links.probe"]
            command += ["--address", network.address(site)]
            command += ["--plan", msgspec.json.encode(plan).decode()]
            child = Child(f"the probe at {site}", network.command(site, command))
            children[site] = stack.enter_context(child)
        for child in children.values():
            child.expect("ready", _REPLY_LIMIT_S)
        for child in children.values():
            child.tell("go")
        yield PathProbe(network, children, count * interval_s + grace_s)


def _least_interval_s(matrix: LinkMatrix) -> float:
    rates = [link.rate_bit_per_s for _, _, link in matrix.links if link.rate_bit_per_s]
    return 8 * ECHO_BYTES / min(rates) / _MAX_PROBE_SHARE if rates else 0.0


def _bulk_bytes(link: Link) -> int:
    """A second's worth of the link; none where loss makes TCP's times a matter of chance."""
    if link.loss_ratio:
        return 0
    if not link.rate_bit_per_s:
        return BULK_BYTES
    return min(BULK_BYTES, max(_MIN_BULK_BYTES, int(link.rate_bit_per_s / 8)))


def self_test(network: EmulatedNetwork, *, count: int = 100) -> list[PathResult]:
    """Measure every path of an otherwise idle network. Raises ChildFailed."""
    with probing(network, count=count) as probe:
        return probe.results()


def main() -> int:
    """Print every path; 1 when one is out of bounds or there are no links here."""
    parser = parser_for("links.selftest", __doc__)
    parser.add_argument("matrix", type=Path, help="TOML file; its format is in links/matrix.py")
    parser.add_argument("--backend", choices=("netem", "tun"), help="default: what works")
    args = parser.parse_args()
    try:
        with emulated_network(read_matrix(args.matrix), backend=args.backend) as network:
            results = self_test(network)
            counters = network.counters()
            bad = [line for result in results for line in result.violations()]
            bad += late_violations(network, counters) + loss_violations(network, counters)
            print(f"{network.backend}, {network.scheduler}")
    except (SetupError, ChildFailed) as error:
        print(f"selftest: {error}", file=sys.stderr)
        return 1
    for result in results:
        print("  ".join(f"{key} {value}" for key, value in result.row().items()))
    print("\n".join(bad) if bad else "every path is within bounds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
