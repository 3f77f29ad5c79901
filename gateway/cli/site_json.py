"""Documents of a site's admin port, for commands that show them."""

from __future__ import annotations

import argparse
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import msgspec

from gateway.core.errors import SetupError

DEFAULT_SITE: Final = "http://127.0.0.1:8083"
PORT_HINT: Final = "a local site's admin port is its HTTP port + 3"
_TIMEOUT_S: Final = 5.0


def add_site_option(parser: argparse.ArgumentParser) -> None:
    """Add `--site`."""
    parser.add_argument(
        "--site",
        metavar="URL",
        type=_site_url,
        default=DEFAULT_SITE,
        help="the site's admin port (default: %(default)s)",
    )


def fetch(site: str, path: str) -> bytes:
    """The JSON at `path` of a site's admin port. Raises SetupError, and Refused if it says no."""
    # An admin port is on the operator's own network: the environment's proxy does not reach it.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"{site}{path}", timeout=_TIMEOUT_S) as response:
            body: bytes = response.read()
            return body
    except HTTPError as error:
        with error:
            raise _refusal(error, site) from error
    except HTTPException as error:
        raise SetupError(
            f"{site} does not answer as an HTTP server (is it the gRPC port?); {PORT_HINT}"
        ) from error
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise SetupError(
            f"no site answers at {site} ({reason}); start one with `firsthop up` or name its "
            "admin port with --site"
        ) from error


class Refused(SetupError):
    """The site answered with an error: `cause` in words, and its code, or ""."""

    def __init__(self, message: str, *, cause: str = "", refusal_code: str = "") -> None:
        super().__init__(message)
        self.cause = cause
        self.refusal_code = refusal_code


class _Refusal(msgspec.Struct):
    message: str
    code: str | None = None


class _RefusalBody(msgspec.Struct):
    error: _Refusal


def _refusal(error: HTTPError, site: str) -> Refused:
    try:
        refusal = msgspec.json.decode(error.read(), type=_RefusalBody).error
    except msgspec.DecodeError:
        return Refused(f"{site} answers {error.code}; {PORT_HINT}")
    return Refused(
        f"{site} answers {error.code}: {refusal.message}",
        cause=refusal.message,
        refusal_code=refusal.code or "",
    )


def _site_url(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise argparse.ArgumentTypeError(f"{given!r} is not like {DEFAULT_SITE}")
    return given.rstrip("/")
