"""The gRPC AgentService: protobuf in, turns at the desk, protobuf out."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import grpc

from gateway.core.stages import StageClock
from gateway.core.turn import TurnEnd, is_content
from gateway.edge.agent_converse import ConverseSession
from gateway.edge.arrival import call_began_s
from gateway.edge.grpc_call import Arrival, InboundCall, decoder, encode
from gateway.edge.grpc_turn import summarise, turn_on
from gateway.wire import agent_convert as convert
from gateway.wire.pb import agent_pb2 as pb

if TYPE_CHECKING:
    from gateway.core.turn import Turn
    from gateway.edge.desk import Desk, Visit
    from gateway.session.surviving import SurvivingSessions

SERVICE_NAME: Final = pb.DESCRIPTOR.services_by_name["AgentService"].full_name


class AgentService:
    """Serves the calls of `firsthop.v1.AgentService`."""

    def __init__(
        self,
        desk: Desk,
        *,
        stall_limit_s: float,
        session_idle_limit_s: float,
        surviving: SurvivingSessions | None = None,
    ) -> None:
        self._desk = desk
        self._surviving = surviving
        self._stall_limit_s = stall_limit_s
        self._session_idle_limit_s = session_idle_limit_s
        self._sessions: set[ConverseSession] = set()

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """For the server's registry. Malformed messages reach the handlers, to be refused."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "Converse": grpc.stream_stream_rpc_method_handler(
                    self.converse, decoder(pb.ConverseRequest), encode
                ),
                "Generate": grpc.unary_stream_rpc_method_handler(
                    self.generate, decoder(pb.GenerateRequest), encode
                ),
                "ListModels": grpc.unary_unary_rpc_method_handler(
                    self.list_models, decoder(pb.ListModelsRequest), encode
                ),
            },
        )

    def drain(self) -> None:
        """End idle sessions now and the others after their running turn."""
        for session in tuple(self._sessions):
            session.drain()

    async def generate(
        self,
        arrival: Arrival[pb.GenerateRequest],
        context: grpc.aio.ServicerContext[Any, pb.GenerateEvent],
    ) -> None:
        """One turn; its events, then its summary."""
        call = self._call(context)
        request_id = call.request_id or secrets.token_hex(16)
        async with call.answering(request_id):
            visit = self._desk.visit(
                interface="grpc",
                request_id=request_id,
                traceparent=call.traceparent,
                clock=StageClock(call_began_s.get(self._desk.monotonic())),
            )
            with visit:
                visit.authenticate(call.authorization)
                visit.speaks_for(call.user)
                visit.keep_to_regions(call.residency)
                call.refuse_http_headers()
                await self._answer(call, visit, self._turn(arrival.request(), call, visit))

    async def converse(
        self,
        _: object,
        context: grpc.aio.ServicerContext[Arrival[pb.ConverseRequest], pb.ConverseEvent],
    ) -> None:
        """A session; see ConverseSession."""
        call = self._call(context)
        session_id = call.request_id or secrets.token_hex(16)
        async with call.answering(session_id):
            session = ConverseSession(
                self._desk,
                call,
                session_id,
                idle_limit_s=self._session_idle_limit_s,
                sessions=self._surviving,
            )
            self._sessions.add(session)
            try:
                with self._desk.session():
                    await session.run()
            finally:
                self._sessions.discard(session)

    async def list_models(
        self,
        arrival: Arrival[pb.ListModelsRequest],
        context: grpc.aio.ServicerContext[Any, pb.ListModelsResponse],
    ) -> pb.ListModelsResponse:
        """What is served."""
        call = self._call(context)
        async with call.answering(call.request_id or ""):
            self._desk.gatekeeper.authenticate(call.authorization)
            arrival.request()
        models = self._desk.runner.models
        return pb.ListModelsResponse(models=[convert.model_message(info) for info in models])

    def _call(self, context: grpc.aio.ServicerContext[Any, Any]) -> InboundCall[Any, Any]:
        return InboundCall(context, stall_limit_s=self._stall_limit_s)

    def _turn(
        self,
        request: pb.GenerateRequest,
        call: InboundCall[pb.GenerateRequest, pb.GenerateEvent],
        visit: Visit,
    ) -> Turn:
        return turn_on(
            convert.terms_of(request),
            convert.messages_of(request.messages, "messages"),
            visit,
            latency_budget_s=None,
            call_deadline_s=call.deadline_s(self._desk.monotonic()),
        )

    async def _answer(
        self, call: InboundCall[pb.GenerateRequest, pb.GenerateEvent], visit: Visit, turn: Turn
    ) -> None:
        request_id, trail = turn.request_id, visit.trail
        async with aclosing(visit.run(turn)) as events:
            async for event in events:
                if isinstance(event, TurnEnd):
                    summary = summarise(self._desk, trail, event.finish, event.usage)
                    last = pb.GenerateEvent(summary=summary)
                    await call.write(last, request_id=request_id, trail=trail)
                    return
                await call.write(
                    convert.generate_event(event),
                    request_id=request_id,
                    trail=trail,
                    on_way=visit.content_out if is_content(event) else None,
                )
        raise RuntimeError("the runner ended a turn without a TurnEnd")
