"""What the metadata of a call may say, and what it may not."""

from __future__ import annotations

import re

import grpc
import pytest

from gateway.wire.pb import agent_pb2 as pb
from tests.edge.grpc_fakes import ask, on_uvloop, refusal, serve

pytestmark = pytest.mark.flow


@on_uvloop
async def test_a_malformed_request_id_is_refused() -> None:
    async with serve() as site:
        call = site.stub.Generate(ask(), metadata=(("x-request-id", "no spaces"),))
        code, _, trailing = await refusal(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing["firsthop-param"] == "x-request-id"
    assert re.fullmatch("[0-9a-f]{32}", trailing["x-request-id"])


@pytest.mark.parametrize("name", ["authorization", "x-request-id", "x-firsthop-residency"])
@on_uvloop
async def test_metadata_that_decides_is_given_once(name: str) -> None:
    async with serve() as site:
        call = site.stub.Generate(ask(), metadata=((name, "a"), (name, "b"), ("x-other", "c")))
        code, _, trailing = await refusal(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing["firsthop-param"] == name


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("x-firsthop-class", "turn_class"),
        ("x-slo-ttft-ms", "latency_budget_ms"),
        ("x-firsthop-tools", "server_tools"),
    ],
)
@on_uvloop
async def test_what_the_message_says_is_not_said_in_metadata(name: str, field: str) -> None:
    async with serve() as site:
        calls = (
            site.stub.Generate(ask(), metadata=((name, "agent"),)),
            site.stub.Converse(
                iter([pb.ConverseRequest(start=pb.SessionStart())]), metadata=((name, "agent"),)
            ),
        )
        for call in calls:
            code, details, trailing = await refusal(call)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert f"set {field} in the message" in details
            assert trailing["firsthop-param"] == name
