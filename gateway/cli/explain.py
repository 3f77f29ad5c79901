"""`firsthop explain`: one turn's path, stages, decisions and alternatives."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from gateway.cli.ink import ink_for
from gateway.cli.site_json import PORT_HINT, Refused, add_site_option, fetch
from gateway.cli.waterfall import draw
from gateway.core.errors import SetupError
from gateway.edge.turn_view import TurnView

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers

_DEFAULT_NUM_COLUMNS = 100
_EPILOG = """\
The site keeps its turns for some days (telemetry.records_days). A turn's id is in its
x-request-id response header; GET /v1/requests on the admin port lists turns, also by
?session=, ?user=&tenant=, ?since= and ?until=.

examples:
  firsthop explain 0d4c7e9ab1f24b83a6f3cf7a5f9d1e22
  firsthop explain my-id --site http://edge-b.internal:8083
  firsthop explain my-id --json
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "explain",
        help="show where one turn's time went",
        description="Show one turn's path, stages, decisions and alternatives.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("request_id", metavar="REQUEST_ID", help="the turn's x-request-id")
    add_site_option(parser)
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch the record and print it. Raises SetupError."""
    try:
        body = fetch(args.site, f"/v1/requests/{quote(args.request_id, safe='')}")
    except Refused as refused:
        if refused.refusal_code != "request_not_found":
            raise
        raise SetupError(
            f"{refused.cause}; GET /v1/requests on its admin port lists those it has ({PORT_HINT})"
        ) from refused
    try:
        turn = msgspec.json.decode(body, type=TurnView)
    except msgspec.DecodeError as error:
        raise SetupError(f"{args.site} is no firsthop admin port ({error}); {PORT_HINT}") from error
    if args.json:
        print(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    else:
        num_columns = shutil.get_terminal_size((_DEFAULT_NUM_COLUMNS, 24)).columns
        print(draw(turn, num_columns=num_columns, ink=ink_for(sys.stdout)), end="")
    return 0
