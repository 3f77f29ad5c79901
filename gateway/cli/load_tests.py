"""Runs a program of `loadtests`, which belongs to the repository and not to an installed wheel.

The gateway never imports it: whatever measures a thing is outside of it. The program runs as a
child that has the terminal, its Ctrl-C included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gateway
from gateway.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.main import Subparsers

ROOT = Path(gateway.__file__).resolve().parents[1]


def run_load_test(program: str, arguments: Sequence[str]) -> int:
    """`python -m loadtests.PROGRAM`; its exit code. Raises SetupError without the repository."""
    if not (ROOT / "loadtests").is_dir():
        raise SetupError(
            "the load tests are not part of the installed package; run them from a clone of the "
            "repository (make setup, then .venv/bin/firsthop)"
        )
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", f"loadtests.{program}", *arguments]
    child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue  # the terminal has told the child too, which ends in its own time


def scenario_parser(
    subparsers: Subparsers[argparse.ArgumentParser], name: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    """A parser with what every such command takes: SCENARIO.toml, --out, --seed, --json."""
    parser = subparsers.add_parser(
        name,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.toml")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"default: build/{name}/ and the scenario's name"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the scenario's")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def handed_on(args: argparse.Namespace, *options: str) -> list[str]:
    """The command line again: the scenario, and these options where they were given."""
    words = [str(args.scenario)]
    for option in ("out", "seed", "json", *options):
        value = getattr(args, option)
        if value is True:
            words.append(f"--{option}")
        elif value is not None and value is not False:
            words += [f"--{option}", str(value)]
    return words
