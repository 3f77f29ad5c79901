"""The gRPC listener: health, reflection, limits, TLS, ports and an orderly end."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from gateway.core.errors import PortInUse, SetupError
from gateway.core.turn import TextDelta
from gateway.edge.grpc_server import start_grpc_server
from gateway.edge.http_server import TlsFiles
from gateway.wire.pb import agent_pb2 as pb
from gateway.wire.pb.agent_pb2_grpc import AgentServiceStub
from tests.edge.grpc_fakes import (
    END,
    KEY,
    MODEL,
    OTHER_KEY,
    WAIT_S,
    Conversation,
    Hold,
    Site,
    ask,
    kinds,
    on_uvloop,
    refusal,
    serve,
)

pytestmark = pytest.mark.flow

SERVICE = "firsthop.v1.AgentService"


@on_uvloop
async def test_calls_beyond_the_limit_are_refused_at_once() -> None:
    async with serve((Hold(),), max_concurrent_calls=1) as site:
        held = site.stub.Generate(ask())
        await site.runner.next_started()
        code, _, _ = await refusal(site.stub.Generate(ask()))
        held.cancel()
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(("max_concurrent", "share"), [(None, 2), (1, 2), (5, 5)])
@on_uvloop
async def test_one_key_cannot_take_the_places_of_all(
    max_concurrent: int | None, share: int
) -> None:
    async with serve(max_concurrent_calls=8) as site:
        site.gate.max_concurrent = max_concurrent
        sessions = [Conversation(site) for _ in range(share)]
        for session in sessions:
            await session.start()
            await session.say()
            await session.leg()
        refused = await Conversation(site).status()
        assert refused[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        other = (("authorization", f"Bearer {OTHER_KEY}"),)
        events = [event async for event in site.stub.Generate(ask(), metadata=other)]
        assert kinds(events)[-1] == "summary"
        await sessions[0].close()
        assert (await sessions[0].status())[0] is grpc.StatusCode.OK
        again = Conversation(site)
        await again.start()
        await again.say()
        await again.leg()
        for session in (again, *sessions):
            session.hang_up()


def watch(site: Site) -> Any:
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    return health_pb2_grpc.HealthStub(site.channel).Watch(request)


@on_uvloop
async def test_health_watches_take_no_place_of_an_agent() -> None:
    async with serve(max_concurrent_calls=1, max_open_calls=2) as site:
        site.gate.keys_needed = True
        watches = [watch(site) for _ in range(2)]
        for held in watches:
            await held.read()
        code, _, _ = await refusal(watch(site))
        key = (("authorization", f"Bearer {KEY}"),)
        events = [event async for event in site.stub.Generate(ask(), metadata=key)]
        watches.pop().cancel()
        while True:  # the server learns of the cancellation in its own time
            again = watch(site)
            if isinstance(await first_or_none(again), health_pb2.HealthCheckResponse):
                break
        for held in (again, *watches):
            held.cancel()
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert kinds(events)[-1] == "summary"


async def first_or_none(call: Any) -> object:
    try:
        return await asyncio.wait_for(call.read(), WAIT_S)
    except grpc.aio.AioRpcError:
        return None


@on_uvloop
async def test_a_health_watch_ends_after_a_while() -> None:
    async with serve(watch_limit_s=0.05) as site:
        held = watch(site)
        await held.read()
        code, _, _ = await refusal(held)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


@on_uvloop
async def test_health_is_still_told_when_all_watches_are_taken() -> None:
    async with serve(max_open_calls=1) as site:
        held = watch(site)
        await held.read()
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        answer = await health_pb2_grpc.HealthStub(site.channel).Check(request)
        held.cancel()
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@on_uvloop
async def test_an_unknown_method_is_none() -> None:
    async with serve() as site:
        code, _, _ = await refusal(raw_call(site, "firsthop.v1.Other/Method"))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def raw_call(site: Site, method: str) -> Any:
    """A call that sends nothing, whatever the method's kind."""
    channel: Any = site.channel
    return channel.stream_stream(f"/{method}")()


