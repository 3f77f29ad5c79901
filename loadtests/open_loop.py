"""Open-loop load on one emulated site over emulated links, and what the clients can vouch for.

Mixed classes arrive over HTTP and gRPC, from client processes in a namespace of their own; beside
them, voice calls go over the same links to an echo at the site's. In a second run of the same
arrivals the site is frozen for 100 ms every two seconds: an honest P99 shows it. Paths are measured
before the load, during it and after it.

    python -m loadtests.open_loop [--rate 80] [--seconds 30] [--calls 60] [--profile rtx-pro-6000]
                                  [--arrivals poisson|gamma:CV|mmpp|trace:FORMAT:FILE] [--out DIR]

Exits with 1 when the runs do not count, or miss 80 requests/s and 3,000 frames/s.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.core.errors import GatewayError
from gateway.engine.step_profiles import load_profile
from loadtests.arrival_choice import ArrivalChoice
from loadtests.calls import NUM_CALLS, delays_s, echo, missed_by, plan_calls, summarize_calls
from loadtests.child import ChildFailed
from loadtests.clients.plan import Ask, Plan, dealt
from loadtests.clients.run import run_clients, summarize
from loadtests.command_line import add_out, at_least, parser_for, positive
from loadtests.facts import conclude, verdict
from loadtests.host import HostGuard
from loadtests.links import namespaces
from loadtests.links.matrix import Link, LinkMatrix
from loadtests.links.network import emulated_network
from loadtests.links.selftest import loss_violations, probing, self_test
from loadtests.local_site import SiteFailed, running_site

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from loadtests.clients.plan import Protocol, TurnClassName
    from loadtests.clients.voice import VoicePlan
    from loadtests.links.network import EmulatedNetwork
    from loadtests.links.selftest import PathResult
    from loadtests.local_site import SiteProcess

SEED = 5
TARGET_RATE_PER_S = 80.0
STALL_S = 0.1
STALL_EVERY_S = 2.0
"""So that almost 5 % of the requests meet a stall, and 1 % wait for most of it."""
SHOWN_RATIOS = 0.5, 3.0
"""Of the stall, what the P99 may grow by: waits have queues behind them."""
PROBES_PER_S = 5.0
MIX: tuple[tuple[TurnClassName, float, float | None], ...] = (
    ("voice", 0.5, 0.5),
    ("agent", 0.4, 2.0),
    ("batch", 0.1, None),
)
"""Class, share of the rate, budget in seconds."""
SAID = ("hello", "good morning", "thank you very much", "what can you do for me")
MAX_TOKENS = 8
"""A load that the default profile carries with room: what is tried are the clients."""
MATRIX = LinkMatrix.of(("client", "edge"), {}, Link(0.010, 0.0005, 0.0, 500e6))


@dataclass(slots=True)
class Freezer:
    """Stops a process for STALL_S, again and again."""

    pid: int
    stalls_s: list[float] = field(default_factory=list)
    """How long each stop was."""

    def run(self, done: threading.Event) -> None:
        """Until `done`."""
        while not done.wait(STALL_EVERY_S):
            began_s = time.monotonic()
            os.kill(self.pid, signal.SIGSTOP)
            time.sleep(STALL_S)
            os.kill(self.pid, signal.SIGCONT)
            self.stalls_s.append(time.monotonic() - began_s)


def mixed(arrivals: ArrivalChoice, rate_hz: float, seconds: float) -> list[Ask]:
    """Every class in its share, in the order of arrival. Raises ValueError."""
    rng = random.Random(SEED)
    shares = [share for _, share, _ in MIX]
    asks = []
    for at_s in arrivals.instants(rate_hz, seconds, SEED):
        ((turn_class, _, budget_s),) = rng.choices(MIX, shares)
        asks.append(Ask(float(at_s), rng.choice(SAID), turn_class, MAX_TOKENS, budget_s))
    return asks


def plans_for(asks: list[Ask], host: str, site: SiteProcess) -> list[Plan]:
    """Half of the requests over each protocol."""
    protocols: tuple[Protocol, ...] = ("http", "grpc")
    ports = (site.port_base, site.port_base + 1)
    return [
        Plan(protocol, (f"{host}:{port}",), part)
        for protocol, port, part in zip(protocols, ports, dealt(asks, 2), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Bench:
    """Links, a site behind them, and what is sent there."""

    network: EmulatedNetwork
    site: SiteProcess
    plans: list[Plan | VoicePlan]
    seconds: float
    out: Path

    def steady(self) -> dict[str, Any]:
        """The site as it is."""
        metrics = f"{self.site.admin}/metrics"
        sites = {"site": lambda: read_within(self.network, metrics)}
        return self._run("steady", HostGuard(sites=sites, forwarder=self.network.counters))

    def stalled(self) -> dict[str, Any]:
        """The site made to stall; that its loop is late then is no fault of the host."""
        freezer, done = Freezer(self.site.process.pid), threading.Event()
        stalling = threading.Thread(target=freezer.run, args=(done,))
        guard = HostGuard(forwarder=self.network.counters)
        try:
            figures = self._run("stalled", guard, on_start=stalling.start)
        finally:
            done.set()
            if stalling.ident is not None:
                stalling.join()
        longest_s = max(freezer.stalls_s, default=0.0)
        figures["stalls"] = {"n": len(freezer.stalls_s), "max_ms": round(longest_s * 1e3, 3)}
        return figures

    def _run(
        self, name: str, guard: HostGuard, on_start: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        def start() -> None:
            guard.start()
            on_start()

        seen = run_clients(
            self.plans,
            self.out / name,
            command=lambda _, command: self.network.command("client", command),
            on_start=start,
        )
        guard.stop()
        for who, lags_s in seen.lags_s.items():
            guard.note(f"loop of {who}", lags_s)
        figures = summarize(seen.samples, SEED)
        if seen.calls:
            guard.note("callers", delays_s(seen.calls))
            figures["calls"] = summarize_calls(seen.calls, self.seconds)
        figures["host"] = guard.row()
        figures["invalid_because"] += guard.faults()
        if figures["failed"]:
            figures["invalid_because"].append(f"{figures['failed']} requests failed")
        return figures


def stall_faults(steady: dict[str, Any], stalled: dict[str, Any]) -> list[str]:
    """What speaks against clients that time from the intended send."""
    ttft_ms = [figures["ttft_ms"] for figures in (steady, stalled)]
    if not all(ttft_ms):
        return ["nothing was answered, so no stall can show"]
    grown_ms = ttft_ms[1]["p99"] - ttft_ms[0]["p99"]
    least_ms, most_ms = (ratio * STALL_S * 1e3 for ratio in SHOWN_RATIOS)
    if least_ms <= grown_ms <= most_ms:
        return []
    return [
        f"stalls of {STALL_S * 1e3:g} ms moved the P99 by {grown_ms:.1f} ms; "
        f"{least_ms:g} to {most_ms:g} ms expected"
    ]


def read_within(network: EmulatedNetwork, url: str) -> str:
    """A document that only the site itself can fetch."""
    fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    command = network.command("edge", [sys.executable, "-c", fetch, url])
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def over_links(args: argparse.Namespace, asks: list[Ask]) -> dict[str, Any]:
    """With the site and the clients in namespaces of their own."""
    host = MATRIX.address("edge")
    with ExitStack() as stack:
        network = stack.enter_context(emulated_network(MATRIX))
        before = self_test(network)
        within_edge = lambda command: network.command("edge", command)  # noqa: E731
        site = stack.enter_context(
            running_site(
                Path(stack.enter_context(tempfile.TemporaryDirectory())),
                *("--accelerator", f"emulated:{args.profile}"),
                within=within_edge,
                FIRSTHOP_HTTP_HOST=host,
                FIRSTHOP_GRPC_HOST=host,
            )
        )
        plans: list[Plan | VoicePlan] = [*plans_for(asks, host, site)]
        if args.calls:
            port = stack.enter_context(echo(host, within_edge))
            plans.append(plan_calls(args.calls, args.seconds, host, port))
        bench = Bench(network, site, plans, args.seconds, args.out)
        count = max(1, int(PROBES_PER_S * 2 * args.seconds))
        with probing(network, count=count, rate_per_s=PROBES_PER_S, bulk=False) as under_load:
            figures = {"steady": bench.steady(), "stalled": bench.stalled()}
            during = under_load.results()
        after = self_test(network)
        paths = {"before": before, "during": during, "after": after}
        return figures | _network(network, paths)


def _network(network: EmulatedNetwork, paths: dict[str, list[PathResult]]) -> dict[str, Any]:
    bad = [
        f"{when} the load: {line}"
        for when in paths
        for result in paths[when]
        for line in result.violations()
    ]
    return {
        "network": {
            "backend": network.backend,
            "scheduler": network.scheduler,
            **{when: [result.row() for result in results] for when, results in paths.items()},
        },
        "invalid_because": bad + loss_violations(network, network.counters()),
    }


def judged(figures: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The figures with one verdict over all of them."""
    steady, stalled = figures["steady"], figures["stalled"]
    bad: list[str] = figures.pop("invalid_because") + stall_faults(steady, stalled)
    for name, figure in (("steady", steady), ("stalled", stalled)):
        del figure["valid"]
        bad += [f"{name}: {reason}" for reason in figure.pop("invalid_because")]
    missed = []
    if args.rate < TARGET_RATE_PER_S:
        missed.append(f"{args.rate:g} requests/s; {TARGET_RATE_PER_S:g} wanted")
    missed += missed_by(steady["calls"]) if args.calls else ["no calls beside the requests"]
    return figures | verdict(bad, missed=missed)


