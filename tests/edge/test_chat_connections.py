"""Clients that break off, stall or speak no HTTP, at every stage of a turn."""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.errors import EngineFault
from gateway.core.stages import Outcome
from gateway.core.turn import TextDelta
from tests.edge.fakes import END, WAIT_S, Hold, Site, Until, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.flow

STREAMED = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
WHOLE = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
MAX_BODY_BYTES = 10_000
STALL_LIMIT_S = 0.2


@pytest.fixture(scope="module")
def shared_strict_site() -> Iterator[Site]:
    with serve(stall_limit_s=STALL_LIMIT_S, max_body_bytes=MAX_BODY_BYTES) as site:
        yield site


@pytest.fixture
def strict_site(shared_strict_site: Site) -> Site:
    """A site with little patience and little room."""
    shared_strict_site.reset()
    return shared_strict_site


def head(num_bytes: int, *more: str) -> bytes:
    lines = ("POST /v1/chat/completions HTTP/1.1", "host: site", f"content-length: {num_bytes}")
    return "\r\n".join((*lines, *more, "", "")).encode()


def dial(site: Site, data: bytes, *, receive_buffer_bytes: int = 0) -> socket.socket:
    client = socket.socket()
    client.settimeout(WAIT_S)
    if receive_buffer_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    client.connect(("127.0.0.1", site.port))
    client.sendall(data)
    return client


def post(site: Site, body: bytes, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=WAIT_S)
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), dict(response.getheaders())
    finally:
        connection.close()


