"""Serves the pages: a fixed set of files, read once, under a content policy that allows no others.

Whatever they show comes from the site's own ports. They hold no secrets, so they ask for no key.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from starlette.requests import Request

_PAGES: Final = {"/": "console.html", "/talk": "talk.html"}
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "connect-src "
)
_ASKS_OTHER_SITES: Final = "talk.html"
"""Its call goes on at another site when this one is gone."""
_HEADERS: Final = {
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


class _File:
    """A file as it is sent, and as its browser may have it already."""

    def __init__(self, source: Traversable) -> None:
        self._body = source.read_bytes()
        self._type = _TYPES["." + source.name.rpartition(".")[2]]
        self._tag = f'"{hashlib.sha256(self._body).hexdigest()[:16]}"'
        self._policy = _POLICY + ("*" if source.name == _ASKS_OTHER_SITES else "'self'")

    async def answer(self, request: Request) -> Response:
        """The file, or that nothing has changed."""
        headers = {**_HEADERS, "content-security-policy": self._policy, "etag": self._tag}
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(self._body, headers=headers, media_type=self._type)


def page_routes(*paths: str) -> list[Route]:
    """The pages at these paths, and what they load under `/static/`."""
    static = {one.name: _File(one) for one in files(__package__).joinpath("static").iterdir()}
    return [
        *(Route(path, static[_PAGES[path]].answer) for path in paths),
        *(Route(f"/static/{name}", file.answer) for name, file in static.items()),
    ]
