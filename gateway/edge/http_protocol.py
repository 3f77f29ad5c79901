"""uvicorn's HTTP/1.1 protocol with what a public port needs beside it.

- Connections have places; see `connection_places`.
- A request head has a size and a time limit, so that half a request holds nothing for long. What
  frames a body in chunks has the same size limit, and in a drain the body a time limit.
- An offer of WebSocket is taken where the site has one (`websocket_paths`); every other offer is
  declined: the request is served over HTTP/1.1.
- A client that ends its side of the connection after the request still gets its answer.
- The application may cut a connection whose client no longer reads.
- A lost connection is noticed by the request that runs, also when another was pipelined behind it.
- What is not HTTP is refused in the shape of every other error.
"""

from __future__ import annotations

import socket
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.core.errors import CapacityError, InvalidRequest, SiteDraining
from gateway.edge.arrival import waited_s
from gateway.edge.gathering import GatheringTransport
from gateway.edge.http_errors import error_body
from gateway.edge.http_exchange import CONNECTION_EXTENSION

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from gateway.core.errors import GatewayError
    from gateway.edge.connection_places import ConnectionPlaces
    from gateway.edge.http_exchange import Connection
    from gateway.edge.websocket_protocol import SiteWebSocketProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HEAD_S: Final = 20.0
DRAIN_BODY_S: Final = 2.0
"""What the rest of a request may take once the site drains."""
_CHUNK_BYTES: Final = 16
"""Around the data of one chunk: its length and line ends."""
_PROBE_INTERVAL_S: Final = 0.25
_PROBE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_OFFER_HEADERS: Final = frozenset((b"upgrade", b"http2-settings"))
"""Headers, and the names under which `Connection` lists them (RFC 9110, 7.6.1 and 7.8)."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""`struct linger`: on, 0 s (socket(7))."""


