"""HTTP/1.1 as a client needs it to post a body and read a long answer as it comes.

RFC 9112 over asyncio streams, parsed by httptools, which the site's own ports use too. Connections
are kept and used again; leaving an answer before its end closes its connection, by which the
server knows that nobody listens any more. Redirects and compressed answers are refused: an API has
no use for them, and a key must not follow one to another host.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

import httptools

from gateway.core.errors import UpstreamError, UpstreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

_CONNECT_LIMIT_S = 5.0
_MAX_HEAD_BYTES = 1 << 16
_MAX_ANSWER_BYTES = 1 << 26
"""With log-probabilities a token takes some kilobytes; no answer of a model is longer."""
_READ_BYTES = 1 << 16
_MAX_IDLE = 64


class Origin(NamedTuple):
    """Where a server is: an `http` or `https` URL taken apart."""

    host: str
    port: int
    is_tls: bool
    path: str
    """Without a slash at its end."""

    @classmethod
    def of(cls, url: str) -> Self:
        """Raises ValueError for what is no such URL, and for one with credentials in it."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http:// or https:// URL")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("credentials, query and fragment have no place in it")
        is_tls = parts.scheme == "https"
        return cls(
            parts.hostname, parts.port or (443 if is_tls else 80), is_tls, parts.path.rstrip("/")
        )

    @property
    def host_field(self) -> str:
        """The request's `host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


class _StaleConnection(Exception):
    """The server had closed a kept connection before it took the request."""


class Answer:
    """A response under way: its head, then its body piece by piece. To be closed."""

    def __init__(self, connection: _Connection, idle: deque[_Connection]) -> None:
        self.status = connection.status
        self.headers: Mapping[bytes, bytes] = connection.headers
        """Names in lower case; of a repeated one, the last."""
        self._connection = connection
        self._idle = idle

    async def read(self) -> bytes:
        """More of the body; empty at its end.

        Raises UpstreamUnavailable when the connection breaks off and UpstreamError for what is
        not HTTP.
        """
        return await self._connection.next_piece()

    def close(self) -> None:
        """Keep the connection after a whole answer, end it otherwise. Once only."""
        if self._connection.can_be_kept and len(self._idle) < _MAX_IDLE:
            self._idle.append(self._connection)
        else:
            self._connection.abort()


class HttpPoster:
    """Posts to one server, over connections that are kept.

    Errors, which reach clients, call it by `name`; only the log has its address.
    """

    def __init__(self, origin: Origin, name: str) -> None:
        self.origin = origin
        self._name = name
        self._tls = ssl.create_default_context() if origin.is_tls else None
        self._idle: deque[_Connection] = deque()

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request and wait for the head of the answer.

        Raises UpstreamUnavailable when the server is not there or breaks off, UpstreamError when
        it does not speak HTTP.
        """
        request = self._head(path, headers, len(body)) + body
        return Answer(await self._send(request), self._idle)

    def close(self) -> None:
        """Close the connections that are kept; those in use close when their answers are left."""
        while self._idle:
            self._idle.pop().abort()

    def _head(self, path: str, headers: Mapping[str, str], num_bytes: int) -> bytes:
        fields = {
            "host": self.origin.host_field,
            "content-length": str(num_bytes),
            "accept-encoding": "identity",
            **headers,
        }
        lines = [f"POST {self.origin.path}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join((*lines, "", "")).encode("latin-1")

    async def _send(self, request: bytes) -> _Connection:
        """A connection on which an answer to the request has begun."""
        while self._idle:
            kept = self._idle.pop()
            try:
                return await self._begin(kept, request)
            except _StaleConnection:
                continue
        return await self._begin(await self._connect(), request)

    async def _begin(self, connection: _Connection, request: bytes) -> _Connection:
        try:
            await connection.send(request)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connect(self) -> _Connection:
        origin = self.origin
        try:
            async with asyncio.timeout(_CONNECT_LIMIT_S):
                reader, writer = await asyncio.open_connection(
                    origin.host, origin.port, ssl=self._tls, limit=_READ_BYTES
                )
        except OSError as error:  # refused, unknown name, bad certificate, no answer in time
            _log.warning("%s takes no connection: %r", origin.host_field, error)
            raise UpstreamUnavailable(f"{self._name} takes no connection") from error
        return _Connection(reader, writer, self._name)


class _Connection:
    """A connection and the answer on it; httptools calls the `on_` methods."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._server = server
        self._num_answers = 0
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._pieces: deque[bytes] = deque()
        self._num_bytes = 0
        self._is_complete = False
        self._may_be_kept = False

    @property
    def can_be_kept(self) -> bool:
        """Whether the answer was read to its end and another may follow."""
        return self._may_be_kept and not self._pieces and not self._reader.at_eof()

    async def send(self, request: bytes) -> None:
        """Send a request and wait for the head of its answer. Raises _StaleConnection."""
        is_kept = self._num_answers > 0
        self._num_answers += 1
        self._begin()
        try:
            self._writer.write(request)
            await self._writer.drain()
            while not self.status:
                if not await self._read():
                    raise ConnectionResetError("it closed the connection without an answer")
        except OSError as error:
            if is_kept and not self._num_bytes:
                raise _StaleConnection from error
            raise UpstreamUnavailable(f"{self._server} broke off") from error

    async def next_piece(self) -> bytes:
        """More of the body; empty at its end."""
        while not self._pieces:
            if self._is_complete:
                return b""
            try:
                more = await self._read()
            except OSError as error:
                raise UpstreamUnavailable(f"{self._server} broke off") from error
            if not more:
                if self._ends_with_connection():
                    return b""
                raise UpstreamUnavailable(f"{self._server} broke off in its answer")
        return self._pieces.popleft()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._writer.transport.abort()

    async def _read(self) -> bool:
        """Feed what came to the parser; False at the connection's end."""
        data = await self._reader.read(_READ_BYTES)
        if not data:
            return False
        self._num_bytes += len(data)
        limit_bytes = _MAX_ANSWER_BYTES if self.status else _MAX_HEAD_BYTES + _READ_BYTES
        if self._num_bytes > limit_bytes:
            raise UpstreamError(f"{self._server} sent more than {limit_bytes} bytes")
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._is_complete:
                raise UpstreamError(f"{self._server} does not speak HTTP: {error!r}") from error
            self._may_be_kept = False
        return True

    def _ends_with_connection(self) -> bool:
        """RFC 9112 section 6.3: a body of no stated length ends when the connection does."""
        names = self.headers.keys()
        return bool(self.status) and not names & {b"content-length", b"transfer-encoding"}

    def on_message_begin(self) -> None:
        """A second answer, which nobody asked for, makes the connection useless."""
        self._may_be_kept = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head; those after the body are passed over."""
        if not self.status:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is whole; an interim one (1xx) is passed over."""
        status = self._parser.get_status_code()
        if self.status:
            return
        if status >= 200:
            self.status = status
        else:
            self.headers.clear()

    def on_body(self, piece: bytes) -> None:
        """Part of the body."""
        if not self._is_complete:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self.status and not self._is_complete:
            self._is_complete = True
            self._may_be_kept = self._parser.should_keep_alive()
