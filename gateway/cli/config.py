"""`firsthop config`: check a file, show what is in force, print the reference page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.action import add_action
from gateway.cli.named_files import check_named
from gateway.cli.up import local_site
from gateway.config.load import load_site
from gateway.config.reference import effective_json, render_effective, render_reference

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers

_EPILOG = """\
examples:
  firsthop config check site.toml
  firsthop config show --config site.toml
  FIRSTHOP_MODEL_NUM_SLOTS=4 firsthop config show --json
  firsthop config reference > docs/configuration.md
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `config` with its actions."""
    parser = subparsers.add_parser(
        "config",
        description="Check, show or document the configuration of a site.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    check = add_action(
        actions, "check", "validate a file and what it names", "firsthop config check site.toml"
    )
    check.add_argument("file", type=Path, help="the site's TOML file")
    check.set_defaults(run=run_check)

    show = add_action(
        actions,
        "show",
        "print the effective values and their origins",
        "firsthop config show --config site.toml",
        "firsthop config show --up",
        "FIRSTHOP_MODEL_NUM_SLOTS=4 firsthop config show --json",
    )
    of = show.add_mutually_exclusive_group()
    of.add_argument("--config", type=Path, metavar="FILE", help="the site's TOML file")
    of.add_argument("--up", action="store_true", help="what `firsthop up` starts with")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=run_show)

    reference = add_action(
        actions,
        "reference",
        "print docs/configuration.md",
        "firsthop config reference > docs/configuration.md",
    )
    reference.set_defaults(run=run_reference)


def run_check(args: argparse.Namespace) -> int:
    """Load the file as `serve` would, and look whether the files it names can be used."""
    loaded = load_site(args.file)
    check_named(loaded, verify=True)
    print(f"{args.file}: ok, site {loaded.site.site.id}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print the effective configuration."""
    loaded = local_site() if args.up else load_site(args.config)
    print(effective_json(loaded) if args.json else render_effective(loaded))
    return 0


def run_reference(args: argparse.Namespace) -> int:
    """Print the reference page."""
    print(render_reference(), end="")
    return 0
