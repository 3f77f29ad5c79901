"""`firsthop serve`: one site from its configuration file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.named_files import check_named
from gateway.config.load import load_site

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers
    from gateway.config.site import SiteConfig

_EPILOG = """\
examples:
  firsthop serve --config site.toml
  FIRSTHOP_TELEMETRY_LOG_FORMAT=json firsthop serve --config site.toml

SIGTERM or Ctrl-C drains and ends, a second Ctrl-C cuts running turns off; SIGHUP reads the keys
file again. Configuration: docs/configuration.md.
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `serve`."""
    parser = subparsers.add_parser(
        "serve",
        description="Run one site until SIGTERM or Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve; 0 after an orderly end."""
    loaded = load_site(args.config)
    check_named(loaded, verify=False)
    # The site's libraries take most of a second to load; a wrong configuration needs none of them.
    from gateway.app import run_site

    run_site(loaded.site, announce=_announce)
    return 0


def _announce(site: SiteConfig) -> None:
    """One line on stderr, where the log goes."""
    print(
        f"site {site.site.id} is ready: HTTP {site.http.host}:{site.http.port}, "
        f"gRPC {site.grpc.host}:{site.grpc.port}, admin {site.admin.host}:{site.admin.port}",
        file=sys.stderr,
        flush=True,
    )