def parse(words: list[str] | None = None) -> tuple[argparse.Namespace, list[Ask]]:
    """The command line, and the requests it stands for."""
    parser = parser_for("open_loop", __doc__)
    parser.add_argument(
        "--rate", type=positive, default=TARGET_RATE_PER_S, help="requests per second"
    )
    parser.add_argument("--seconds", type=positive, default=30.0, help="of each of the two runs")
    parser.add_argument("--calls", type=at_least(0), default=NUM_CALLS, help="beside the requests")
    parser.add_argument("--profile", default="rtx-pro-6000", help="of the emulated accelerator")
    parser.add_argument("--arrivals", type=ArrivalChoice.parse, default=ArrivalChoice("poisson"))
    add_out(parser, "open_loop")
    args = parser.parse_args(words)
    try:
        load_profile(args.profile)
        asks = mixed(args.arrivals, args.rate, args.seconds)
    except (GatewayError, ValueError) as error:
        parser.error(str(error))
    if not asks:
        parser.error("no request arrives in this time")
    return args, asks


def main() -> int:
    """Run it and save the result."""
    args, asks = parse()
    try:
        namespaces.check_available()
        figures = over_links(args, asks)
    except (GatewayError, ChildFailed, SiteFailed, OSError) as error:
        print(f"open_loop: {error}", file=sys.stderr)
        return 1
    return conclude(
        "open_loop",
        SEED,
        {
            "command": f"python -m loadtests.open_loop --rate {args.rate:g} --seconds "
            f"{args.seconds:g} --calls {args.calls} --profile {args.profile} "
            f"--arrivals {args.arrivals.text}",
            "rate_per_s": args.rate,
            "backend": f"emulated:{args.profile}",
            "stall_ms": STALL_S * 1e3,
            **judged(figures, args),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
