"""`firsthop explain`: one turn's path, stages, decisions and alternatives."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from http.client import HTTPException
from typing import TYPE_CHECKING, TextIO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, build_opener

import msgspec

from gateway.cli.waterfall import ASCII, Ink, draw
from gateway.core.errors import SetupError
from gateway.edge.turn_view import TurnView

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers

DEFAULT_SITE = "http://127.0.0.1:8083"
TIMEOUT_S = 5.0
_DEFAULT_NUM_COLUMNS = 100
_PORT_HINT = "a local site's admin port is its HTTP port + 3"

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
    parser.add_argument(
        "--site",
        metavar="URL",
        type=_site_url,
        default=DEFAULT_SITE,
        help="the site's admin port (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch the record and print it. Raises SetupError."""
    body = fetch(args.site, args.request_id)
    try:
        turn = msgspec.json.decode(body, type=TurnView)
    except msgspec.DecodeError as error:
        raise SetupError(
            f"{args.site} is no firsthop admin port ({error}); {_PORT_HINT}"
        ) from error
    if args.json:
        print(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    else:
        num_columns = shutil.get_terminal_size((_DEFAULT_NUM_COLUMNS, 24)).columns
        print(draw(turn, num_columns=num_columns, ink=ink_for(sys.stdout)), end="")
    return 0


def fetch(site: str, request_id: str) -> bytes:
    """The JSON of `/v1/requests/{id}` of a site. Raises SetupError."""
    url = f"{site}/v1/requests/{quote(request_id, safe='')}"
    # An admin port is on the operator's own network: the environment's proxy does not reach it.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            body: bytes = response.read()
            return body
    except HTTPError as error:
        with error:
            raise SetupError(_refusal(error, site)) from error
    except HTTPException as error:
        raise SetupError(
            f"{site} does not answer as an HTTP server (is it the gRPC port?); {_PORT_HINT}"
        ) from error
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise SetupError(
            f"no site answers at {site} ({reason}); start one with `firsthop up` or name its "
            "admin port with --site"
        ) from error


def ink_for(output: TextIO) -> Ink:
    """Colours on a terminal unless NO_COLOR is set (https://no-color.org), blocks where they
    can be encoded."""
    ink = Ink()
    try:
        f"{ink.bar}{ink.budget}{ink.pointer}".encode(output.encoding or "ascii")
    except UnicodeEncodeError:
        ink = ASCII
    return ink._replace(coloured=output.isatty() and not os.environ.get("NO_COLOR"))


class _Refusal(msgspec.Struct):
    message: str
    code: str | None = None


class _RefusalBody(msgspec.Struct):
    error: _Refusal


def _refusal(error: HTTPError, site: str) -> str:
    try:
        refusal = msgspec.json.decode(error.read(), type=_RefusalBody).error
    except msgspec.DecodeError:
        return f"{site} answers {error.code}; {_PORT_HINT}"
    if refusal.code == "request_not_found":
        return (
            f"{refusal.message}; GET /v1/requests on its admin port lists those it has "
            f"({_PORT_HINT})"
        )
    return f"{site} answers {error.code}: {refusal.message}"


def _site_url(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise argparse.ArgumentTypeError(f"{given!r} is not like {DEFAULT_SITE}")
    return given.rstrip("/")
