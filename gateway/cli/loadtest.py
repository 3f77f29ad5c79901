"""`firsthop loadtest`: a load-test scenario with real site processes on emulated links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.load_tests import handed_on, run_load_test, scenario_parser

if TYPE_CHECKING:
    import argparse

    from gateway.cli.main import Subparsers

_EPILOG = """\
Starts the sites of every arm as processes in network namespaces, sends them the same requests, and
does the scenario's faults to them. DIR has summary.json, requests.jsonl.zst and report.html; beside
each arm stands what `firsthop simulate` says of it. Needs root. Ctrl-C keeps what there is.

examples:
  sudo firsthop loadtest loadtests/scenarios/burst.toml --out out
  sudo firsthop loadtest loadtests/scenarios/site-failure.toml --passes 1
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `loadtest`."""
    parser = scenario_parser(
        subparsers, "loadtest", "Run a load-test scenario with real sites.", _EPILOG
    )
    parser.add_argument(
        "--passes", type=int, metavar="N", help="of every arm, there and back again (default: 2)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run it; the program's exit code."""
    return run_load_test("live", handed_on(args, "passes"))
