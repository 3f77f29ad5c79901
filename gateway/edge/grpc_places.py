"""How many gRPC calls are open at once, decided before anything of a call is read.

Calls of the agent API need a key and have places of their own. Health and reflection are open to
everyone, so they have a few other places, those that answer once and those that go on apart, and
a time limit: whoever watches the site's health for long keeps neither an agent out nor a probe.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc

from gateway.core.errors import AccessError
from gateway.edge.grpc_call import InboundCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.core.errors import GatewayError
    from gateway.edge.desk import Gatekeeper

    Handler = grpc.RpcMethodHandler[Any, Any]

MAX_OPEN_CALLS: Final = 64
"""Of each kind."""
PROBE_LIMIT_S: Final = 10.0
WATCH_LIMIT_S: Final = 3600.0
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
        self._probe_places = _Places(max_open_calls)
        self._watch_places = _Places(max_open_calls)
        self._watch_limit_s = watch_limit_s

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The call's handler, or one that refuses it."""
        # None, against its type, is what is found for an unknown method.
        handler: Handler | None = await continuation(handler_call_details)
        if handler is None:
            return _UNKNOWN
        if handler_call_details.method.startswith(self._agent_prefix):
            return self._for_agents(handler, _authorization(handler_call_details))
        if handler.response_streaming:
            return _for_everyone(handler, self._watch_places, self._watch_limit_s)
        return _for_everyone(handler, self._probe_places, PROBE_LIMIT_S)

    def _for_agents(self, handler: Handler, authorization: str | None) -> Handler:
        try:
            self._gatekeeper.authenticate(authorization)
        except AccessError as error:
            return self._refusal(error)
        return handler if self._agent_places.take() else _FULL

    def _refusal(self, error: GatewayError) -> Handler:
        return grpc.stream_stream_rpc_method_handler(
            partial(_refuse, error, stall_limit_s=self._stall_limit_s)
        )


class _Places:
    def __init__(self, num_free: int) -> None:
        self._num_free = num_free

    def take(self) -> bool:
        """Take a place until the running task, which is the call's, ends; False without one."""
        call = asyncio.current_task()
        if call is None or not self._num_free:
            return False
        self._num_free -= 1
        call.add_done_callback(self._give_back)
        return True

    def _give_back(self, _: object) -> None:
        self._num_free += 1


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


def _authorization(details: grpc.HandlerCallDetails) -> str | None:
    for key, value in details.invocation_metadata or ():
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