@pytest.mark.parametrize("method", ["Generate", "ListModels", "Converse"])
@on_uvloop
async def test_a_call_without_a_key_holds_nothing_though_it_sends_nothing(method: str) -> None:
    async with serve() as site:
        site.gate.keys_needed = True
        code, _, trailing = await refusal(raw_call(site, f"{SERVICE}/{method}"))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert trailing["firsthop-code"] == "invalid_api_key"
    assert re.fullmatch("[0-9a-f]{32}", trailing["x-request-id"])


@on_uvloop
async def test_health_says_serving_until_the_site_drains() -> None:
    async with serve() as site:
        stub = health_pb2_grpc.HealthStub(site.channel)
        for service in ("", SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        site.desk.drain()
        await site.server.drain()
        for service in ("", SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        code, _, trailing = await refusal(site.stub.Generate(ask()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert trailing["firsthop-code"] == "site_draining"


@on_uvloop
async def test_stopping_lets_a_running_turn_end() -> None:
    go_on = asyncio.Event()
    async with serve((TextDelta("one"), go_on, END)) as site:
        events = aiter(site.stub.Generate(ask()))
        await anext(events)
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(site.server.stop(grace_s=WAIT_S))
            await site.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            assert not stopping.done()
            go_on.set()
            assert kinds([event async for event in events]) == ["summary"]


@on_uvloop
async def test_stopping_cuts_a_turn_that_outlives_the_grace() -> None:
    async with serve((TextDelta("one"), Hold())) as site:
        await site.stub.Generate(ask()).read()
        await site.server.stop(grace_s=0.05)
        assert await site.runner.next_left() is False


def call_by_reflection(port: int) -> tuple[list[str], list[Any]]:
    """What a client without our code sees and gets."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = list(database.get_services())
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName(SERVICE).FindMethodByName("Generate")
        request: Any = message_factory.GetMessageClass(method.input_type)()
        request.messages.add(role=2, content="hi")
        event = message_factory.GetMessageClass(method.output_type)
        call = channel.unary_stream(
            f"/{SERVICE}/Generate", lambda message: message.SerializeToString(), event.FromString
        )
        return services, list(call(request, timeout=WAIT_S))


@on_uvloop
async def test_a_reflection_client_finds_and_calls_the_service() -> None:
    async with serve() as site:
        services, events = await asyncio.to_thread(call_by_reflection, site.server.port)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(services)
    assert "".join(event.text_delta.text for event in events) == "Hello wörld"
    assert events[-1].summary.model == MODEL.full_name


@pytest.fixture
def certificate(tmp_path: Path) -> TlsFiles:
    """A fresh certificate that signs itself."""
    chain, key = tmp_path / "site.pem", tmp_path / "site.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run(["openssl", "req", *kind, *subject, *files], check=True, capture_output=True)
    return TlsFiles(str(chain), str(key))


def trusting(certificate: TlsFiles) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(Path(certificate.certificate).read_bytes())


@on_uvloop
async def test_tls(certificate: TlsFiles) -> None:
    credentials = await asyncio.to_thread(trusting, certificate)
    async with serve(tls=certificate) as site:
        target = f"127.0.0.1:{site.server.port}"
        async with grpc.aio.secure_channel(target, credentials) as channel:
            (model,) = (await AgentServiceStub(channel).ListModels(pb.ListModelsRequest())).models
        assert model.id == "tiny"
        with pytest.raises(grpc.aio.AioRpcError):
            await site.stub.ListModels(pb.ListModelsRequest())


@on_uvloop
async def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.pem")
    with pytest.raises(SetupError, match=r"absent\.pem"):
        async with serve(tls=TlsFiles(absent, absent)):
            pass


@on_uvloop
async def test_starting_a_process_beside_the_server_is_nothing_to_complain_of(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with serve() as site:
        await site.stub.ListModels(pb.ListModelsRequest())
        started = await asyncio.create_subprocess_exec("true")
        assert await started.wait() == 0
    assert "fork" not in capfd.readouterr().err


@on_uvloop
async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with serve() as site:
            with pytest.raises(PortInUse, match=f"127.0.0.1:{port}"):
                await start_grpc_server(site.desk, host="127.0.0.1", port=port)
            with pytest.raises(PortInUse):
                await start_grpc_server(site.desk, host="127.0.0.1", port=site.server.port)
