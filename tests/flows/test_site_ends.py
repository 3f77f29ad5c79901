"""How a site ends: told while it starts, and told twice while a turn runs."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import grpc
import pytest

from gateway.wire.pb import agent_pb2 as pb
from loadtests.local_site import (
    ONE_SITE,
    ROOT,
    children,
    free_port_base,
    running_site,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.local_site import SiteProcess

CUT_OFF = "turn_cut_off"
_DRAIN_LIMIT_S = 30.0

_TERMINATED_WHILE_IT_LOADS = """\
import os, runpy, signal, sys

class Terminator:
    def find_spec(self, name, path=None, target=None):
        if name == "gateway.cli.up":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Terminator())
sys.argv = ["firsthop", "up"]
runpy.run_module("gateway", run_name="__main__")
"""


def test_a_site_told_to_end_before_it_has_started_ends_in_order(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TERMINATED_WHILE_IT_LOADS],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_group_told_to_end_while_its_engine_starts_ends_in_order(
    tmp_path: Path, by: signal.Signals
) -> None:
    """A terminal and a service manager tell all processes; the engine's does not listen yet."""
    site = subprocess.Popen(
        [sys.executable, "-m", "gateway", *ONE_SITE, "--port-base", str(free_port_base())],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    with site:
        wait_until(lambda: bool(children(site.pid)), "the engine's process")
        os.killpg(site.pid, by)
        _, said = site.communicate(timeout=30)
    assert (site.returncode, said) == (0, "")


def generate_for_ever(channel: grpc.Channel) -> Iterator[pb.GenerateEvent]:
    message = pb.Message(role=pb.ROLE_USER, content="for ever...")
    request = pb.GenerateRequest(messages=[message], max_tokens=1_900)
    yield from channel.unary_stream(
        "/firsthop.v1.AgentService/Generate",
        request_serializer=pb.GenerateRequest.SerializeToString,
        response_deserializer=pb.GenerateEvent.FromString,
    )(request)


def ask_for_ever(site: SiteProcess, *, stream: bool) -> http.client.HTTPConnection:
    body = {
        "messages": [{"role": "user", "content": "for ever..."}],
        "stream": stream,
        "max_tokens": 1_900,
    }
    connection = http.client.HTTPConnection("127.0.0.1", site.port_base, timeout=_DRAIN_LIMIT_S)
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection


@pytest.mark.parametrize("by", ["the second Ctrl-C", "the drain timeout"])
def test_turns_that_a_site_cuts_off_are_told(echo_bundle: Path, tmp_path: Path, by: str) -> None:
    drain_s = _DRAIN_LIMIT_S if by == "the second Ctrl-C" else 0.5
    with (
        running_site(
            tmp_path,
            *("--model", str(echo_bundle)),
            FIRSTHOP_LIMITS_DRAIN_TIMEOUT_S=str(drain_s),
        ) as site,
        grpc.insecure_channel(site.grpc) as channel,
        closing(ask_for_ever(site, stream=True)) as streamed,
        closing(ask_for_ever(site, stream=False)) as whole,
        socket.create_connection(("127.0.0.1", site.port_base)) as half,
    ):
        half.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{"
        )
        generated = generate_for_ever(channel)
        assert next(generated).HasField("text_delta")
        stream = streamed.getresponse()
        stream.readline()
        wait_until(lambda: site.admin_json("/v1/site")["now"]["num_turns_active"] == 4, "4 turns")
        site.process.send_signal(signal.SIGINT)
        if by == "the second Ctrl-C":
            told = "draining 4 turns; Ctrl-C again to cut them off"
            wait_until(lambda: told in site.log.read_text(), "the site says what it waits for")
            site.process.send_signal(signal.SIGINT)

        *_, last, end = stream.read().decode().split("\n\n")  # IncompleteRead without a last chunk
        assert (json.loads(last.removeprefix("data: "))["error"]["code"], end) == (CUT_OFF, "")
        refused = whole.getresponse()
        assert (refused.status, json.loads(refused.read())["error"]["code"]) == (503, CUT_OFF)
        assert half.recv(65_536).startswith(b"HTTP/1.1 503")
        with pytest.raises(grpc.RpcError) as caught:
            list(generated)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert CUT_OFF in str(caught.value.trailing_metadata())
        assert site.process.wait(_DRAIN_LIMIT_S / 2) == 0
        assert "Traceback" not in site.log.read_text()