def read_until(client: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        data = client.recv(65_536)
        assert data, f"the connection ended before {mark!r}: {received!r}"
        received += data
    return received


def read_to_end(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(65_536):
        received += data
    return received


@pytest.mark.parametrize("body", [STREAMED, WHOLE])
def test_leaving_before_the_first_event_aborts_the_turn(http_site: Site, body: bytes) -> None:
    http_site.runner.script = (Hold(),)
    with dial(http_site, head(len(body)) + body):
        http_site.runner.started.get(timeout=WAIT_S)
    assert http_site.runner.left.get(timeout=WAIT_S) is False
    record = http_site.records.next()
    assert (record.outcome, record.ttft_s) == (Outcome.ABANDONED, None)
    assert http_site.desk.num_active == 0


def test_leaving_mid_stream_aborts_the_turn(http_site: Site) -> None:
    http_site.runner.script = (TextDelta("Hel"), Hold())
    with dial(http_site, head(len(STREAMED)) + STREAMED) as client:
        read_until(client, b"Hel")
    assert http_site.runner.left.get(timeout=WAIT_S) is False
    record = http_site.records.next()
    assert record.outcome is Outcome.ABANDONED
    assert record.ttft_s is not None


def test_leaving_a_stream_that_never_pauses_aborts_the_turn(http_site: Site) -> None:
    http_site.runner.script = ()
    http_site.runner.endless = TextDelta("x")
    with dial(http_site, head(len(STREAMED)) + STREAMED) as client:
        read_until(client, b'"x"')
    assert http_site.runner.left.get(timeout=WAIT_S) is False
    assert http_site.records.next().outcome is Outcome.ABANDONED


def test_leaving_within_the_body_starts_nothing(http_site: Site) -> None:
    with dial(http_site, head(len(STREAMED)) + STREAMED[:10]):
        pass
    assert http_site.records.next().outcome is Outcome.ABANDONED
    assert http_site.runner.turns == []


def test_leaving_with_a_request_pipelined_behind_aborts_the_first(http_site: Site) -> None:
    http_site.runner.script = (TextDelta("Hel"), Hold())
    request = head(len(STREAMED)) + STREAMED
    with dial(http_site, request + request) as client:
        read_until(client, b"Hel")
    assert http_site.runner.left.get(timeout=WAIT_S) is False
    assert len(http_site.runner.turns) == 1


def test_a_connection_serves_one_turn_after_another(http_site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", http_site.port, timeout=WAIT_S)
    answers: list[bytes] = []
    for body in (STREAMED, b"{", WHOLE, STREAMED):
        connection.request("POST", "/v1/chat/completions", body)
        answers.append(connection.getresponse().read())
        local = connection.sock.getsockname()
    assert connection.sock.getsockname() == local
    connection.close()
    assert answers[0].endswith(b"data: [DONE]\n\n")
    assert json.loads(answers[1])["error"]["type"] == "invalid_request_error"
    assert json.loads(answers[2])["choices"][0]["message"]["content"] == "Hello wörld"
    assert b"[DONE]" in answers[3]


def test_the_first_delta_leaves_at_once(http_site: Site) -> None:
    http_site.runner.script = (TextDelta("Hel"), Hold())
    with dial(http_site, head(len(STREAMED)) + STREAMED) as client:
        received = read_until(client, b"Hel")
    assert b"x-firsthop-site: edge-a" in received
    assert b'"role":"assistant"' in received


def test_a_whole_bodys_first_content_is_out_when_it_is_there(http_site: Site) -> None:
    released = Until()
    threading.Timer(0.2, released.event.set).start()
    http_site.runner.script = (TextDelta("Hel"), released, TextDelta("lo"), END)
    post(http_site, WHOLE)
    record = http_site.records.next()
    assert record.ttft_s is not None
    assert record.ttft_s < record.duration_s - 0.15


def test_an_error_after_the_first_delta_ends_the_stream_without_done(http_site: Site) -> None:
    http_site.runner.script = (TextDelta("Hel"), EngineFault("lost"))
    with dial(http_site, head(len(STREAMED), "connection: close") + STREAMED) as client:
        received = read_to_end(client)
    assert received.startswith(b"HTTP/1.1 200")
    assert b'data: {"error":{"message":"lost","type":"server_error"' in received
    assert b"[DONE]" not in received
    assert received.endswith(b"0\r\n\r\n")


def test_a_client_that_stops_reading_is_cut_off(
    strict_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    strict_site.runner.script = ()
    strict_site.runner.endless = TextDelta("x" * 20_000)
    request = head(len(STREAMED)) + STREAMED
    with dial(strict_site, request, receive_buffer_bytes=4096) as client:
        record = strict_site.records.next()
        assert strict_site.runner.left.get(timeout=WAIT_S) is False
        assert (record.outcome, record.error) == (Outcome.ABANDONED, "client_stalled")
        # What was produced is bounded by the buffers on the way, not by the client's patience.
        assert strict_site.runner.num_yielded * 20_000 < 2 << 20
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
    assert caplog.text == ""


def test_a_stream_that_is_cut_off_ends_with_the_reason(
    http_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    http_site.runner.script = (TextDelta("Hel"), Hold())
    with dial(http_site, head(len(STREAMED), "connection: close") + STREAMED) as client:
        received = read_until(client, b"Hel")
        http_site.cut_off()
        received += read_to_end(client)
    assert b'"code":"turn_cut_off"' in received
    assert b"[DONE]" not in received
    assert received.endswith(b"0\r\n\r\n")
    record = http_site.records.next()
    assert (record.outcome, record.error) == (Outcome.FAILED, "turn_cut_off")
    assert caplog.text == ""


@pytest.mark.parametrize("num_missing", [0, 1])
def test_what_is_cut_off_before_anything_was_sent_is_refused(
    http_site: Site, num_missing: int
) -> None:
    http_site.runner.script = (Hold(),)
    with dial(http_site, head(len(WHOLE)) + WHOLE[: len(WHOLE) - num_missing]) as client:
        while not (http_site.runner.num_running or (num_missing and http_site.desk.num_active)):
            time.sleep(0.001)
        http_site.cut_off()
        received = read_until(client, b"turn_cut_off")
    assert received.startswith(b"HTTP/1.1 503")
    assert http_site.records.next().error == "turn_cut_off"


def test_a_cut_off_client_that_does_not_read_is_not_waited_for(
    http_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    http_site.runner.script = ()
    http_site.runner.endless = TextDelta("x" * 20_000)
    with dial(http_site, head(len(STREAMED)) + STREAMED, receive_buffer_bytes=4096) as client:
        num_yielded = -1
        while num_yielded != (num_yielded := http_site.runner.num_yielded) or not num_yielded:
            time.sleep(0.1)
        http_site.cut_off()
        assert http_site.records.next().error == "turn_cut_off"
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
    assert caplog.text == ""


def test_a_slow_reader_is_waited_for() -> None:
    limit_s = 1.0  # far above the 0.2 s after which kernels probe a full window
    request = head(len(STREAMED), "connection: close") + STREAMED
    num_bytes = 0
    with serve(stall_limit_s=limit_s, max_body_bytes=MAX_BODY_BYTES) as site:
        site.runner.script = (*(TextDelta("y" * 50_000) for _ in range(200)), END)
        with dial(site, request, receive_buffer_bytes=4096) as client:
            deadline_s = time.monotonic() + 2 * limit_s
            while time.monotonic() < deadline_s:
                # A little at a time for longer than the stall limit, then all the rest.
                select.select([client], [], [])
                num_bytes += len(client.recv(16_384))
            num_bytes += len(read_to_end(client))
        assert num_bytes > 200 * 50_000
        assert site.records.next().outcome is Outcome.ANSWERED


def test_a_body_that_does_not_come(strict_site: Site) -> None:
    with dial(strict_site, head(500) + b'{"mess') as client:
        received = read_until(client, b"client_stalled")
    assert received.startswith(b"HTTP/1.1 408")
    assert strict_site.runner.turns == []


@pytest.mark.parametrize("num_bytes", [MAX_BODY_BYTES + 1, 7 * MAX_BODY_BYTES])
def test_a_body_that_is_too_large(strict_site: Site, num_bytes: int) -> None:
    body = b'{"messages":[],"user":"' + b"u" * num_bytes + b'"}'
    status, answer, headers = post(strict_site, body)
    assert (status, answer["error"]["code"]) == (413, "payload_too_large")
    assert headers["connection"] == "close"
    assert strict_site.runner.turns == []


def test_a_body_without_end_is_not_read_to_its_end(strict_site: Site) -> None:
    def send_without_end(client: socket.socket) -> None:
        while True:
            client.sendall(b" " * 65_536)

    with dial(strict_site, head(1 << 40)) as client, pytest.raises(ConnectionError):
        send_without_end(client)
    assert strict_site.records.next().error == "payload_too_large"


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"", None), (b"{", None), (b"\xff\xfe", None), (b'{"messages":[],"n":2}', "n")],
)
def test_malformed_bodies(http_site: Site, body: bytes, param: str | None) -> None:
    status, answer, headers = post(http_site, body)
    assert (status, answer["error"]["param"]) == (400, param)
    assert answer["error"]["type"] == "invalid_request_error"
    record = http_site.records.next()
    assert headers["x-request-id"] == record.request_id
    assert record.outcome is Outcome.REJECTED


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "unknown_url"),
        ("POST", "/v1/completions", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
def test_unknown_routes(http_site: Site, method: str, path: str, status: int, code: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", http_site.port, timeout=WAIT_S)
    connection.request(method, path)
    response = connection.getresponse()
    error = json.loads(response.read())["error"]
    connection.close()
    assert (response.status, error["code"]) == (status, code)
    assert error.keys() == {"message", "type", "param", "code"}
    if status == 405:
        assert response.getheader("allow")


def test_health_and_readiness(http_site: Site) -> None:
    def get(path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", http_site.port, timeout=WAIT_S)
        connection.request("GET", path)
        response = connection.getresponse()
        assert json.loads(response.read())["status"]
        connection.close()
        return response.status

    assert (get("/healthz"), get("/readyz")) == (200, 200)
    http_site.ready = False
    assert (get("/healthz"), get("/readyz")) == (200, 503)
    http_site.ready, http_site.desk.draining = True, True
    assert get("/readyz") == 503
