"""`firsthop config`: check a file, show what is in force, print the reference page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.action import add_action
from gateway.config.keys_file import read_keys
from gateway.config.load import load_site
from gateway.config.reference import effective_json, render_effective, render_reference
from gateway.core.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers
    from gateway.config.load import LoadedConfig

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
        "FIRSTHOP_MODEL_NUM_SLOTS=4 firsthop config show --json",
    )
    show.add_argument("--config", type=Path, metavar="FILE", help="the site's TOML file")
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
    _check_files(loaded)
    print(f"{args.file}: ok, site {loaded.site.site.id}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print the effective configuration."""
    loaded = load_site(args.config)
    print(effective_json(loaded) if args.json else render_effective(loaded))
    return 0


def run_reference(args: argparse.Namespace) -> int:
    """Print the reference page."""
    print(render_reference(), end="")
    return 0


def _check_files(loaded: LoadedConfig) -> None:
    """Raises ConfigError when a file the configuration names is absent or unusable."""
    site, origins = loaded.site, loaded.origins
    for dotted, name in (("tls.cert", site.tls.cert), ("tls.key", site.tls.key)):
        if name and not Path(name).is_file():
            raise ConfigError(f"{origins[dotted]}: {dotted}: there is no file {name}")
    for server in (site.upstream, site.core):
        server.key()
    if not site.upstream.url and not site.model.path.is_dir():
        raise ConfigError(
            f"{origins['model.directory']}: model.directory: there is no directory "
            f"{site.model.path}"
        )
    if site.auth.keys_file:
        read_keys(Path(site.auth.keys_file))
