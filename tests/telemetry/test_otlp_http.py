"""What becomes of a POST to receivers that are well, busy, garbled, slow or not there."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from gateway.telemetry.otlp_http import OtlpPost

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.flow


@contextmanager
def receiver(*statuses: int) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """Answers with one status after the other; what was posted, path and headers first."""
    left, posted = list(statuses), list[tuple[str, dict[str, str], bytes]]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posted.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(left.pop(0))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_posts_to_the_path_with_the_headers_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme,authorization=Bearer%20k")
    with receiver(200) as (endpoint, posted):
        assert OtlpPost(f"{endpoint}/", "v1/traces", timeout_s=10.0).send(b"spans")
    ((path, headers, body),) = posted
    assert (path, body) == ("/v1/traces", b"spans")
    assert headers["content-type"] == "application/x-protobuf"
    assert (headers["x-tenant"], headers["authorization"]) == ("acme", "Bearer k")


def test_a_busy_receiver_is_asked_again_and_a_refusal_is_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiver(503, 429, 200) as (endpoint, posted):
        assert OtlpPost(endpoint, "v1/metrics", timeout_s=10.0).send(b"x")
    assert len(posted) == 3
    with receiver(400) as (endpoint, posted):
        assert not OtlpPost(endpoint, "v1/metrics", timeout_s=10.0).send(b"x")
    assert len(posted) == 1
    assert "HTTP 400" in caplog.messages[-1]


@pytest.mark.parametrize("says", [b"", b"garbage\r\n\r\n", None])
def test_one_that_is_slow_garbled_or_gone_is_given_up(
    caplog: pytest.LogCaptureFixture, says: bytes | None
) -> None:
    """`None`: it says nothing at all, for as long as anybody waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    held.append(connection)
                    if says is not None:
                        connection.sendall(says)
                        connection.close()
            except OSError:
                pass  # the listener was closed

        held: list[socket.socket] = []
        thread = threading.Thread(target=serve)
        thread.start()
        post = OtlpPost(f"http://127.0.0.1:{listener.getsockname()[1]}", "v1/traces", timeout_s=0.3)
        assert not post.send(b"x")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()
    assert caplog.messages[-1].startswith("Failed to export to http://127.0.0.1:")
