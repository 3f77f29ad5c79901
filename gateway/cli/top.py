"""`firsthop top`: the grid as one site sees it, live in a terminal."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.grid_table import SiteState, draw_grid
from gateway.cli.ink import Ink, ink_for
from gateway.cli.site_json import PORT_HINT, add_site_option, fetch
from gateway.core.errors import SetupError
from gateway.edge.grid_view import GridView

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers

_EPILOG = """\
Attainment and latency are of the turns of each site's own callers in the last minute; the burn
rate says how many times faster than its objective allows they miss their budget. Every site's
figures are as old as its line says. Ctrl-C ends it.

examples:
  firsthop top
  firsthop top --site http://edge-b.internal:8083 --interval 5
  firsthop top --once --json
"""
_HOME, _END_OF_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K\n", "\x1b[J"
_CLEAR_ALL = "\x1b[2J"


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "top",
        help="show the live grid",
        description="Show the grid as one site sees it, anew every second.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_site_option(parser)
    parser.add_argument("--once", action="store_true", help="print it once, as without a terminal")
    parser.add_argument("--json", action="store_true", help="print the site's answer as JSON, once")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval_s,
        default=1.0,
        help="how often it is asked (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the grid until interrupted, or once. Raises SetupError."""
    if args.json:
        print(json.dumps(json.loads(fetch(args.site, "/v1/grid")), indent=2, ensure_ascii=False))
        return 0
    ink, lines = ink_for(sys.stdout), _lines(args.site, ink_for(sys.stdout))
    if args.once or not sys.stdout.isatty():
        print("\n".join(lines))
        return 0
    print(_CLEAR_ALL, end="")
    try:
        while True:
            print(_screen(lines), end="", flush=True)
            time.sleep(args.interval)
            try:
                lines = _lines(args.site, ink)
            except SetupError as error:
                lines = [ink.bad(str(error)), *lines[1:]]
    except KeyboardInterrupt:  # how it ends
        print()
        return 0


def _lines(site: str, ink: Ink) -> list[str]:
    try:
        grid = msgspec.json.decode(fetch(site, "/v1/grid"), type=GridView)
        own = msgspec.json.decode(fetch(site, "/v1/site"), type=SiteState)
    except msgspec.DecodeError as error:
        raise SetupError(
            f"{site} is no firsthop admin port of this version ({error}); {PORT_HINT}"
        ) from error
    return draw_grid(grid, own, ink)


def _screen(lines: list[str]) -> str:
    """The lines that fit the terminal, over those that were there before."""
    num_rows = max(2, shutil.get_terminal_size((100, 24)).lines - 1)
    if len(lines) > num_rows:
        lines = [*lines[: num_rows - 1], f"and {len(lines) - num_rows + 1} more"]
    return _HOME + "".join(line + _END_OF_LINE for line in lines) + _CLEAR_BELOW


def _interval_s(given: str) -> float:
    try:
        interval_s = float(given)
    except ValueError:
        interval_s = 0.0
    if not 0.1 <= interval_s <= 3600.0:
        raise argparse.ArgumentTypeError(f"{given!r} is no number of seconds from 0.1 to 3600")
    return interval_s
