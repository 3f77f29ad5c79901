"""A site's OTLP through a collector that other people wrote, to what stands behind it.

rotel (https://github.com/streamfold/rotel) reads every message and writes it anew.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.telemetry.trace_context import TurnTrace
from loadtests.local_site import free_port_base, wait_until
from tests.requirements import require
from tests.telemetry.test_otlp import TRACE_ID, Receiver, receiver, telemetry
from tests.telemetry.turns import answered, shed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.telemetry import OtlpProtocol

__all__ = ["receiver"]

pytestmark = pytest.mark.flow


def agent() -> Path | None:
    """The collector's program, if it is installed and this machine can run it."""
    package = find_spec("rotel")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "rotel-agent"
    try:
        subprocess.run([program, "version"], capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return program


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def collector(receiver: Receiver, tmp_path: Path) -> Iterator[int]:
    """A collector in front of the receiver: its port for gRPC; that for HTTP is the next."""
    program = agent()
    require("rotel", program is not None, "run: .venv/bin/pip install rotel==0.0.1a15")
    assert program
    port = free_port_base()
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                "start",
                f"--otlp-grpc-endpoint=127.0.0.1:{port}",
                f"--otlp-http-endpoint=127.0.0.1:{port + 1}",
                f"--pid-file={tmp_path / 'pid'}",
                "--exporter=otlp",
                f"--otlp-exporter-endpoint={receiver.endpoint}",
            ],
            env={name: value for name, value in os.environ.items() if not name.startswith("ROTEL")},
            stdout=output,
            stderr=output,
        )
        try:
            wait_until(lambda: is_open(port), f"the collector listens: {log.read_text()}")
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@pytest.mark.parametrize(("protocol", "offset"), [("grpc", 0), ("http/protobuf", 1)])
def test_a_collector_passes_on_what_a_site_says(
    receiver: Receiver, collector: int, protocol: OtlpProtocol, offset: int
) -> None:
    site = telemetry(f"http://127.0.0.1:{collector + offset}", protocol=protocol)
    site.sink.record(answered(traceparent=f"00-{TRACE_ID}-00f067aa0ba902b7-01"))
    site.sink.record(shed())
    asyncio.run(site.close())

    expected = {TRACE_ID, TurnTrace.of("turn-2", 100.0).root.trace_hex}
    traces: set[str] = set()
    while not expected <= traces:
        traces |= {span.trace_id.hex() for span in receiver.spans()}
    metrics = receiver.latest_metrics()
    ttft = metrics["gen_ai.server.time_to_first_token"].exponential_histogram
    assert [point.count for point in ttft.data_points] == [1]
    burning = metrics["firsthop.slo.burn_rate"].gauge.data_points
    assert {round(point.as_double, 6) for point in burning} == {50.0}
