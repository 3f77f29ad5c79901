"""Open-loop load on one emulated site over emulated links, and what the clients can vouch for.

Mixed classes arrive at random over HTTP and gRPC, from client processes in a namespace of their
own. In a second run of the same arrivals the site is frozen for 100 ms every five seconds: an
honest P99 shows it. Paths are measured before and during the load.

    python -m loadtests.open_loop [--rate 80] [--seconds 30] [--profile cpu-2core]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtests.clients.plan import Plan, asks_at, dealt
from loadtests.clients.run import run_clients, summarize
from loadtests.facts import save, verdict
from loadtests.host import HostGuard
from loadtests.links.matrix import Link, LinkMatrix
from loadtests.links.network import emulated_network
from loadtests.links.selftest import probing, self_test
from loadtests.local_site import running_site

if TYPE_CHECKING:
    from loadtests.clients.plan import Ask, Protocol, TurnClassName
    from loadtests.links.network import EmulatedNetwork
    from loadtests.links.selftest import PathResult
    from loadtests.local_site import SiteProcess

SEED = 5
STALL_S = 0.1
STALL_EVERY_S = 5.0
"""So that 2 % of the time, and more than 1 % of the requests, meet a stall."""
PROBES_PER_S = 5.0
MIX: tuple[tuple[TurnClassName, float, float | None], ...] = (
    ("voice", 0.5, 0.5),
    ("agent", 0.4, 2.0),
    ("batch", 0.1, None),
)
"""Class, share of the rate, budget in seconds."""
SAID = ("hello", "good morning", "thank you very much", "what can you do for me")
MAX_TOKENS = 12
MATRIX = LinkMatrix.of(("client", "edge"), {}, Link(0.010, 0.0005, 0.0, 500e6))


def mixed(rate_hz: float, seconds: float) -> list[Ask]:
    """Poisson arrivals of every class."""
    rng = random.Random(SEED)
    asks: list[Ask] = []
    for turn_class, share, budget_s in MIX:
        instants, at_s = [], 0.0
        while (at_s := at_s + rng.expovariate(rate_hz * share)) < seconds:
            instants.append(at_s)
        asks += asks_at(
            instants,
            SAID,
            rng,
            turn_class=turn_class,
            max_tokens=MAX_TOKENS,
            budget_s=budget_s,
        )
    return sorted(asks, key=lambda ask: ask.due_s)


def plans_for(asks: list[Ask], host: str, site: SiteProcess) -> list[Plan]:
    """Half of the requests over each protocol."""
    protocols: tuple[Protocol, ...] = ("http", "grpc")
    ports = (site.port_base, site.port_base + 1)
    return [
        Plan(protocol, (f"{host}:{port}",), part)
        for protocol, port, part in zip(protocols, ports, dealt(asks, 2), strict=True)
    ]


def freeze(site: SiteProcess, done: threading.Event) -> None:
    """Stop the site for STALL_S, again and again until `done`."""
    while not done.wait(STALL_EVERY_S):
        os.kill(site.process.pid, signal.SIGSTOP)
        time.sleep(STALL_S)
        os.kill(site.process.pid, signal.SIGCONT)


def measure(
    site: SiteProcess, asks: list[Ask], host: str, network: EmulatedNetwork
) -> dict[str, Any]:
    """One run as it is, and one with the stall."""
    figures: dict[str, Any] = {}
    at_client = lambda _, command: network.command("client", command)  # noqa: E731
    # The loop of a site that is made to stall is late because of that.
    watched = {"steady": {"site": lambda: read_within(network, f"{site.admin}/metrics")}}
    for name in ("steady", "stalled"):
        guard = HostGuard(sites=watched.get(name), forwarder=network.counters)
        done = threading.Event()
        stalling = threading.Thread(target=freeze, args=(site, done))
        if name == "stalled":
            stalling.start()
        try:
            with tempfile.TemporaryDirectory() as folder:
                plans = plans_for(asks, host, site)
                samples = run_clients(plans, Path(folder), command=at_client)
        finally:
            done.set()
        if name == "stalled":
            stalling.join()
        guard.stop()
        figures[name] = summarize(samples, SEED) | {"host": guard.row()}
        figures[name]["invalid_because"] += guard.faults()
    return figures


def read_within(network: EmulatedNetwork, url: str) -> str:
    """A document that only the site itself can fetch."""
    fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    command = network.command("edge", [sys.executable, "-c", fetch, url])
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def over_links(profile: str, asks: list[Ask]) -> dict[str, Any]:
    """With the site and the clients in namespaces of their own."""
    host = MATRIX.address("edge")
    with ExitStack() as stack:
        network = stack.enter_context(emulated_network(MATRIX))
        before = self_test(network)
        site = stack.enter_context(
            running_site(
                Path(stack.enter_context(tempfile.TemporaryDirectory())),
                *("--accelerator", f"emulated:{profile}"),
                within=lambda command: network.command("edge", command),
                FIRSTHOP_HTTP_HOST=host,
                FIRSTHOP_GRPC_HOST=host,
            )
        )
        count = int(PROBES_PER_S * 2 * asks[-1].due_s)
        with probing(network, count=count, rate_per_s=PROBES_PER_S, bulk=False) as under_load:
            figures = measure(site, asks, host, network)
            during = under_load.results()
        bad = [line for result in [*before, *during] for line in result.violations()]
        return figures | {"network": _network(network, before, during), "invalid_because": bad}


def _network(
    network: EmulatedNetwork, before: list[PathResult], during: list[PathResult]
) -> dict[str, Any]:
    return {
        "backend": network.backend,
        "scheduler": network.scheduler,
        "before": [result.row() for result in before],
        "during": [result.row() for result in during],
    }


def main() -> None:
    """Run it and save the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=80.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each of the two runs")
    parser.add_argument("--profile", default="cpu-2core", help="of the emulated accelerator")
    args = parser.parse_args()
    figures = over_links(args.profile, mixed(args.rate, args.seconds))
    steady, stalled = figures["steady"], figures["stalled"]
    bad: list[str] = figures.pop("invalid_because")
    for name, figure in (("steady", steady), ("stalled", stalled)):
        del figure["valid"]
        bad += [f"{name}: {reason}" for reason in figure.pop("invalid_because")]
    save(
        "open_loop",
        SEED,
        {
            "command": f"python -m loadtests.open_loop --rate {args.rate:g} "
            f"--seconds {args.seconds:g} --profile {args.profile}",
            "rate_per_s": args.rate,
            "backend": f"emulated:{args.profile}",
            **figures,
            "stall_ms": STALL_S * 1e3,
            "stall_shows": stalled["ttft_ms"]["p99"]
            >= STALL_S * 1e3 / 2 + steady["ttft_ms"]["p50"],
            **verdict(bad),
        },
    )


if __name__ == "__main__":
    main()