class SiteHttpProtocol(HttpToolsProtocol):
    """One connection."""

    on_lost: Callable[[], object] | None = None
    _running: RequestResponseCycle | None = None
    _head_bytes = 0
    """Of the head that is coming in, as far as it is parsed."""
    _raw_head_bytes = 0
    """Of the same head, parsed or not, but for the data it began in."""
    _head_timer: asyncio.TimerHandle | None = None
    _probe_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _framing_bytes = 0
    """Of the body that is coming in, beside its data: chunk extensions and trailers."""
    _in_body = False
    _refused = False
    _is_offer = False
    _give_up: Callable[[], object] | None = None
    """Ends the handshake that comes first."""
    _is_websocket = False

    def __init__(
        self,
        *args: Any,
        places: ConnectionPlaces,
        websocket_paths: frozenset[bytes] = frozenset(),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._places = places
        self._websocket_paths = websocket_paths

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, and expect a first request soon."""
        super().connection_made(cast("asyncio.Transport", GatheringTransport(transport, self.loop)))
        has_place, self._give_up = self._give_up is not None, None
        if has_place or self._places.enter(self):
            self._begin_head()
        else:
            self._refuse(b"503 Service Unavailable", CapacityError("too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the running request; uvicorn tells only the last one received."""
        self._places.leave(self)
        self._end_head()
        self._end_body()
        self._end_probes()
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    @property
    def is_writing_paused(self) -> bool:
        """See `Connection`."""
        return bool(self.flow.write_paused)

    def reset(self) -> None:
        """See `Connection`: what the client has not read is dropped, in the kernel too."""
        if self._running is not None:
            self._running.disconnected = True
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def shutdown(self) -> None:
        """Close once the running answer is out, at once without one; half a request is cut soon."""
        super().shutdown()
        if self._in_body and self._body_timer is None:
            self._body_timer = self.loop.call_later(DRAIN_BODY_S, self._body_overdue)

    def give_way(self) -> None:
        """Close at once; what waits has nothing left to send."""
        if self._give_up is not None:
            self._give_up()
        else:
            self.transport.abort()

    def expect(self, give_up: Callable[[], object]) -> None:
        """A handshake comes first, during which the connection has its place; this ends it."""
        self._give_up = give_up

    @property
    def is_connected(self) -> bool:
        """Whether the handshake is done."""
        return self.transport is not None

    @property
    def is_refused(self) -> bool:
        """Whether all that is left for the client is to read why."""
        return self._refused

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse what is no HTTP and a head that grows too long."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        head = self._head_timer
        self._framing_bytes += len(data)
        self._parse(data)
        if self._in_body and self._framing_bytes > MAX_HEAD_BYTES:
            self._refuse_large_head()
        if head is not None and self._head_timer is head:
            self._raw_head_bytes += len(data)
        if self._head_timer is not None:
            self._check_head()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for an answer that is under way and of which nothing has left.

        A client that has gone altogether looks the same. What is written to it tells: an answer
        whose status line is out is not waited for here, and one that is not is announced by
        interim responses, which every client must pass over, until writing them fails.
        """
        running = self._running
        if (
            running is None
            or running.more_body
            or running.response_started
            or self.scheme == "https"  # TLS as asyncio has it cannot be half closed
        ):
            return None
        self.cycle.keep_alive = False
        self._probe()
        return True

    def on_message_begin(self) -> None:
        """A request line starts."""
        super().on_message_begin()
        began_s = time.monotonic() - waited_s(self.transport.get_extra_info("socket"))
        self.scope["extensions"] = {CONNECTION_EXTENSION: {"connection": self, "began_s": began_s}}
        if self._head_timer is None:
            self._begin_head()

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; with it go a colon, a space and the end of its line."""
        self._head_bytes += len(name) + len(value) + 4
        if self._in_body:  # a trailer
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_large_head()
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is in; from here on the application sets the limits."""
        self._check_head()
        self._check_host()
        self._end_head()
        self._in_body = True
        self._framing_bytes -= self._head_bytes
        self._is_offer = self.parser.should_upgrade()
        self._is_websocket = self._is_offer and self._is_websocket_offer()
        if self._is_websocket and not self._refused:
            super().on_headers_complete()  # notes the method, and begins no answer
        if not self._refused and not self._is_offer:
            self._places.begin_answer(self)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._framing_bytes -= len(body)
        if not self._refused:
            super().on_body(body)

    def on_chunk_header(self) -> None:
        """A chunk begins; of its frame this much is no extension."""
        self._framing_bytes -= _CHUNK_BYTES

    def on_message_complete(self) -> None:
        """The end of the body."""
        self._end_body()
        if not self._refused and not self._is_offer:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Called by uvicorn when the answer is written. Its place is safe until all of it left."""
        self._end_probes()
        if not self.pipeline and not self.transport.get_write_buffer_size():
            self._places.end_answer(self)
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._is_websocket and not self._refused:
                self._become_websocket()
            else:
                self._decline_offer(data[offer.args[0] :])
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(b"400 Bad Request", InvalidRequest("this is not an HTTP/1.1 request"))

    def _is_websocket_offer(self) -> bool:
        path = self.url.partition(b"?")[0]
        is_get = self.parser.get_method() == b"GET"
        return is_get and path in self._websocket_paths and self._get_upgrade() == b"websocket"

    def _become_websocket(self) -> None:
        """Hand the connection over, with its place; it never waits for a request any more."""
        self._end_body()
        self._places.begin_answer(self)
        self.handle_websocket_upgrade()
        taken_over = cast("SiteWebSocketProtocol", self.transport.get_protocol())
        taken_over.on_lost = partial(self._places.leave, self)

    def _decline_offer(self, rest: bytes) -> None:
        """Read the request again without its offer, which the parser takes for accepted."""
        method: bytes = self.parser.get_method()
        if self._refused:
            return
        if method == b"CONNECT":
            self._refuse(b"405 Method Not Allowed", InvalidRequest("this site is no proxy"))
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                value = _without_offer(value)
            if name not in _OFFER_HEADERS and (value or name != b"connection"):
                lines.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join((*lines, b"", rest)))

    def _probe(self) -> None:
        running = self._running
        if running is None or running.response_started or self.transport.is_closing():
            return
        if running.scope["http_version"] == "1.1":  # older clients know no interim responses
            self.transport.write(_PROBE)
            self._probe_timer = self.loop.call_later(_PROBE_INTERVAL_S, self._probe)

    def _end_probes(self) -> None:
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None

    def _begin_head(self) -> None:
        self._head_bytes = self._raw_head_bytes = self._framing_bytes = 0
        self._head_timer = self.loop.call_later(MAX_HEAD_S, self._head_overdue)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _check_head(self) -> None:
        if max(self._head_bytes, self._raw_head_bytes) > MAX_HEAD_BYTES:
            self._refuse_large_head()

    def _check_host(self) -> None:
        """Of two names one proxy believes the first and the next the last (RFC 9112, 3.2)."""
        num_hosts = [name for name, _ in self.headers].count(b"host")
        is_given = num_hosts or self.parser.get_http_version() != "1.1"
        if (num_hosts > 1 or not is_given) and not self._refused:
            error = InvalidRequest("a request names its host, once", param="host")
            self._refuse(b"400 Bad Request", error)

    def _refuse_large_head(self) -> None:
        if not self._refused:
            self._refuse(
                b"431 Request Header Fields Too Large", InvalidRequest("the headers are too large")
            )

    def _end_body(self) -> None:
        self._in_body = False
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _body_overdue(self) -> None:
        """Half a request is no turn to wait for; nothing was done for it."""
        if self._running is None or not self._running.response_started:
            self._refuse(b"503 Service Unavailable", SiteDraining())
        else:
            self.reset()

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self._head_bytes or self._raw_head_bytes:
            self._refuse(b"408 Request Timeout", InvalidRequest("the request did not come in time"))
        else:
            self.transport.close()

    def _refuse(self, status: bytes, error: GatewayError) -> None:
        self._refused = True
        self._end_head()
        body = error_body(error)
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, len(body), body)
        )
        self.transport.close()


def _without_offer(options: bytes) -> bytes:
    """The value of a `Connection` header without what only belongs to an offer."""
    kept = (option.strip() for option in options.split(b","))
    return b", ".join(option for option in kept if option.lower() not in _OFFER_HEADERS)


if TYPE_CHECKING:
    _connection: type[Connection] = SiteHttpProtocol
