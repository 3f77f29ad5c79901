"""One inbound gRPC call: what it carries, what may be written to it and how it is refused.

It knows calls, not turns. A write ends after the stall limit, whatever the client does.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from gateway.core.errors import ClientStalled, GatewayError, InvalidRequest
from gateway.edge.desk import is_request_id
from gateway.wire.agent_convert import error_metadata
from gateway.wire.status import status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.core.stages import TurnTrail

_logger = logging.getLogger(__name__)

_Request = TypeVar("_Request", bound=Message)
_Event = TypeVar("_Event")

_FIELD_OF_HEADER: Final = {
    "x-firsthop-class": "turn_class",
    "x-slo-ttft-ms": "latency_budget_ms",
    "x-firsthop-tools": "server_tools",
}
"""What has a header in HTTP and a field in the messages of gRPC."""
_STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Undecodable(NamedTuple):
    """Bytes that are not the message they should be."""

    reason: str


class Arrival(NamedTuple, Generic[_Request]):
    """A request as it came off the wire."""

    content: _Request | Undecodable

    def request(self) -> _Request:
        """The message. Raises InvalidRequest for bytes that are none."""
        if isinstance(self.content, Undecodable):
            raise InvalidRequest(self.content.reason)
        return self.content


class InboundCall(Generic[_Request, _Event]):
    """A call and its stream of events. One writer at a time reaches the wire."""

    def __init__(
        self,
        context: grpc.aio.ServicerContext[Arrival[_Request], _Event],
        *,
        stall_limit_s: float,
    ) -> None:
        self._context = context
        self._stall_limit_s = stall_limit_s
        self._writing = asyncio.Lock()
        self._opened = False
        self._stalled = False
        self._metadata: dict[str, str] = {}
        for key, value in context.invocation_metadata() or ():
            if isinstance(value, str):
                self._metadata.setdefault(key, value)

    @property
    def authorization(self) -> str | None:
        """The caller's key."""
        return self._metadata.get("authorization")

    @property
    def request_id(self) -> str | None:
        """The id the caller chose."""
        return self._metadata.get("x-request-id")

    @property
    def traceparent(self) -> str:
        """The caller's trace context, "" without one."""
        return self._metadata.get("traceparent", "")

    @property
    def residency(self) -> str | None:
        """The regions the caller allows, as given."""
        return self._metadata.get("x-firsthop-residency")

    @property
    def user(self) -> str | None:
        """Whom the caller speaks for."""
        return self._metadata.get("x-firsthop-user")

    def refuse_http_headers(self) -> None:
        """Raises InvalidRequest for metadata that says what is said in the message."""
        for name, field in _FIELD_OF_HEADER.items():
            if name in self._metadata:
                raise InvalidRequest(f"{name} is of HTTP; set {field} in the message", param=name)

    def deadline_s(self, now_s: float) -> float | None:
        """The instant at which the caller gives up, on the clock of `now_s`."""
        remaining_s: float | None = self._context.time_remaining()
        return None if remaining_s is None else now_s + remaining_s

    async def read(self) -> _Request | None:
        """The next message of a streaming client, or None when there will be no more.

        Raises InvalidRequest for bytes that are no message.
        """
        arrival: object = await self._context.read()
        return arrival.request() if isinstance(arrival, Arrival) else None

    async def write(
        self,
        event: _Event,
        *,
        request_id: str,
        trail: TurnTrail | None,
        on_way: Callable[[], None] | None = None,
    ) -> None:
        """Send an event; before the first one, metadata that says who answers.

        Waits while the client does not read. `on_way` is called when gRPC is given the event, which
        says that it was sent only after another round of the loop. Raises ClientStalled.
        """
        async with self._writing:
            if self._stalled:
                raise ClientStalled(stalled_s=self._stall_limit_s)
            try:
                async with asyncio.timeout(self._stall_limit_s):
                    if not self._opened:
                        self._opened = True
                        await self._context.send_initial_metadata(_head(request_id, trail))
                    if on_way is not None:
                        on_way()
                    await self._context.write(event)
            except TimeoutError:
                self._stalled = True
                raise ClientStalled(stalled_s=self._stall_limit_s) from None
            except grpc.aio.InternalError as error:
                # The connection is gone and the call's cancellation about to arrive.
                raise asyncio.CancelledError from error

    @asynccontextmanager
    async def answering(self, request_id: str) -> AsyncIterator[None]:
        """Turn whatever the block raises into the call's status."""
        try:
            yield
        except GatewayError as error:
            await self._refuse(error, request_id)
        except Exception:
            _logger.exception("call failed", extra={"request_id": request_id})
            await self._refuse(GatewayError("internal error"), request_id)

    async def _refuse(self, error: GatewayError, request_id: str) -> NoReturn:
        """End the call. A client that has stalled learns it when it reads on or goes away.

        A refusal has an id also when the request brought none, or a malformed one.
        """
        if not is_request_id(request_id):
            request_id = secrets.token_hex(16)
        await self._context.abort(
            status_code_of(error),
            error.message,
            error_metadata(error, request_id),
        )


def _head(request_id: str, trail: TurnTrail | None) -> tuple[tuple[str, str], ...]:
    pairs = [("x-request-id", request_id)]
    if trail is not None:
        pairs += [
            ("x-firsthop-site", trail.site),
            ("x-firsthop-path", ",".join(trail.path)),
            ("x-firsthop-model", trail.model),
        ]
    return tuple(pair for pair in pairs if pair[1])


def status_code_of(error: GatewayError) -> grpc.StatusCode:
    """The gRPC status a call ends with."""
    return _STATUS_CODES[status_of(error).grpc]


def decoder(kind: type[_Request]) -> Callable[[bytes], Arrival[_Request]]:
    """Reads a message off the wire; what cannot be read arrives too, to be refused."""

    def decode(data: bytes) -> Arrival[_Request]:
        try:
            return Arrival(kind.FromString(data))
        except DecodeError as error:
            return Arrival(Undecodable(f"not a {kind.DESCRIPTOR.full_name}: {error}"))

    return decode


def encode(message: Message) -> bytes:
    """A message for the wire."""
    return message.SerializeToString()
