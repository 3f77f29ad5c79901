"""`firsthop simulate`: a load-test scenario in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.load_tests import handed_on, run_load_test, scenario_parser

if TYPE_CHECKING:
    import argparse

    from gateway.cli.main import Subparsers

_EPILOG = """\
Runs the gateway's own decisions over modelled accelerators and links: a pool far away, a pool
nearer, and a grid with and without forwarding, on the same requests. DIR has summary.json,
requests.jsonl.zst and report.html.

examples:
  firsthop simulate loadtests/scenarios/burst.toml --out out
  firsthop simulate loadtests/scenarios/burst-skewed.toml --seeds 0
  firsthop simulate loadtests/scenarios/voice-burst.toml --seeds 5 --spare --json
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `simulate`."""
    parser = scenario_parser(
        subparsers, "simulate", "Run a load-test scenario in virtual time.", _EPILOG
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="of the search for the highest load that each arm sustains; 0: no search (default: 3)",
    )
    parser.add_argument(
        "--spare", action="store_true", help="search also with one accelerator dead"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run it; the program's exit code."""
    return run_load_test("simulate", handed_on(args, "seeds", "spare"))
