"""When a turn over gRPC begins, and when its content is out."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from gateway.core.stages import Stage
from gateway.edge.grpc_call import InboundCall
from gateway.wire.pb import agent_pb2 as pb
from tests.edge.grpc_fakes import WAIT_S, ask, on_uvloop, serve

if TYPE_CHECKING:
    from gateway.core.turn import Principal

pytestmark = pytest.mark.flow

SERVICE = "firsthop.v1.AgentService"
HELD_BACK_S = 0.1


@on_uvloop
async def test_a_turns_time_runs_from_its_call_not_from_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call is seen at once; its message comes later, as over a slow line."""
    async with serve() as site:
        generate: Any = site.channel.stream_stream(
            f"/{SERVICE}/Generate",
            request_serializer=pb.GenerateRequest.SerializeToString,
            response_deserializer=pb.GenerateEvent.FromString,
        )
        seen, authenticate = asyncio.Event(), site.gate.authenticate

        def see(authorization: str | None) -> Principal:
            seen.set()
            return authenticate(authorization)

        monkeypatch.setattr(site.gate, "authenticate", see)
        call = generate()
        await asyncio.wait_for(seen.wait(), WAIT_S)
        seen_s = time.monotonic()
        await asyncio.sleep(HELD_BACK_S)
        await call.write(ask())
        await call.done_writing()
        assert [event async for event in call]
        record = await site.records.next()
    assert record.started_s <= seen_s
    assert sum(one.duration_s for one in record.spans if one.stage is Stage.INGRESS) >= HELD_BACK_S


@on_uvloop
async def test_content_is_out_when_grpc_has_it_and_not_when_it_says_so() -> None:
    class Context:
        """Takes what is written, and says so when it is asked to."""

        def __init__(self) -> None:
            self.goes_on = asyncio.Event()

        def invocation_metadata(self) -> None: ...

        async def send_initial_metadata(self, _: object) -> None: ...

        async def write(self, _: object) -> None:
            await self.goes_on.wait()

    context, on_way = Context(), asyncio.Event()
    call: InboundCall[Any, Any] = InboundCall(cast("Any", context), stall_limit_s=WAIT_S)
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(
            call.write("event", request_id="r", trail=None, on_way=on_way.set)
        )
        await asyncio.wait_for(on_way.wait(), WAIT_S)
        assert not writing.done()
        context.goes_on.set()
