"""The listener itself: ports, certificates, half requests, and an orderly end."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from gateway.core.errors import PortInUse, SetupError
from gateway.core.turn import TextDelta
from gateway.edge import http_protocol
from gateway.edge.http_server import HttpServer, TlsFiles, bind_listener
from tests.edge.fakes import END, WAIT_S, Hold, Site, Until, serve

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.flow


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers everything with one word."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def get(port: int, context: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


async def get_from(server: HttpServer, context: ssl.SSLContext | None = None) -> bytes:
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await server.wait_started()
        received = await get(server.port, context)
        server.stop()
    return received


def test_a_taken_port_is_named() -> None:
    with bind_listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            bind_listener("127.0.0.1", port)
    assert caught.value.address == f"127.0.0.1:{port}"
    bind_listener("127.0.0.1", port).close()


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(SetupError, match=r"192\.0\.2\.1:8080"):
        bind_listener("192.0.2.1", 8080)


def test_it_leaves_signals_alone_and_closes_its_socket() -> None:
    listener = bind_listener("127.0.0.1", 0)
    server = HttpServer(greet, listener)

    async def run() -> None:
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            group.create_task(server.serve())
            await server.wait_started()
            assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
            server.stop()

    asyncio.run(run())
    assert listener.fileno() == -1


def test_cancelled_it_closes_everything() -> None:
    listener = bind_listener("127.0.0.1", 0)
    server = HttpServer(greet, listener)

    async def run() -> None:
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve())
            await server.wait_started()
            serving.cancel()

    asyncio.run(run())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)


def test_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "site.pem", tmp_path / "site.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *kind, *subject, *files], check=True, capture_output=True)
    server = HttpServer(
        greet, bind_listener("127.0.0.1", 0), tls=TlsFiles(str(certificate), str(key))
    )
    context = ssl.create_default_context(cafile=str(certificate))
    assert asyncio.run(get_from(server, context)).endswith(b"hello\r\n0\r\n\r\n")


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.pem")
    server = HttpServer(greet, bind_listener("127.0.0.1", 0), tls=TlsFiles(absent, absent))
    with pytest.raises(SetupError, match="certificate"):
        asyncio.run(server.serve())


def test_stopping_lets_the_running_answer_end() -> None:
    request = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    with serve() as site:
        released = Until()
        site.runner.script = (TextDelta("a"), released, TextDelta("b"), END)
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=WAIT_S)
        connection.request("POST", "/v1/chat/completions", request)
        site.runner.started.get(timeout=WAIT_S)
        site.server.stop()
        released.event.set()
        answer = json.loads(connection.getresponse().read())
        connection.close()
    assert answer["choices"][0]["message"]["content"] == "ab"


def test_an_answer_that_outlasts_the_drain_time_is_aborted() -> None:
    request = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    with serve(drain_timeout_s=0.5) as site:
        site.runner.script = (Hold(),)
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=WAIT_S)
        connection.request("POST", "/v1/chat/completions", request)
        site.runner.started.get(timeout=WAIT_S)
    assert site.runner.left.get(timeout=WAIT_S) is False
    connection.close()


def exchange(site: Site, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_S) as client:
        client.sendall(data)
        received = b""
        while more := client.recv(65_536):
            received += more
    return received


def test_what_is_not_http_gets_the_usual_error(http_site: Site) -> None:
    received = exchange(http_site, b"EHLO mail.example\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 Bad Request")
    assert b'"type":"invalid_request_error"' in received


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [("1.1", [], 400), ("1.1", ["a"], 200), ("1.1", ["a", "b"], 400), ("1.0", [], 200)],
)
def test_a_request_names_its_host_once(
    http_site: Site, version: str, hosts: list[str], status: int
) -> None:
    lines = [f"GET /healthz HTTP/{version}", *(f"host: {host}" for host in hosts)]
    sent = "\r\n".join([*lines, "connection: close", "", ""])
    answer = exchange(http_site, sent.encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b'"param":"host"' in answer) == (status == 400)


def test_a_head_has_a_size_limit(http_site: Site) -> None:
    start = b"GET /healthz HTTP/1.1\r\nhost: site\r\nconnection: close\r\n"
    line = b"x-filler: " + b"f" * 8000 + b"\r\n"
    assert exchange(http_site, start + line * 7 + b"\r\n").startswith(b"HTTP/1.1 200")
    assert exchange(http_site, start + line * 9).startswith(b"HTTP/1.1 431")
    assert exchange(http_site, start + line * 9 + b"\r\n").startswith(b"HTTP/1.1 431")
    assert exchange(http_site, start + b"x-filler: " + b"f" * 70_000).startswith(b"HTTP/1.1 431")


CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: site\r\ntransfer-encoding: chunked\r\n\r\n"
CHAT = b'{"messages": [{"role": "user", "content": "hi"}]}'


def test_what_frames_a_body_is_as_limited_as_the_head(http_site: Site) -> None:
    trailers = (b"x-filler: " + b"f" * 8000 + b"\r\n") * 9
    whole = b"%x\r\n%b\r\n0\r\n" % (len(CHAT), CHAT)
    assert exchange(http_site, CHUNKED + whole + trailers).startswith(b"HTTP/1.1 431")
    extension = b"%x;filler=" % len(CHAT) + b"f" * 70_000
    assert exchange(http_site, CHUNKED + extension).startswith(b"HTTP/1.1 431")


def test_a_body_in_many_chunks_is_no_offence(http_site: Site) -> None:
    body = b'{"messages": [{"role": "user", "content": "%b"}]}' % (b"long " * 4_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    request = CHUNKED.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    assert exchange(http_site, request + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_in_a_drain_connections_close_after_their_answer_and_idle_ones_at_once() -> None:
    with serve() as site:
        released = Until()
        site.runner.script = (TextDelta("a"), released, TextDelta("b"), END)
        idle, busy = dial(site), dial(site)
        assert ask_health(idle) == 200
        busy.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: site\r\ncontent-length: %d\r\n\r\n%b"
            % (len(CHAT), CHAT)
        )
        site.runner.started.get(timeout=WAIT_S)
        site.drain()
        assert idle.recv(1) == b""
        released.event.set()
        received = b""
        while more := busy.recv(65_536):  # until it is closed
            received += more
        assert b'"ab"' in received
        refused = exchange(site, CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT))
        idle.close()
        busy.close()
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"site_draining" in refused


def test_half_a_request_does_not_hold_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "DRAIN_BODY_S", 0.05)
    with serve() as site, dial(site) as client:
        client.sendall(CHUNKED + b"%x\r\n%b" % (len(CHAT), CHAT[:9]))
        until_s = time.monotonic() + WAIT_S
        while not site.desk.num_active and time.monotonic() < until_s:
            time.sleep(0.001)
        site.drain()
        received = client.recv(65_536)
        while site.desk.num_active and time.monotonic() < until_s:
            time.sleep(0.001)
        assert site.desk.num_active == 0
    assert received.startswith(b"HTTP/1.1 503")
    assert b"site_draining" in received


def test_a_long_body_is_no_part_of_the_head(http_site: Site) -> None:
    body = b'{"messages": [{"role": "user", "content": "%b"}]}' % (b"long " * 20_000)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: site\r\ncontent-length: %d\r\n"
    request = head % len(body) + b"%b\r\n" + body
    received = exchange(http_site, request % b"" + request % b"connection: close\r\n")
    assert received.count(b"HTTP/1.1 200 OK") == 2


OFFER = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: site\r\ncontent-length: 49\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    b'{"messages": [{"role": "user", "content": "hi"}]}'
)


@pytest.mark.parametrize("cut", [len(OFFER), len(OFFER) - 20, 60])
def test_an_offer_of_another_protocol_is_passed_over(
    http_site: Site, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    with socket.create_connection(("127.0.0.1", http_site.port), timeout=WAIT_S) as client:
        for offer in range(2):
            client.sendall(OFFER[:cut])
            client.sendall(OFFER[cut:])
            answer = http.client.HTTPResponse(client, method="POST")
            answer.begin()
            assert answer.status == 200, offer
            assert json.loads(answer.read())["choices"][0]["message"]["content"] == "Hello wörld"
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


@pytest.mark.parametrize(
    ("options", "kept"), [(b"close, Upgrade, HTTP2-Settings", b"close"), (b"Upgrade", b"")]
)
def test_what_else_a_connection_header_says_outlives_the_offer(
    http_site: Site, options: bytes, kept: bytes
) -> None:
    offer = OFFER.replace(b"Upgrade, HTTP2-Settings", options)
    with socket.create_connection(("127.0.0.1", http_site.port), timeout=WAIT_S) as client:
        client.sendall(offer)
        answer = http.client.HTTPResponse(client, method="POST")
        answer.begin()
        answer.read()
        assert answer.getheader("connection", "").encode() == kept
        if kept:
            assert client.recv(1) == b""


def test_this_is_no_proxy(http_site: Site) -> None:
    received = exchange(http_site, b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_a_client_that_ends_its_side_still_gets_its_answer(
    http_site: Site, version: bytes, stream: bytes
) -> None:
    released = Until()
    http_site.runner.script = (released, TextDelta("late"), END)
    body = b'{"messages": [{"role": "user", "content": "hi"}], "stream": %b}' % stream
    head = b"POST /v1/chat/completions HTTP/%b\r\nhost: site\r\ncontent-length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", http_site.port), timeout=WAIT_S) as client:
        client.sendall(head % (version, len(body)) + body)
        client.shutdown(socket.SHUT_WR)
        http_site.runner.started.get(timeout=WAIT_S)
        interim = client.recv(65_536) if version == b"1.1" else b""
        released.event.set()
        received = b""
        while more := client.recv(65_536):
            received += more
    assert interim.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") == b""
    assert b"HTTP/1.1 200 OK" in received
    assert b'"late"' in received


def test_a_waiting_connection_makes_room_for_a_new_one() -> None:
    with serve(max_connections=2) as site:
        oldest, second = (dial(site) for _ in range(2))
        for client in (oldest, second):
            assert ask_health(client) == 200
        third = dial(site)
        assert ask_health(third) == 200
        assert oldest.recv(1) == b""
        assert ask_health(second) == 200
        for client in (oldest, second, third):
            client.close()


def test_connections_that_are_answered_keep_their_places() -> None:
    request = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    with serve(max_connections=1) as site:
        released = Until()
        site.runner.script = (released, TextDelta("a"), END)
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=WAIT_S)
        connection.request("POST", "/v1/chat/completions", request)
        site.runner.started.get(timeout=WAIT_S)
        refused = exchange(site, b"")
        released.event.set()
        answer = json.loads(connection.getresponse().read())
        # The answered connection waits again, so there is room.
        with dial(site) as client:
            assert ask_health(client) == 200
        connection.close()
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert b'"type":"overloaded_error"' in refused
    assert answer["choices"][0]["message"]["content"] == "a"


def test_an_answer_that_is_not_read_yet_keeps_its_place() -> None:
    with serve(max_connections=1) as site:
        site.runner.script = (TextDelta("x" * (8 << 20)), END)
        slow = dial(site)
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: site\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(CHAT), CHAT)
        )
        assert slow.recv(12) == b"HTTP/1.1 200"
        site.records.next()
        with dial(site) as late:
            assert late.recv(12) == b"HTTP/1.1 503"
        num_bytes = 0
        while data := slow.recv(1 << 20):
            num_bytes += len(data)
        slow.close()
    assert num_bytes > 8 << 20


def dial(site: Site) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_S)


def ask_health(client: socket.socket) -> int:
    client.sendall(b"GET /healthz HTTP/1.1\r\nhost: site\r\n\r\n")
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


@pytest.mark.parametrize(
    ("sent", "answer"), [(b"GET /healthz HTTP/1.1\r\nhost: s", b"HTTP/1.1 408"), (b"", b"")]
)
def test_a_head_has_a_time_limit(
    http_site: Site, monkeypatch: pytest.MonkeyPatch, sent: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "MAX_HEAD_S", 0.05)
    assert exchange(http_site, sent)[:12] == answer
