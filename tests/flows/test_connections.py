"""A site and clients that take connections for themselves."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc

from gateway.wire.pb import agent_pb2 as pb
from loadtests.local_site import ONE_SITE, firsthop, free_port_base, running_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 30.0


def test_idle_connections_keep_nobody_out(echo_bundle: Path, tmp_path: Path) -> None:
    with (
        running_site(
            tmp_path / "site",
            "--model",
            str(echo_bundle),
            FIRSTHOP_LIMITS_MAX_CONNECTIONS="4",
            FIRSTHOP_LIMITS_SESSION_IDLE_LIMIT_S="0.2",
        ) as site,
        ExitStack() as opened,
    ):
        for _ in range(8):
            opened.enter_context(
                socket.create_connection(("127.0.0.1", site.port_base), timeout=WAIT_S)
            )
        client = http.client.HTTPConnection("127.0.0.1", site.port_base, timeout=WAIT_S)
        client.request("GET", "/healthz")
        status = client.getresponse().status
        client.close()
        channel = opened.enter_context(grpc.insecure_channel(site.grpc))
        over = threading.Event()
        converse = channel.stream_stream(
            "/firsthop.v1.AgentService/Converse",
            pb.ConverseRequest.SerializeToString,
            pb.ConverseEvent.FromString,
        )
        code = converse(says_nothing(over), timeout=WAIT_S).code()
        over.set()
        assert site.admin_json("/v1/site")["now"]["num_turns_active"] == 0
    assert status == 200
    assert code is grpc.StatusCode.ABORTED


def test_silent_grpc_connections_take_no_files_from_the_others(
    echo_bundle: Path, tmp_path: Path
) -> None:
    def with_few_files(command: list[str]) -> list[str]:
        return ["prlimit", "--nofile=600:600", *command]

    with (
        running_site(tmp_path / "site", "--model", str(echo_bundle), within=with_few_files) as site,
        ExitStack() as opened,
    ):
        for port in (site.port_base + 1, site.port_base + 2):
            for _ in range(400):
                silent = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
                opened.enter_context(silent)
            assert silent.recv(1) == b""  # one too many
        client = http.client.HTTPConnection("127.0.0.1", site.port_base, timeout=WAIT_S)
        client.request("GET", "/healthz")
        status = client.getresponse().status
        client.close()
        assert site.admin_json("/v1/site")["now"]["num_turns_active"] == 0
    assert status == 200


def says_nothing(over: threading.Event) -> Iterator[pb.ConverseRequest]:
    over.wait(WAIT_S)
    yield from ()


def test_more_connections_than_files_are_refused_at_start(
    echo_bundle: Path, tmp_path: Path
) -> None:
    done = firsthop(
        *(*ONE_SITE, "--port-base", str(free_port_base()), "--model", str(echo_bundle)),
        cwd=tmp_path,
        FIRSTHOP_LIMITS_MAX_CONNECTIONS=str(1 << 20),
    )
    assert done.returncode == 1
    assert "limits.max_connections: 1048576" in done.stderr
    assert "Traceback" not in done.stderr
