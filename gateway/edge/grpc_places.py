"""How many gRPC calls are open at once, decided before anything of a call is read.

Calls of the agent API need a key and have places of their own, of which one key gets a share: a
quarter, or as many as it may have turns at once. Without keys there is nobody to share with.
Health and reflection are open to everyone, so they have a few other places, those that answer once
and those that go on apart, and a time limit: whoever watches the site's health for long keeps
neither an agent out nor a probe.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc

from gateway.core.errors import AccessError, InvalidRequest
from gateway.edge.arrival import call_began_s
from gateway.edge.deciding_headers import refuse_repeated
from gateway.edge.grpc_call import InboundCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from gateway.core.errors import GatewayError
    from gateway.edge.desk import Gatekeeper

    Handler = grpc.RpcMethodHandler[Any, Any]

MAX_OPEN_CALLS: Final = 64
"""Of each kind."""
PROBE_LIMIT_S: Final = 10.0
WATCH_LIMIT_S: Final = 3600.0
KEY_SHARE: Final = 1 / 4
"""Of the agents' places, that one key may take."""
REFUSAL_PLACES: Final = 64
"""For calls on their way to being refused, so that they are refused with a reason."""


class CallPlaces(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in stubs only
    """The places of one server. `agent_service` is the full name of the service with keys."""

    def __init__(
        self,
        agent_service: str,
        gatekeeper: Gatekeeper,
        *,
        max_agent_calls: int,
        stall_limit_s: float,
        max_open_calls: int = MAX_OPEN_CALLS,
        watch_limit_s: float = WATCH_LIMIT_S,
    ) -> None:
        self._agent_prefix = f"/{agent_service}/"
        self._gatekeeper = gatekeeper
        self._stall_limit_s = stall_limit_s
        self._agent_places = _Places(max_agent_calls)
        self._key_share = max(1, int(max_agent_calls * KEY_SHARE))
        self._probe_places = _Places(max_open_calls)
        self._watch_places = _Places(max_open_calls)
        self._watch_limit_s = watch_limit_s

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The call's handler, or one that refuses it."""
        call_began_s.set(time.monotonic())
        # None, against its type, is what is found for an unknown method.
        handler: Handler | None = await continuation(handler_call_details)
        if handler is None:
            return _UNKNOWN
        if handler_call_details.method.startswith(self._agent_prefix):
            return self._for_agents(handler, handler_call_details)
        if handler.response_streaming:
            return _for_everyone(handler, self._watch_places, self._watch_limit_s)
        return _for_everyone(handler, self._probe_places, PROBE_LIMIT_S)

    def _for_agents(self, handler: Handler, details: grpc.HandlerCallDetails) -> Handler:
        metadata = tuple(details.invocation_metadata or ())
        try:
            refuse_repeated(key for key, _ in metadata)
            principal = self._gatekeeper.authenticate(_authorization(metadata))
        except (AccessError, InvalidRequest) as error:
            return self._refusal(error)
        if not principal.key_id:
            return handler if self._agent_places.take() else _FULL
        share = max(self._key_share, principal.max_concurrent or 0)
        return handler if self._agent_places.take(principal.key_id, share) else _FULL

    def _refusal(self, error: GatewayError) -> Handler:
        return grpc.stream_stream_rpc_method_handler(
            partial(_refuse, error, stall_limit_s=self._stall_limit_s)
        )


class _Places:
    def __init__(self, num_free: int) -> None:
        self._num_free = num_free
        self._num_taken: Counter[str] = Counter()

    def take(self, holder: str = "", share: float = math.inf) -> bool:
        """Take a place until the running task, which is the call's, ends.

        False without one, and when the holder has `share` places already.
        """
        call = asyncio.current_task()
        if call is None or not self._num_free or self._num_taken[holder] >= share:
            return False
        self._num_free -= 1
        self._num_taken[holder] += 1
        call.add_done_callback(partial(self._give_back, holder))
        return True

    def _give_back(self, holder: str, _: object) -> None:
        self._num_free += 1
        self._num_taken[holder] -= 1
        if not self._num_taken[holder]:
            del self._num_taken[holder]


def _for_everyone(handler: Handler, places: _Places, limit_s: float) -> Handler:
    """The same call as a stream both ways, which is entered before the request is there."""
    if not places.take():
        return _FULL
    return grpc.stream_stream_rpc_method_handler(
        partial(_within, limit_s, handler),
        handler.request_deserializer,
        handler.response_serializer,
    )


async def _within(
    limit_s: float,
    handler: Any,  # the stubs type a handler's function for servers with threads only
    requests: AsyncIterator[Any],
    context: grpc.aio.ServicerContext[Any, Any],
) -> None:
    try:
        async with asyncio.timeout(limit_s):
            if handler.stream_stream is not None:
                async for response in handler.stream_stream(requests, context):
                    await context.write(response)
                return
            request = await anext(requests)
            if handler.unary_stream is not None:
                await handler.unary_stream(request, context)
            elif handler.unary_unary is not None:
                await context.write(await handler.unary_unary(request, context))
    except StopAsyncIteration:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call came without a request")
    except TimeoutError:
        await context.abort(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"such a call is ended after {limit_s:g} s"
        )


def _authorization(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            return value
    return None


async def _refuse(
    error: GatewayError,
    _: object,
    context: grpc.aio.ServicerContext[Any, Any],
    *,
    stall_limit_s: float,
) -> None:
    call: InboundCall[Any, Any] = InboundCall(context, stall_limit_s=stall_limit_s)
    async with call.answering(call.request_id or ""):
        raise error


async def _end(
    code: grpc.StatusCode, details: str, _: object, context: grpc.aio.ServicerContext[Any, Any]
) -> None:
    await context.abort(code, details)


_FULL: Final[Handler] = grpc.stream_stream_rpc_method_handler(
    partial(_end, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this kind are open")
)
_UNKNOWN: Final[Handler] = grpc.stream_stream_rpc_method_handler(
    partial(_end, grpc.StatusCode.UNIMPLEMENTED, "there is no such method here")
)
