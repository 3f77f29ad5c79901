"""Keeps a site without keys to the machine it runs on.

It listens on loopback only, but a browser on this machine carries any web page's requests there:
under the page's own host name, once that name resolves to 127.0.0.1 (DNS rebinding), or with the
page's origin.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.config.checks import is_loopback
from gateway.core.errors import HostNotAllowed

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_this_machine(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises HostNotAllowed for a Host or an Origin that is not a loopback name or address.

    Clients that are no browsers may send neither.
    """
    for name, value in headers:
        if name == b"host":
            _check("host", value.decode("latin-1"), prefix="//")
        elif name == b"origin":
            _check("origin", value.decode("latin-1"), prefix="")


def _check(header: str, given: str, *, prefix: str) -> None:
    if not _names_this_machine(prefix + given):
        raise HostNotAllowed(header, given)


@lru_cache(64)  # a client says the same each time
def _names_this_machine(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
