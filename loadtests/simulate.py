"""Run a scenario's arms in virtual time, with the gateway's own decision code, and write a report.

    firsthop simulate loadtests/scenarios/burst.toml --out out/

Leaves summary.json, requests.jsonl.zst and report.html in DIR. The same file and seed give the
same figures on any machine. Beside the run itself it searches the highest load that each arm
sustains, on so many seeds as `--seeds` says.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gateway.core.errors import ConfigError
from loadtests.command_line import BUILD, at_least, parser_for
from loadtests.comparison.capacity import sustainable
from loadtests.comparison.measured import Measured
from loadtests.comparison.run import SIMULATED, Run
from loadtests.progress_line import ProgressLine
from loadtests.sim.arms import ARMS, Place
from loadtests.sim.bound import pooled_bound
from loadtests.sim.prepared import Prepared
from loadtests.sim.scenario import load_scenario
from loadtests.sim.ways import drawn_ways

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from loadtests.sim.links import Link
    from loadtests.sim.scenario import Scenario

_NUM_DRAWN = 20_000
_ARMS_OF_SEARCH = ("pool", "central", "central_regional", "grid", "grid_forwarding")


def run(
    name: str, scenario: Scenario, *, num_seeds: int, with_spare: bool, line: ProgressLine
) -> Run:
    """Every arm of the scenario, and the search. Ctrl-C leaves what there is, marked partial."""
    began_s = time.perf_counter()
    made = Run(name, scenario, SIMULATED, network=_network(scenario))
    try:
        line.show("drawing requests")
        prepared = Prepared(scenario)
        for arm in scenario.arms:
            line.show(arm)
            made.arms[arm] = Measured.of(prepared.run(arm), scenario.duration_s)
        line.show("pooled bound")
        made.more["pooled_bound"] = _bound(prepared)
        _search(made, num_seeds, with_spare=with_spare, line=line)
    except KeyboardInterrupt:
        made.is_partial = True
    finally:
        line.clear()
    made.more["wall_s"] = round(time.perf_counter() - began_s, 1)
    return made


def _search(made: Run, num_seeds: int, *, with_spare: bool, line: ProgressLine) -> None:
    """What was asked for, or `not_searched`: why a trace is too short for it."""
    names = ("sustainable", "sustainable_with_one_lost") if with_spare else ("sustainable",)
    for name in names if num_seeds else ():
        try:
            made.more[name] = sustainable(
                made.scenario,
                _searched(made.scenario),
                num_seeds=num_seeds,
                site_lost=name != "sustainable",
                done=line.show,
            )
        except ConfigError as error:
            made.more["not_searched"] = str(error)
            return


def _searched(scenario: Scenario) -> tuple[str, ...]:
    return tuple(arm for arm in _ARMS_OF_SEARCH if arm == "pool" or arm in scenario.arms)


def _bound(prepared: Prepared) -> dict[str, Any]:
    bound = pooled_bound(
        prepared.workload, prepared.sites, prepared.scenario.faults, until_s=prepared.until_s
    )
    count = bound.num_requests
    return {"attained": round(bound.num_attained / count, 6) if count else None}


def _network(scenario: Scenario) -> dict[str, Any]:
    """The paths as they are drawn, in the shape of a live run's self-test."""
    prepared_path = Prepared(msgspec.structs.replace(scenario, duration_s=1e-3)).path
    central = [
        (place.value, prepared_path(place))
        for place in (Place.CENTRAL, Place.REGIONAL)
        if any(ARMS[arm].place is place for arm in scenario.arms)
    ]
    paths = [("site", prepared_path(Place.SITES)), *central]
    return {
        "backend": "simulated: seeded draws of delay, jitter and loss",
        "paths": [_path("client", to, links) for to, links in paths]
        + [_path("site", "nearest site", [scenario.network.nearest])],
    }


def _path(from_: str, to: str, links: Sequence[Link]) -> dict[str, Any]:
    there_s, back_s = drawn_ways(_NUM_DRAWN, links, seed=0)
    p50_ms, p99_ms = (float(q) for q in np.percentile(1e3 * (there_s + back_s), (50, 99)))
    return {
        "from": from_,
        "to": to,
        "nominal_rtt_ms": round(2e3 * sum(link.delay_s for link in links), 3),
        "p50_ms": round(p50_ms, 3),
        "p99_ms": round(p99_ms, 3),
    }


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("simulate", __doc__)
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.toml")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: build/simulate/NAME")
    parser.add_argument("--seed", type=at_least(0), help="instead of the scenario's")
    parser.add_argument(
        "--seeds",
        type=at_least(0),
        default=3,
        metavar="N",
        help="of the search for the highest load; 0: no search (default: %(default)s)",
    )
    parser.add_argument(
        "--spare", action="store_true", help="search also with one accelerator dead (N-1)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with one line that says what is wrong."""
    options = _parser().parse_args(argv)
    out: Path = options.out or BUILD / "simulate" / options.scenario.stem
    try:
        scenario = load_scenario(options.scenario)
        if options.seed is not None:
            scenario = msgspec.structs.replace(scenario, seed=options.seed)
        out.mkdir(parents=True, exist_ok=True)  # before anything is computed that is not kept
        made = run(
            options.scenario.stem,
            scenario,
            num_seeds=options.seeds,
            with_spare=options.spare,
            line=ProgressLine(),
        )
        summary = made.save(out)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(msgspec.json.encode(summary).decode())
    else:
        print_arms(summary)
        print(f"report: {out / 'report.html'}")
    return 1 if made.is_partial else 0


def print_arms(summary: dict[str, Any]) -> None:
    """A line per arm, and one per sustained load."""
    print(f"{'arm':20} attained   P50 ms   P99 ms    shed  goodput tok/s  $/Mtok  forwarded")
    for name, arm in summary["arms"].items():
        ttft, usd = arm["ttft_ms"], arm["usd_per_mtok"]
        print(
            f"{name:20} {100 * (arm['attained'] or 0.0):7.2f}% {ttft['p50'] or 0:8.1f} "
            f"{ttft['p99'] or 0:8.1f} {arm['shed']:7} {arm['goodput_tok_per_s']:14.1f} "
            f"{'-' if usd is None else f'{usd:.2f}':>7} {100 * (arm['forward_ratio'] or 0.0):9.1f}%"
        )
    for name, found in summary.get("sustainable", {}).get("arms", {}).items():
        bounds = found["rate_hz_ci95"]
        interval = f" ({bounds[0]:.1f} to {bounds[1]:.1f})" if bounds else ""
        print(f"sustains {name:20} {found['rate_hz']:8.1f} / s{interval}")
    if "not_searched" in summary:
        print(f"no search for the highest load: {summary['not_searched']}")


if __name__ == "__main__":
    sys.exit(main())
