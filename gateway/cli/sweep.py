"""`firsthop sweep`: where a grid wins and where a pool does, over distance, load and bursts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.load_tests import handed_on, run_load_test, scenario_parser

if TYPE_CHECKING:
    import argparse

    from gateway.cli.main import Subparsers

_EPILOG = """\
Every cell is a round trip to the pool, a load, a skew and a burst; all arms of a cell see the same
requests. DIR has summary.json and report.html, whose map shows the cells that the pool wins as
plainly as the others. They are written as they become known, so that a sweep that was ended goes on
with --resume.

examples:
  firsthop sweep loadtests/scenarios/baseline.toml --out out
  firsthop sweep loadtests/scenarios/voice-burst.toml --seeds 5 --resume
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `sweep`."""
    parser = scenario_parser(
        subparsers, "sweep", "Map where the grid wins and where a central pool does.", _EPILOG
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="runs of every cell (default: 3)")
    parser.add_argument("--short", action="store_true", help="a coarse map in a few minutes")
    parser.add_argument("--resume", action="store_true", help="go on with what DIR has")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run it; the program's exit code."""
    return run_load_test("sweep", handed_on(args, "seeds", "short", "resume"))
